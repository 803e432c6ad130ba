"""Fetching what a certificate names over HTTP, from servers that anybody may run.

However slow, long or devious the answer, a fetch ends in time and takes bounded memory; what went wrong is one phrase.
Only ``http:`` and ``https:`` are ever opened: a certificate must not have files read or other services called.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from queue import Empty, SimpleQueue
from typing import Any
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from dojang.errors import Phrase

MOST_REDIRECTS = 3
_SCHEMES = ("http", "https")
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 16


class NotFetched(Exception):
    """Nothing came, or nothing that may be used; ``phrase`` says why."""

    def __init__(self, template: str, **facts: object) -> None:
        self.phrase = Phrase(template, **facts)
        super().__init__(self.phrase)


def fetch(url: str, *, at_most: int, seconds: float, body: bytes | None = None, body_type: str = "") -> bytes:
    """What lies at ``url``, at most ``at_most`` bytes of it within ``seconds``; with a ``body`` it is sent there.

    Raises ``NotFetched``.
    """
    headers = {"User-Agent": "dojang", "Connection": "close"} | ({"Content-Type": body_type} if body else {})
    with _watched_connections() as connections:
        opener = _opener(connections)
        answer = _within(
            seconds,
            lambda: _follow(url, lambda at: Request(at, body, headers), opener, seconds, at_most),  # noqa: S310
        )
    if isinstance(answer, bytes):
        return answer
    if isinstance(_reason(answer), TimeoutError):
        raise NotFetched("it did not answer within {seconds} seconds", seconds=f"{seconds:g}") from answer
    if isinstance(answer, OSError | HTTPException | ValueError):
        raise NotFetched("it cannot be reached ({detail})", detail=_words(answer)) from answer
    raise answer


def _within(seconds: float, work: Callable[[], bytes]) -> bytes | Exception:
    """What ``work`` gives or raises; ``TimeoutError`` when the time is over.

    It has a thread of its own, since nothing ends a name server's silence or a long row of dead addresses.
    """
    answers = SimpleQueue[bytes | Exception]()

    def run() -> None:
        try:
            answers.put(work())
        except Exception as error:  # it is for whoever waits
            answers.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return TimeoutError()


def _follow(url: str, request: Callable[[str], Request], opener: OpenerDirector, seconds: float, at_most: int) -> bytes:
    """Our own redirects: urllib's read whatever comes with one to its end."""
    for _ in range(MOST_REDIRECTS + 1):
        _check_scheme(url)
        with opener.open(request(url), timeout=seconds) as response:
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return _read(response, at_most)
        url = urljoin(url, target)
    raise NotFetched("it sends from one address to the next without end")


def _check_scheme(url: str) -> None:
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname
    except ValueError:
        scheme, host = "", None
    if scheme in ("ldap", "ldaps"):
        raise NotFetched("lists on an LDAP server are not fetched; save the list and give the file with --crl")
    if scheme not in _SCHEMES or not host:
        raise NotFetched("it is not an address to fetch from (http: or https:)")


def _read(response: HTTPResponse, at_most: int) -> bytes:
    if response.status != 200:
        raise NotFetched("it answered with status {status}", status=response.status)
    content = bytearray()
    while part := response.read(min(_CHUNK, at_most + 1 - len(content))):
        content += part
        if len(content) > at_most:
            raise NotFetched("it is larger than {limit} bytes", limit=at_most)
    if response.length:
        raise NotFetched("it was cut short")
    return bytes(content)


class _Connections:
    """Every connection of one fetch, so that all can be shut and whoever still reads from one ends."""

    def __init__(self) -> None:
        self._over = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def watch(self, connection: HTTPConnection) -> None:
        with self._lock:
            self._sockets.append(connection.sock)
            late = self._over
        if late:
            self.end()

    def end(self) -> None:
        with self._lock:
            self._over = True
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    # Not the method of an SSL socket, which would take the session from under whoever reads.
                    socket.socket.shutdown(one, socket.SHUT_RDWR)


@contextlib.contextmanager
def _watched_connections() -> Iterator[_Connections]:
    connections = _Connections()
    try:
        yield connections
    finally:
        connections.end()


def _opener(connections: _Connections) -> OpenerDirector:
    """Of what urllib can open, HTTP alone; proxies as the environment names them."""

    def watched(connection_type: type[HTTPConnection]) -> Any:
        def connection(*words: Any, **named: Any) -> HTTPConnection:
            made = connection_type(*words, **named)
            connect = made.connect

            def connect_and_watch() -> None:
                connect()
                connections.watch(made)

            made.connect = connect_and_watch  # type: ignore[method-assign]
            return made

        return connection

    class Plain(HTTPHandler):
        def http_open(self, req: Request) -> HTTPResponse:
            return self.do_open(watched(HTTPConnection), req)

    class Encrypted(HTTPSHandler):
        def https_open(self, req: Request) -> HTTPResponse:
            return self.do_open(watched(HTTPSConnection), req)

    opener = OpenerDirector()
    for handler in (ProxyHandler(), Plain(), Encrypted()):
        opener.add_handler(handler)
    return opener


def _reason(error: Exception) -> object:
    return error.reason if isinstance(error, URLError) else error


def _words(error: Exception) -> str:
    reason = _reason(error)
    return getattr(reason, "strerror", None) or (str(reason) or type(reason).__name__)[:200]
