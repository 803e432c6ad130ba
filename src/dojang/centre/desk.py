"""The threads in which the centre does its work: so many at once at most, so many waiting, and no more.

How many of them work depends on what there is to do (``pace``); when nothing is done for a while, another one begins.
Work and answers are handed over with as little as can be: what ``concurrent.futures`` puts between a thread and an
event loop takes as long as many an answer.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter, thread_time
from typing import Any, Final, TypeVar

from dojang.centre.pace import Pace
from dojang.errors import CentreBusy

T = TypeVar("T")

THREADS: Final = 8
WAITING: Final = 64
STANDSTILL: Final = 0.02
"""Seconds in which a piece of work should have been done."""
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

    def later(self, what: "Callable[[_Piece], object]") -> None:
        """On its event loop, which is this thread's."""
        self._loop.call_later(STANDSTILL, what, self)

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
        self._pace = Pace(threads)
        self._waiting: deque[_Piece] = deque()
        self._begun: SimpleQueue[_Piece | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._taken, self._under_way, self._is_closed = 0, 0, False
        self._moved_at = 0.0
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
            self._waiting.append(piece)
            self._begin_some()
            waits = bool(self._waiting)
        if waits:
            piece.later(self._hurry)
        found: T = await piece.answer()
        return found

    def close(self) -> None:
        """Take no more; what waits is not begun. Returns when what was begun is done."""
        with self._counting:
            self._is_closed = True
            for piece in self._waiting:
                piece.call_off()
            self._taken -= len(self._waiting)
            self._waiting.clear()
        for _thread in self._threads:
            self._begun.put(None)
        for thread in self._threads:
            thread.join()

    def _begin_some(self) -> None:
        """As many as are to be under way; each has a thread."""
        while self._waiting and self._under_way < self._pace.hands:
            self._under_way += 1
            self._begun.put(self._waiting.popleft())
            if self._under_way > len(self._threads):
                thread = threading.Thread(target=self._serve, name=f"desk-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _hurry(self, piece: _Piece) -> None:
        """It has waited for a while."""
        with self._counting:
            if piece not in self._waiting:
                return
            if perf_counter() - self._moved_at >= STANDSTILL:
                self._moved_at = perf_counter()
                self._pace.quicken()
                self._begin_some()
        piece.later(self._hurry)

    def _serve(self) -> None:
        while (piece := self._begun.get()) is not None:
            before = thread_time()
            piece.do()
            self._done(thread_time() - before)
            piece.hand_over()
            del piece  # it is not kept until the next one comes

    def _done(self, work: float) -> None:
        with self._counting:
            self._taken -= 1
            self._under_way -= 1
            self._moved_at = perf_counter()
            self._pace.learn(self._moved_at, work, others_wait=bool(self._waiting))
            self._begin_some()
