"""A centre in this process: a real server on loopback, in a thread, with a door for each thing that can go wrong."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from dojang.centre.app import _health
from dojang.centre.desk import Desk
from dojang.centre.gate import Gate
from dojang.centre.health import Pulse
from dojang.centre.host import Host
from dojang.centre.limits import Limits
from dojang.centre.metrics import Metrics
from dojang.centre.sockets import listen
from dojang.centre.state import Centre, note, source_of, utc_now
from dojang.errors import AuthorityUnreachable, NotFound


@dataclass
class Server:
    """A host that runs, and what a test may want to touch of it."""

    port: int
    host: Host
    state: Centre
    pulse: Pulse
    held: threading.Event = field(default_factory=threading.Event)
    """Set: work at /work goes on."""
    at_work: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released by each piece of work that begins."""

    def connection(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET" if body is None else "POST", path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def problem(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        status, found, content = self.ask(path, body, headers)
        assert found["content-type"] == "application/problem+json"
        return status, json.loads(content)

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def _routes(server: "Server") -> list[Route]:
    async def echo(request: Request) -> Response:
        note(request, transaction="t-1")
        return Response(await request.body(), headers={"x-source": source_of(request)})

    async def work(_request: Request) -> Response:
        def slow() -> bytes:
            server.at_work.release()
            assert server.held.wait(20)
            return b"done"

        return Response(await server.state.run(slow))

    async def fail(request: Request) -> Response:
        kinds = {
            "bug": RuntimeError("code=SECRET-IN-A-BUG"),
            "away": AuthorityUnreachable(authority="a", problem="pin-value=SECRET"),
            "missing": NotFound(what="it", where="here", command="dojang ca list"),
        }
        raise kinds[request.path_params["kind"]]

    return [
        Route("/echo", echo, methods=["GET", "POST"]),
        Route("/work", work, methods=["GET", "POST"]),
        Route("/fail/{kind}", fail),
    ]


@contextlib.contextmanager
def running(
    limits: Limits,
    desk: Desk | None = None,
    checks: dict[str, Callable[[], None]] | None = None,
    authorities: dict[str, Any] | None = None,
    doors: tuple[Callable[[Centre], list[Route]], ...] = (),
    clock: Callable[[], datetime] = utc_now,
    **host: Any,
):
    """A server with these limits, and beside its own doors those given."""
    state = Centre(authorities or {}, Metrics(), desk or Desk(), clock)
    pulse = Pulse(checks or {}, every=0.05)
    sockets = listen("127.0.0.1", 0)
    server = Server(sockets[0].getsockname()[1], None, state, pulse)  # type: ignore[arg-type]
    given = [route for routes in doors for route in routes(state)]
    app = Gate(Router([*_health(pulse), *_routes(server), *given]), limits, state.metrics)
    server.host = Host(app, state, limits, pulse, sockets, **host)
    pulse.start()
    thread = threading.Thread(target=server.host.run, kwargs={"signals": False})
    thread.start()
    assert server.host.started.wait(20)
    try:
        yield server
    finally:
        server.held.set()
        server.host.stop()
        thread.join(20)
        pulse.end()
        state.desk.close()
        for one in sockets:
            one.close()
    assert not thread.is_alive()


ODD_REQUESTS = (
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", b"400"),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", b"400"),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", b"400"),
    (b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"200"),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n", b"413"),
    (b"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", b"200"),
    (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"200"),
)
"""Each with the status of its one answer."""


def rest(connection: socket.socket) -> bytes:
    """Everything until the other side closes, or breaks off."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            found += part
    return found


def knock(server: Server) -> None:
    """Until nobody listens: ``ConnectionRefusedError``."""
    for _ in range(200):
        server.raw().close()
        time.sleep(0.02)


QUICK = Limits(
    body_bytes=1000, header_bytes=4096, header_seconds=0.5, request_seconds=1.0, connections=8, rate=0, drain_seconds=5
)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """With narrow limits, and no limit on how often one comes."""
    with running(QUICK) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def run_centre() -> Callable[..., Any]:
    return running
