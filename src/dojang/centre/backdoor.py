"""The listener for those who look after the service: /metrics, /health and /ready with reasons, on loopback.

It answers from a thread of its own, so that it can still say that the event loop is stuck.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from types import TracebackType
from typing import Any, Self

from dojang.centre.health import Readiness
from dojang.centre.metrics import CONTENT_TYPE

_PATIENCE = 10.0


class BackDoor:
    """A context manager; it answers while it is entered."""

    def __init__(
        self,
        listener: socket,
        *,
        alive: Callable[[], bool],
        ready: Callable[[], Readiness],
        page: Callable[[], bytes],
    ) -> None:
        class Handler(_Handler):
            answers = {  # noqa: RUF012
                "/health": lambda: _state(Readiness(alive(), {} if alive() else {"centre": "stuck"})),
                "/ready": lambda: _state(ready()),
                "/metrics": lambda: (200, CONTENT_TYPE, page()),
            }

        self._server = _Server(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        listener.setblocking(True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="backdoor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody hung up; there is nothing to say."""


class _Handler(BaseHTTPRequestHandler):
    answers: "dict[str, Callable[[], tuple[int, str, bytes]]]"
    timeout = _PATIENCE

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.partition("?")[0])
        status, kind, body = answer() if answer else (404, "text/plain", b"not found\n")
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's word
        """Nothing: whoever watches comes every few seconds."""

    def version_string(self) -> str:
        return "dojang"


def _state(found: Readiness) -> tuple[int, str, bytes]:
    said = {"ok": found.ok, "problems": dict(found.problems)} | ({"degraded": True} if found.degraded else {})
    body = json.dumps(said).encode() + b"\n"
    return (200 if found.ok else 503), "application/json", body
