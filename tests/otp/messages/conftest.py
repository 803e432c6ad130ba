"""Real servers on loopback that carry messages: a mail server, a web gateway, and ones that misbehave on the wire."""

import contextlib
import datetime
import http.server
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dojang.otp.messages.desk import message_for
from dojang.otp.messages.sending import Message
from dojang.otp.messages.targets import Channel, target_of
from dojang.otp.messages.texts import Wording
from dojang.secret import Secret

NOW = datetime.datetime.now(datetime.UTC)
CODE = "048215"


def message_to(channel: Channel, address: str, authority: str = "우체국", language: Any = "ko") -> Message:
    """What a desk sends."""
    wording = Wording(authority, "issue:4081160273", 3, language)
    expires_at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=3)
    return message_for("0f" * 16, target_of(channel, address), wording, Secret(CODE), expires_at)


@dataclass(frozen=True)
class Tls:
    """A certificate for the name ``localhost`` alone, and the authority that it is from."""

    trust: Path
    chain: Path

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain)
        return context


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    folder, keys = tmp_path_factory.mktemp("tls"), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Gateway CA", "localhost")]
    parts = []
    for key, name, is_ca in zip(keys, names, (True, False), strict=True):
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(names[0]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        if not is_ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        parts.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_pem = keys[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    trust, chain = folder / "ca.pem", folder / "server.pem"
    trust.write_bytes(parts[0])
    chain.touch(0o600)
    chain.write_bytes(key_pem + parts[1])
    return Tls(trust, chain)


# A mail server


@dataclass
class MailBox:
    """Takes everything but mail to nobody."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: Any) -> str:
        if address.startswith("nobody@"):
            return f"550 no {address} here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 taken"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append(mechanism)
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"dojang", b"a pass word")
        return AuthResult(success=good, handled=False)


@contextlib.contextmanager
def mail_server(**how: Any) -> Iterator[MailBox]:
    """aiosmtpd, in a thread of its own."""
    box = MailBox(port=free_port())
    if how.pop("login", False):
        how |= {"authenticator": box.authenticate, "auth_required": True}
        how |= {"auth_require_tls": "ssl_context" not in how}  # aiosmtpd counts only what began without
    controller = Controller(box, hostname="127.0.0.1", port=box.port, server_hostname="localhost", **how)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# Servers that misbehave


@dataclass
class Wire:
    """A server that does with each connection whatever a function does; ``met`` counts them."""

    port: int
    met: list[socket.socket] = field(default_factory=list)


@contextlib.contextmanager
def wire(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[Wire]:
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            found.met.append(self.request)
            with contextlib.suppress(OSError):
                talk(self.request, over)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = False

    with Server(("127.0.0.1", 0), Handler) as server:
        found = Wire(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            over.set()
            server.shutdown()
            thread.join()


# A gateway


@dataclass
class Posted:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gateway:
    """What came, and what is answered: ``status``, ``headers`` and ``body``."""

    url: str = ""
    posted: list[Posted] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"result": {"code": "0000", "ids": ["a/b"]}}'


@contextlib.contextmanager
def gateway_server(tls: Tls | None = None) -> Iterator[Gateway]:
    """A web server, over TLS where it has a certificate."""
    gateway = Gateway()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            gateway.posted.append(Posted(self.command, self.path, dict(self.headers), self.rfile.read(length)))
            self.send_response(gateway.status)
            for name, value in gateway.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(gateway.body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(gateway.body)

        do_GET = do_PUT = do_POST

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    gateway.url = f"{'http' if tls is None else 'https'}://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def secret_file(folder: Path, name: str, value: str) -> str:
    """A source for a secret."""
    path = folder / name
    path.touch(0o600)
    path.write_text(f"{value}\n")
    return f"file:{path}"
