"""An authority of ours that answers CMP over HTTP on loopback, and whoever stands between it and the subscriber."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.authority.conversation.conftest import Counter, found_counter
from tests.x509.web import Page, send, web_server

from dojang.authority.store import Record
from dojang.cmp.messages import Message, read_message
from dojang.cmp.transport import MEDIA_TYPE

PATH = "/.well-known/cmp"


@dataclass(slots=True)
class OwnServer:
    """``asked`` are the messages that came; ``between`` may answer, or change an answer, before the authority does."""

    url: str
    counter: Counter
    asked: list[bytes] = field(default_factory=list)
    between: Callable[[bytes, Callable[[bytes], bytes]], bytes | Page] | None = None
    last_code: Path | None = None

    def page(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.asked.append(body)
        answer = self.honest(body) if self.between is None else self.between(body, self.honest)
        if callable(answer):
            answer(handler, body)
        else:
            send(handler, answer, Content_Type=MEDIA_TYPE)

    def honest(self, body: bytes) -> bytes:
        return self.counter.conversation.answer(body, "127.0.0.1")

    @property
    def messages(self) -> list[Message]:
        """What came, each message once however often it was sent."""
        return [read_message(der) for der in dict.fromkeys(self.asked)]

    def records(self) -> list[Record]:
        return list(self.counter.authority.issued())

    def states(self) -> list[str]:
        """Of every certificate, in the order of their issue."""
        return [record.state for record in self.records()]

    def hand_out(self, subject: str, profile: str = "tls-client", **more: Any) -> tuple[str, bytes]:
        """A reference number and its code."""
        handed = self.counter.hand_out(subject, profile, **more)
        return handed.enrolment.reference, handed.code.reveal()


@contextmanager
def own_server(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[OwnServer]:
    """Runs in threads of this process until the block ends."""
    counter = found_counter(folder)
    counter.clock = _Present()  # type: ignore[assignment]
    with web_server(tls) as web:
        server = OwnServer(web.base + PATH, counter)
        web.put(PATH, server.page)
        try:
            yield server
        finally:
            counter.authority.close()


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """For a server on 127.0.0.1 that nobody has reason to trust, and the file that gives one."""
    certificate, key = folder / "tls.pem", folder / "tls.key"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words.split(), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


class _Present:
    """The time as it is."""

    def __call__(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)
