"""A centre's listeners on uvicorn, whose protocol is held to limits of ours."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn

from dojang.centre.protocol import KEEP_ALIVE_SECONDS, guarded_protocol, sweep
from dojang.centre.sockets import BACKLOG
from dojang.centre.tls import TLS_SECONDS, TlsFiles

if TYPE_CHECKING:
    from dojang.centre.gate import App
    from dojang.centre.limits import Limits
    from dojang.centre.state import Centre


class UvicornServer(uvicorn.Server):
    """uvicorn's server on sockets that are open already, with limits of ours and signals left alone."""

    def __init__(
        self,
        app: "App",
        state: "Centre",
        limits: "Limits",
        sockets: Sequence[socket.socket],
        tls: TlsFiles | None,
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
        self._state, self._sockets = state, sockets
        self._tls: ssl.SSLContext | None = None if tls is None else tls.context()
        self._replacing: asyncio.Task[None] | None = None
        self.beat_at = time.monotonic()
        self.on_started: Callable[[], None] = lambda: None
        self.on_turn: Callable[[], None] = lambda: None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """uvloop's where it is installed."""
        factory = self.config.get_loop_factory()
        return asyncio.new_event_loop() if factory is None else factory()

    def end(self) -> None:
        """Let nobody in any more, and serve those who are here."""
        self.should_exit = True

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

    async def use_tls(self, files: TlsFiles) -> None:
        """For connections from now on; those that are open go on as they are."""
        self._tls = files.context()
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
