"""What an HTTP connection is held to before there is a request: how many, how long a header may take, how long it is.

uvicorn ends only connections that are idle after an answer. Everything else that keeps one open without giving a
request (slow headers, endless headers, nobody taking the answer) is found by ``sweep``, once a second.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from dojang.centre.limits import Limits

KEEP_ALIVE_SECONDS: Final = 5
GRACE: Final = 5.0
"""Seconds beyond all limits after which a connection is cut off without a word."""

_REFUSAL: Final = "HTTP/1.1 {} {}\r\nconnection: close\r\ncontent-length: 0\r\n{}\r\n"


def guarded_protocol(limits: Limits, turned_away: Callable[[str], None]) -> type[asyncio.Protocol]:
    """uvicorn's protocol for HTTP/1.1 (httptools where it is installed, else h11) with these limits."""

    class Guarded(_implementation()):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            self.since, self.header_bytes = time.monotonic(), 0
            super().connection_made(transport)
            certificate = _client_certificate(transport)
            if certificate is not None:
                self.app_state: dict[str, Any] = {**self.app_state, "client_certificate": certificate}
            if len(self.connections) > limits.connections:
                turned_away("connections")
                self.refuse(503, "Service Unavailable", "retry-after: 5\r\n")

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            waiting = self.is_waiting()
            super().data_received(data)
            if waiting and self.is_waiting():
                self.header_bytes += len(data)
                if self.header_bytes > limits.header_bytes:
                    turned_away("header")
                    self.refuse(431, "Request Header Fields Too Large")
            elif waiting:
                self.since, self.header_bytes = time.monotonic(), 0

        def on_response_complete(self) -> None:
            self.since, self.header_bytes = time.monotonic(), 0
            super().on_response_complete()

        def is_waiting(self) -> bool:
            """Whether no request is under way."""
            return self.cycle is None or self.cycle.response_complete

        def check(self, now: float) -> None:
            """Called once a second."""
            age = now - self.since
            if self.transport.is_closing():
                if age > limits.request_seconds + GRACE:
                    self.transport.abort()
            elif not self.is_waiting():
                if age > limits.request_seconds + 2 * GRACE:
                    self.transport.abort()
            elif age > limits.header_seconds:
                if self.header_bytes:
                    turned_away("slow")
                    self.refuse(408, "Request Timeout")
                else:
                    self.transport.close()

        def refuse(self, status: int, words: str, more: str = "") -> None:
            if not self.transport.is_closing():
                self.transport.write(_REFUSAL.format(status, words, more).encode())
                self.transport.close()

    return cast(type[asyncio.Protocol], Guarded)


def sweep(connections: Iterable[Any]) -> None:
    """Look at every connection."""
    now = time.monotonic()
    for connection in list(connections):
        connection.check(now)


def _implementation() -> type[Any]:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        return HttpToolsProtocol
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol

        return H11Protocol


def _client_certificate(transport: asyncio.Transport) -> bytes | None:
    connection = transport.get_extra_info("ssl_object")
    return None if connection is None else connection.getpeercert(binary_form=True)
