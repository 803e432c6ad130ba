"""What every request passes before a door sees it: who comes, how often, how much, how long; and its line in the log.

The body is read here, to its end and within its limits, so that no door ever waits for a caller. Whatever a door
raises becomes an answer here, once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from dojang.centre.limits import Buckets, Limits, is_loopback, is_trusted, source_behind
from dojang.centre.logs import ACCESS, tell
from dojang.centre.problems import CONTENT_TYPE, RETRY_AFTER, problem, problem_of, retry_after, status_of
from dojang.errors import CentreBusy, DojangError

if TYPE_CHECKING:
    from dojang.centre.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LINGER_BYTES: Final = 4 << 20
_LINGER_SECONDS: Final = 1.0
_access = logging.getLogger(ACCESS)
_log = logging.getLogger("dojang.centre")


class _TooLarge(Exception):
    """The body is longer than allowed."""


class _Gone(Exception):
    """Nobody waits for the answer any more."""


class Gate:
    """An ASGI application around another."""

    def __init__(self, app: App, limits: Limits, metrics: "Metrics") -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._buckets = Buckets(limits.rate, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._visit(_Visit(scope, receive, send))

    async def _visit(self, visit: "_Visit") -> None:
        began = time.perf_counter()
        visit.scope["dojang.source"] = self._source(visit.scope)
        visit.scope["dojang.private"] = self._is_private(visit.scope)
        visit.scope["app"] = self._app  # with which a path that leads nowhere is raised, not answered in a text
        limit = asyncio.timeout(self._limits.request_seconds)
        try:
            async with limit:
                await self._let_in(visit)
        except _Gone:
            visit.status = 499
        except asyncio.CancelledError:  # the process ends, and this request did not within the time for that
            await visit.refuse(503, RETRY_AFTER)
        except DojangError as error:
            await self._explain(visit, error)
        except HTTPException as error:  # no door is there, or it does not take this
            headers = {name.lower(): value for name, value in (error.headers or {}).items()}
            await visit.answer(error.status_code, problem(error.status_code), headers=headers)
        except Exception as error:
            if limit.expired():
                await self._too_late(visit)
            else:
                facts = {"request": visit.id, "kind": type(error).__name__}
                _log.error("failed", exc_info=error, extra={"facts": facts})
                await visit.refuse(500, request=visit.id)
        finally:
            self._record(visit, time.perf_counter() - began)

    async def _too_late(self, visit: "_Visit") -> None:
        """The caller's fault until the request was there, ours from then on."""
        self._metrics.turned_away("slow")
        if visit.is_complete:
            await visit.refuse(503, RETRY_AFTER)
        else:
            await visit.refuse(408)

    async def _let_in(self, visit: "_Visit") -> None:
        scope = visit.scope
        if wait := self._buckets.wait_for(scope["dojang.source"]):
            self._metrics.turned_away("rate")
            await visit.refuse(429, wait)
            return
        try:
            body = await visit.read_body(self._limits.body_bytes)
        except _TooLarge:
            self._metrics.turned_away("body")
            await visit.refuse(413)
            return
        await self._app(scope, _replay(body, visit.receive), visit.send)

    async def _explain(self, visit: "_Visit", error: DojangError) -> None:
        if isinstance(error, CentreBusy):
            self._metrics.turned_away("busy")
        if status_of(error) >= 500:
            tell("failed", logging.WARNING, request=visit.id, code=error.code, message=str(error))
        await visit.answer(status_of(error), problem_of(error), retry_after(error))

    def _source(self, scope: Scope) -> str:
        peer = scope["client"][0] if scope.get("client") else "-"
        if not self._limits.trusted_proxies:
            return str(peer)
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return source_behind(peer, forwarded, self._limits.trusted_proxies)

    def _is_private(self, scope: Scope) -> bool:
        """Whether nobody on the way can read along: TLS, this machine, or a proxy that is trusted."""
        peer = str(scope["client"][0]) if scope.get("client") else ""
        return scope["scheme"] == "https" or is_loopback(peer) or is_trusted(peer, self._limits.trusted_proxies)

    def _record(self, visit: "_Visit", seconds: float) -> None:
        scope = visit.scope
        self._metrics.answered(scope.get("dojang.door", "none"), visit.status, seconds)
        if _access.isEnabledFor(logging.INFO):
            facts = {
                "request": visit.id,
                "method": scope["method"],
                "path": scope["path"][:256],
                "status": visit.status,
                "seconds": round(seconds, 4),
                "source": scope["dojang.source"],
                **scope.get("dojang.facts", {}),
            }
            if (shown := scope["state"].get("client_certificate")) is not None:
                facts["client_certificate"] = sha256(shown).hexdigest()
            _access.info("request", extra={"facts": facts})


class _Visit:
    """One request on its way through: what came, and what has been answered so far."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self._send = scope, receive, send
        self.id = token_hex(8)
        self.status = 0
        self._length: int | None = None
        self._body_ended = True
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._length = int(value)
                self._body_ended = self._length == 0
            elif name == b"transfer-encoding":
                self._body_ended = False
        scope["dojang.request"] = self.id

    @property
    def is_complete(self) -> bool:
        """Whether all of the request has come."""
        return self._body_ended

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        await self._send(message)

    async def read_body(self, most: int) -> bytes:
        """All of it, and never more than ``most``; nothing is read of a body that says it is longer."""
        if self._length is not None and self._length > most:
            raise _TooLarge
        parts: list[bytes] = []
        size = 0
        while not self._body_ended:
            part = await self._next_part()
            size += len(part)
            if size > most:
                raise _TooLarge
            parts.append(part)
        return b"".join(parts)

    async def _next_part(self) -> bytes:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self._body_ended = True
            raise _Gone
        self._body_ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def refuse(self, status: int, wait: int | None = None, **more: str) -> None:
        """A problem without a cause that anybody needs to know; the connection ends."""
        await self.answer(status, problem(status, **more), wait, close=True)

    async def answer(
        self,
        status: int,
        body: bytes,
        wait: int | None = None,
        *,
        close: bool = False,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """A problem document; a response that was begun already is broken off instead."""
        if self.status:
            raise ConnectionAbortedError("the answer was not finished")
        lines = [(b"content-type", CONTENT_TYPE), (b"content-length", str(len(body)).encode())]
        lines += [(name.encode(), value.encode()) for name, value in headers.items()]
        if wait is not None:
            lines.append((b"retry-after", str(wait).encode()))
        if close:
            lines.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": lines})
        await self._send({"type": "http.response.body", "body": body, "more_body": close})
        if close:
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        """Take what is still coming for a moment: a connection closed over it would lose the answer on the way."""
        taken = 0
        with suppress(_Gone, TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self._body_ended and taken < _LINGER_BYTES:
                    taken += len(await self._next_part())


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
