"""The threads in which the centre does its work: so many at once, so many waiting, and no more.

Work and answers are handed over with as little as can be: what ``concurrent.futures`` puts between a thread and an
event loop takes as long as many an answer.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from dojang.errors import CentreBusy

T = TypeVar("T")

THREADS: Final = 8
WAITING: Final = 64
RETRY_AFTER: Final = 2
"""Seconds after which somebody who was turned away may come again."""


class _Piece:
    """A piece of work, who waits for its answer, and on which event loop."""

    __slots__ = ("_answer", "_arguments", "_error", "_found", "_loop", "_work")

    def __init__(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._work, self._arguments = work, arguments
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Any] = self._loop.create_future()
        self._found: Any = None
        self._error: BaseException | None = None

    async def answer(self) -> Any:
        return await self._answer

    def do(self) -> None:
        """Unless nobody waits for it any more."""
        if not self._answer.cancelled():
            try:
                self._found = self._work(*self._arguments)
            except BaseException as error:
                self._error = error

    def hand_over(self) -> None:
        self._tell(self._settle)

    def call_off(self) -> None:
        self._tell(self._answer.cancel)

    def _tell(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(what)

    def _settle(self) -> None:
        if self._answer.done():
            return
        if self._error is None:
            self._answer.set_result(self._found)
        else:
            self._answer.set_exception(self._error)


class Desk:
    """Work that was begun is done to its end, even when nobody waits for its answer any more."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._most, self._room = threads, threads + waiting
        self._waiting: SimpleQueue[_Piece | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._taken, self._is_closed = 0, False
        self._counting = threading.Lock()

    @property
    def taken(self) -> int:
        """How many pieces of work are under way or waiting."""
        return self._taken

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What ``work`` returns or raises, from a thread; ``CentreBusy`` when there is no room."""
        piece = _Piece(work, arguments)
        with self._counting:
            if self._taken >= self._room or self._is_closed:
                raise CentreBusy(seconds=RETRY_AFTER)
            self._taken += 1
            self._waiting.put(piece)
            if self._taken > len(self._threads) < self._most:
                self._begin()
        found: T = await piece.answer()
        return found

    def close(self) -> None:
        """Take no more; what waits is not begun. Returns when what was begun is done."""
        with self._counting:
            self._is_closed = True
        with contextlib.suppress(Empty):
            while (piece := self._waiting.get_nowait()) is not None:
                piece.call_off()
                self._left()
        for _thread in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"desk-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while (piece := self._waiting.get()) is not None:
            piece.do()
            self._left()
            piece.hand_over()
            del piece  # it is not kept until the next one comes

    def _left(self) -> None:
        with self._counting:
            self._taken -= 1
