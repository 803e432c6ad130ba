"""One process of a centre: its event loop, its listeners, and their end in good order."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from dojang.centre.logs import tell
from dojang.centre.servers import UVICORN, open_server

if TYPE_CHECKING:
    from dojang.centre.gate import App
    from dojang.centre.health import Pulse, Readiness
    from dojang.centre.limits import Limits
    from dojang.centre.state import Centre
    from dojang.centre.tls import TlsFiles

STUCK: Final = 10.0
"""Seconds without a turn of the event loop after which a process is no longer alive."""


class Server(Protocol):
    """What speaks HTTP on the sockets. Everything but ``beat_at`` is used by the thread of its event loop."""

    beat_at: float
    """When the event loop last turned, of ``time.monotonic``."""
    on_started: Callable[[], None]
    on_turn: Callable[[], None]

    def new_loop(self) -> asyncio.AbstractEventLoop: ...

    async def serve(self) -> None:
        """Until ``end``; returns when what was under way is done, or has had its time."""

    def end(self) -> None: ...

    async def use_tls(self, files: "TlsFiles") -> None:
        """For connections from now on. Raises ``FileUnreadable`` and ``FileMalformed``, and then goes on as before."""


class Host:
    """Serves ``app`` until it is told to stop. ``stop`` and ``reload`` may be called from any thread."""

    def __init__(
        self,
        app: "App",
        state: "Centre",
        limits: "Limits",
        pulse: "Pulse",
        sockets: Sequence[socket.socket],
        tls: "TlsFiles | None" = None,
        server: str = UVICORN,
    ) -> None:
        """``server`` is one of ``dojang.centre.servers.NAMES``. Raises ``ExtraMissing`` where it is not installed."""
        self._server: Server = open_server(server, app, state, limits, sockets, tls)
        self._limits, self._pulse, self._tls = limits, pulse, tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_to_stop = False
        self._stopping: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._is_stale = False
        self.on_reload: Callable[[], None] = lambda: None
        """Called, in a thread, when the settings are to be read again."""
        self.on_stopping: Callable[[], None] = lambda: None
        self.on_started: Callable[[], None] = lambda: None
        self.on_finding: Callable[[Readiness], None] = lambda _found: None
        """For who wants to hear of every look at database and HSM."""
        self.on_turn: Callable[[], None] = lambda: None
        """Called every second, by the event loop: as long as it turns, the process is alive."""
        self.started = threading.Event()

    def run(self, *, signals: bool = True) -> None:
        """Until ``stop``, or with ``signals`` SIGTERM or SIGINT; returns when what was under way is done, or late."""
        with asyncio.Runner(loop_factory=self._server.new_loop) as runner:
            runner.run(self._serve(signals))

    def alive(self) -> bool:
        """Whether the event loop turns."""
        return time.monotonic() - self._server.beat_at < STUCK

    def readiness(self) -> "Readiness":
        """What the last look at database and HSM found."""
        return self._pulse.readiness()

    def stop(self) -> None:
        """Say no to whoever asks for readiness, answer what is under way, end."""
        self._is_to_stop = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._begin_to_stop)

    def reload(self) -> None:
        """Read the TLS files again, for connections from now on, and whatever ``on_reload`` reads."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._reload)

    async def _serve(self, signals: bool) -> None:
        self._loop = asyncio.get_running_loop()
        if signals:
            for number, action in ((signal.SIGTERM, self._begin_to_stop), (signal.SIGINT, self._begin_to_stop)):
                self._loop.add_signal_handler(number, action)
            self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._server.on_started = self._has_started
        self._server.on_turn = self.on_turn
        if self._is_to_stop:  # before it began
            self._begin_to_stop()
        await self._server.serve()

    def _has_started(self) -> None:
        self.started.set()
        self.on_started()

    def _begin_to_stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        self._pulse.drain()
        self.on_stopping()
        tell("draining", seconds=self._limits.drain_seconds)
        await asyncio.sleep(self._limits.notice_seconds)  # for those who balance the load to hear of it
        self._server.end()

    def _reload(self) -> None:
        """Once more, where it is under way: what that has read by now may be what stood there before."""
        self._is_stale = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._read_again())

    async def _read_again(self) -> None:
        while self._is_stale:
            self._is_stale = False
            await self._read()

    async def _read(self) -> None:
        try:
            await asyncio.to_thread(self.on_reload)
            if self._tls is not None:
                await self._server.use_tls(self._tls)
            tell("reloaded")
        except Exception as error:  # the old settings stay in force
            tell("not reloaded", logging.ERROR, code=getattr(error, "code", "bug"), message=str(error))
