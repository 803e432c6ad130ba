"""One process of a centre: its event loop, its listeners, and their end in good order."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from dojang.centre.logs import tell
from dojang.centre.protocol import guarded_protocol, sweep
from dojang.centre.sockets import BACKLOG
from dojang.centre.tls import TLS_SECONDS, TlsFiles

if TYPE_CHECKING:
    from dojang.centre.gate import App
    from dojang.centre.health import Pulse, Readiness
    from dojang.centre.limits import Limits
    from dojang.centre.state import Centre

KEEP_ALIVE_SECONDS: Final = 5
STUCK: Final = 10.0
"""Seconds without a turn of the event loop after which a process is no longer alive."""


class Host:
    """Serves ``app`` until it is told to stop. ``stop`` and ``reload`` may be called from any thread."""

    def __init__(
        self,
        app: "App",
        state: "Centre",
        limits: "Limits",
        pulse: "Pulse",
        sockets: Sequence[socket.socket],
        tls: TlsFiles | None = None,
    ) -> None:
        self._server = _Server(app, state, limits, sockets, None if tls is None else tls.context())
        self._limits, self._pulse, self._tls = limits, pulse, tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_to_stop = False
        self._stopping: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
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
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
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
        self._server.should_exit = True

    def _reload(self) -> None:
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._read_again())

    async def _read_again(self) -> None:
        try:
            await asyncio.to_thread(self.on_reload)
            if self._tls is not None:
                self._server.use_tls(self._tls.context())
            tell("reloaded")
        except Exception as error:  # the old settings stay in force
            tell("not reloaded", logging.ERROR, code=getattr(error, "code", "bug"), message=str(error))


class _Server(uvicorn.Server):
    """uvicorn's server on sockets that are open already, with limits of ours and signals left alone."""

    def __init__(
        self,
        app: "App",
        state: "Centre",
        limits: "Limits",
        sockets: Sequence[socket.socket],
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=guarded_protocol(limits, state.metrics.turned_away),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(limits.drain_seconds) or 1,
            )
        )
        self._state, self._sockets, self._tls = state, sockets, tls
        self._replacing: asyncio.Task[None] | None = None
        self.beat_at = time.monotonic()
        self.on_started: Callable[[], None] = lambda: None
        self.on_turn: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers = await self._listen()
        self.started = True
        self.on_started()

    async def on_tick(self, counter: int) -> bool:
        self.beat_at = time.monotonic()
        if counter % 10 == 0:
            sweep(self.server_state.connections)
            self._state.metrics.under_way(self._state.desk.taken)
            self.on_turn()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody is let in any more; those who are here are served."""
        await super().shutdown(list(self._sockets))

    def use_tls(self, context: ssl.SSLContext) -> None:
        """For connections from now on; those that are open go on as they are."""
        self._tls = context
        self._replacing = asyncio.create_task(self._replace(self._replacing))

    async def _replace(self, earlier: "asyncio.Task[None] | None") -> None:
        if earlier is not None:
            await earlier
        before, self.servers = self.servers, await self._listen()
        for server in before:
            server.close()

    async def _listen(self) -> list[Any]:
        loop = asyncio.get_running_loop()
        protocol: Any = self.config.http_protocol_class

        def connection() -> asyncio.Protocol:
            made: asyncio.Protocol = protocol(
                config=self.config, server_state=self.server_state, app_state={}, _loop=loop
            )
            return made

        seconds: dict[str, Any] = {} if self._tls is None else TLS_SECONDS
        return [
            await loop.create_server(connection, sock=one.dup(), ssl=self._tls, backlog=BACKLOG, **seconds)
            for one in self._sockets
        ]
