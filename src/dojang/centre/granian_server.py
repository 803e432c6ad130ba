"""A centre's listeners on granian, which speaks HTTP in threads of its own and calls what is served on one event loop.

It keeps our limits by means of its own: who is one connection too many waits until another ends instead of hearing 503,
and who sends a header too slowly or too long hears nothing or 431 and is not counted. What is still in its buffers when
an answer ends is bounded by the system, which cuts off who takes none of it (TCP_USER_TIMEOUT). What it cannot keep is
refused by ``servers.check_server``.
"""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server

from dojang.centre.granian_trial import try_tls
from dojang.centre.protocol import GRACE
from dojang.centre.sockets import BACKLOG

if TYPE_CHECKING:
    from dojang.centre.gate import App, Message, Receive, Scope, Send
    from dojang.centre.limits import Limits
    from dojang.centre.state import Centre
    from dojang.centre.tls import TlsFiles

_LEAST_BUFFER: Final = 8192
_PIECE: Final = 65536
_TURN: Final = 1.0
_NO_LOGGING: Final[dict[str, Any]] = {"incremental": True, "handlers": {}, "loggers": {}}
"""The centre's own log stays as it is."""


class GranianServer:
    """granian on sockets that are open already, with limits of ours and signals left alone."""

    def __init__(
        self,
        app: "App",
        state: "Centre",
        limits: "Limits",
        sockets: Sequence[socket.socket],
        tls: "TlsFiles | None",
    ) -> None:
        self._visits, self._state, self._limits = _Visits(app), state, limits
        self._sockets, self._tls = sockets, tls
        if tls is not None:
            try_tls(tls)
        self._ending = asyncio.Event()
        self._listeners: list[Listener] = []
        self._leaving: list[Listener] = []
        self.beat_at = time.monotonic()
        self.on_started: Callable[[], None] = lambda: None
        self.on_turn: Callable[[], None] = lambda: None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """uvloop's where it is installed."""
        try:
            from uvloop import new_event_loop
        except ImportError:
            return asyncio.new_event_loop()
        return new_event_loop()

    def end(self) -> None:
        """Let nobody in any more, and serve those who are here."""
        self._ending.set()

    async def serve(self) -> None:
        """Until ``end``; returns when what was under way is done, or has had its time."""
        self._listeners = await self._listen(self._tls)
        self.on_started()
        while not self._ending.is_set():
            self._turn()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _TURN)
        await self._drain()

    def _turn(self) -> None:
        for listener in self._listeners:
            listener.check()
        self._leaving = [one for one in self._leaving if not one.has_ended]
        self.beat_at = time.monotonic()
        self._state.metrics.under_way(self._state.desk.taken)
        self.on_turn()

    async def use_tls(self, files: "TlsFiles") -> None:
        """For connections from a moment later on; the earlier threads may take one meanwhile, or cut it off.
        Connections that are idle are closed, a request under way is answered first.
        Nobody listens anew once the end has begun.
        """
        await asyncio.to_thread(try_tls, files)
        new = await self._listen(files)
        if self._ending.is_set():
            self._leave(new)
            return
        before, self._listeners = self._listeners, new
        self._leave(before)

    async def _listen(self, tls: "TlsFiles | None") -> "list[Listener]":
        """All of them, or none."""
        share = ceil(self._limits.connections / len(self._sockets))
        listeners = [Listener(one, self._visits, self._limits, share, tls) for one in self._sockets]
        begun: list[Listener] = []
        try:
            for listener in listeners:
                begun.append(listener)
                await listener.begin()
        except BaseException:
            self._leave([one for one in begun if not one.has_ended])
            raise
        return listeners

    def _leave(self, listeners: "list[Listener]") -> None:
        for listener in listeners:
            listener.stop()  # type: ignore[no-untyped-call]
        self._leaving += listeners

    async def _drain(self) -> None:
        for one in self._sockets:
            one.close()
        self._leave(self._listeners)
        ends = [listener.ended for listener in self._leaving]
        _ended, late = await asyncio.wait(ends, timeout=max(1.0, self._limits.drain_seconds))
        if late:
            self._visits.cancel()
            await asyncio.wait(late, timeout=GRACE)


class _Visits:
    """The application, and the requests that are under way in it."""

    def __init__(self, app: "App") -> None:
        self._app = app
        self._under_way: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer.send)
            await answer.make_up()
        finally:
            self._under_way.discard(task)

    def cancel(self) -> None:
        """They have had their time; the gate tells their callers to come again."""
        for task in self._under_way:
            task.cancel()


class _Answer:
    """One answer, in pieces: whoever does not take it makes its sender wait, and so comes to the end of his time."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self._begun = False

    async def send(self, message: "Message") -> None:
        self._begun = True
        body = message.get("body", b"")
        start = 0
        while len(body) - start > _PIECE:
            await self._send({"type": message["type"], "body": body[start : start + _PIECE], "more_body": True})
            start += _PIECE
        await self._send({**message, "body": body[start:]} if start else message)

    async def make_up(self) -> None:
        """The answer to a body that did not come to its end, or was none; granian's own would blame us for it."""
        if not self._begun:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await self._send({"type": "http.response.start", "status": 400, "headers": headers})
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class Listener(Server):
    """One of granian's own on a socket that is open."""

    def __init__(
        self,
        listening: socket.socket,
        app: "_Visits | None",
        limits: "Limits",
        connections: int,
        tls: "TlsFiles | None",
    ) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=BACKLOG,
            backpressure=connections,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(limits.header_seconds * 1000),
                max_buffer_size=max(_LEAST_BUFFER, limits.header_bytes),
            ),
            log_enabled=False,
            log_level=LogLevels.critical,
            log_dictconfig=_NO_LOGGING,
            ssl_cert=None if tls is None else tls.certificate,
            ssl_key=None if tls is None else tls.key,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self._listening = listening
        self.ended: asyncio.Task[None]
        _bound_idle_answers(listening, limits.request_seconds + 2 * GRACE)

    def _init_shared_socket(self) -> None:
        """The open socket instead of one of granian's; it is closed by its threads, so they have a copy."""
        backlog = (BACKLOG,) if sys.platform.startswith(("linux", "freebsd")) else ()
        self._shd = SocketHolder(self._listening.dup().detach(), False, *backlog)  # type: ignore[assignment, call-arg]

    async def begin(self) -> None:
        """Listen; the files of TLS have been tried."""
        self.ended = asyncio.create_task(self.serve())
        while not self.wrks and not self.has_ended:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.check()

    @property
    def has_ended(self) -> bool:
        return self.ended.done()

    def check(self) -> None:
        """Raise where it has ended by itself: whoever started this process is to start another."""
        if self.has_ended:
            raise RuntimeError("granian has ended by itself")


def _bound_idle_answers(listening: socket.socket, seconds: float) -> None:
    """Connections inherit it: one on which nothing is taken for so long is cut off by the system."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
