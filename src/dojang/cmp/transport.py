"""CMP messages over HTTP (RFC 9811): one POST and its answer, on a connection that is kept for the next one.

However slow, long or devious the other side is, an exchange ends in time and takes bounded memory. Nobody is followed
elsewhere: a redirect is refused. Proxies are those of the environment. What was sent and received is never logged.
"""

import contextlib
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected
from pathlib import Path
from socket import SHUT_RDWR, socket
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from dojang.cmp.urls import Target
from dojang.errors import AuthorityRefused, AuthorityUnreachable, AuthorityUntrusted, InvalidSetting, Phrase

MEDIA_TYPE = "application/pkixcmp"
USUAL_SECONDS = 60.0
# A certificate with its chain takes some thousand bytes; every list of an authority's certificates fits.
MOST_BYTES = 1 << 20
_CHUNK = 1 << 16
# RFC 9110: the same may be answered later, by a server that is not overloaded, restarting or behind a broken gateway.
_LATER = {408, 425, 429, 500, 502, 503, 504}


class HttpTransport:
    """Posts to one authority. A context manager; not for several threads at once.

    ``tls_certificates`` is a file with the authorities that a TLS server's certificate may come from, in place of the
    system's.
    """

    def __init__(
        self,
        url: str,
        *,
        seconds: float = USUAL_SECONDS,
        most_bytes: int = MOST_BYTES,
        tls_certificates: Path | None = None,
        media_type: str = MEDIA_TYPE,
    ) -> None:
        """Nothing is connected yet. Raises ``Usage`` for what is no URL. ``media_type`` is that of both sides."""
        self.target, self._url = Target.from_url(url), url
        self._seconds, self._most_bytes, self._tls_certificates = seconds, most_bytes, tls_certificates
        self._media_type = media_type
        self._connection: HTTPConnection | None = None
        self._proxy = _proxy_for(self.target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def post(self, message: bytes) -> bytes:
        """The answer's body. A connection that was closed while nobody spoke is opened anew, once.

        ``AuthorityUnreachable``: nobody was there (the fact ``sent`` is false), or no answer came back and the message
        may have been read. ``AuthorityUntrusted``: TLS does not show that it is the authority. ``AuthorityRefused``:
        whoever is there speaks no CMP.
        """
        kept = self._connection is not None
        connection = self._connected()
        try:
            return self._exchange(connection, message)
        except ConnectionError as error:
            if not kept:
                raise self._unreachable(error, sent=True) from error
        connection = self._connected()
        try:
            return self._exchange(connection, message)
        except ConnectionError as error:
            raise self._unreachable(error, sent=True) from error

    def _exchange(self, connection: HTTPConnection, message: bytes) -> bytes:
        """``ConnectionError`` where it was closed; then the answer may be asked for anew."""
        kind = self._media_type
        headers = {"Content-Type": kind, "Accept": kind, "User-Agent": "dojang"} | self._proxy_headers()
        try:
            with _ended_after(self._seconds, connection):
                connection.request("POST", self._request_target(), message, headers)
                response = connection.getresponse()
                answer = self._read(response)
        except ConnectionError:
            self.close()
            raise
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise self._unreachable(error, sent=True) from error
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        return answer

    def _connected(self) -> HTTPConnection:
        if self._connection is None:
            connection = self._new_connection()
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                connection.close()
                problem = Phrase("its TLS certificate is not accepted ({detail})", detail=error.verify_message)
                raise AuthorityUntrusted(
                    authority=self._url,
                    problem=problem,
                    next_step="If it is its own, name the file to check it with: the setting ca-tls-certificate.",
                ) from error
            except (OSError, HTTPException, ValueError) as error:
                connection.close()
                raise self._unreachable(error, sent=False) from error
            self._connection = connection
        return self._connection

    def _new_connection(self) -> HTTPConnection:
        target, proxy = self.target, self._proxy
        host, port = (target.host, target.port) if proxy is None else (str(proxy.hostname), proxy.port or 80)
        if target.scheme == "http":
            return HTTPConnection(host, port, timeout=self._seconds)
        connection = HTTPSConnection(host, port, timeout=self._seconds, context=self._tls())
        if proxy is not None:
            connection.set_tunnel(target.host, target.port, _authorization(proxy))
        return connection

    def _tls(self) -> ssl.SSLContext:
        file = self._tls_certificates
        try:
            return ssl.create_default_context(cafile=None if file is None else str(file))
        except OSError as error:  # which an error of its contents is, too
            problem = Phrase("it holds no certificates in PEM that can be read")
            raise InvalidSetting(path=file, problem=problem) from error

    def _request_target(self) -> str:
        if self._proxy is not None and self.target.scheme == "http":
            return f"http://{self.target.name}{self.target.path}"
        return self.target.path

    def _proxy_headers(self) -> dict[str, str]:
        plain = self._proxy is not None and self.target.scheme == "http"
        return _authorization(self._proxy) if plain and self._proxy is not None else {}

    def _read(self, response: HTTPResponse) -> bytes:
        kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        if response.status == 200 or kind == self._media_type:
            body = self._bounded(response)
            if kind == self._media_type:
                return body
            raise self._refused(Phrase("it answers with '{kind}', which is not CMP", kind=_shown(kind)))
        if 300 <= response.status < 400:
            elsewhere = _shown(response.getheader("Location") or "?")
            raise self._refused(Phrase("it sends elsewhere, to {url}", url=elsewhere))
        problem = Phrase("it answered with HTTP status {status}", status=response.status)
        if response.status in _LATER:
            raise AuthorityUnreachable(authority=self._url, problem=problem, sent=True)
        raise self._refused(problem)

    def _bounded(self, response: HTTPResponse) -> bytes:
        content = bytearray()
        while part := response.read(min(_CHUNK, self._most_bytes + 1 - len(content))):
            content += part
            if len(content) > self._most_bytes:
                raise self._refused(Phrase("its answer is larger than {limit} bytes", limit=self._most_bytes))
        if response.length:
            raise self._unreachable(HTTPException("the answer was cut short"), sent=True)
        return bytes(content)

    def _refused(self, problem: Phrase) -> AuthorityRefused:
        return AuthorityRefused(
            authority=self._url,
            problem=problem,
            next_step="Make sure of the authority's URL; its operator knows the one for CMP.",
        )

    def _unreachable(self, error: Exception, *, sent: bool) -> AuthorityUnreachable:
        return AuthorityUnreachable(
            authority=self._url,
            problem=self._words(error),
            sent=sent,
            next_step=None if sent else Phrase("Make sure of its URL and of the network, then try again."),
        )

    def _words(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return Phrase("it did not answer within {seconds} seconds", seconds=f"{self._seconds:g}")
        if isinstance(error, RemoteDisconnected | BrokenPipeError):
            return Phrase("it closed the connection without an answer")
        return getattr(error, "strerror", None) or (str(error) or type(error).__name__)[:200]


@contextlib.contextmanager
def _ended_after(seconds: float, connection: HTTPConnection) -> Iterator[None]:
    """Shut the connection when the time is over, so that whoever reads drop by drop from it ends: ``TimeoutError``."""
    over, wire = threading.Event(), connection.sock  # which the connection forgets before the answer is read

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            # Not the method of an SSL socket, which would take the session from under whoever reads.
            socket.shutdown(wire, SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
        if over.is_set():  # an end that looked like that of the answer
            raise TimeoutError
    except Exception as error:
        if over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()


def _proxy_for(target: Target) -> SplitResult | None:
    found = getproxies().get(target.scheme)
    if not found or proxy_bypass(target.host):
        return None
    return urlsplit(found if "://" in found else f"http://{found}")


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(words.encode()).decode()}"}


def _shown(text: str) -> str:
    """What a stranger wrote, short and without what would move a terminal's cursor."""
    return "".join(one for one in text[:200] if one.isprintable())
