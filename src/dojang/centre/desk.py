"""The threads in which the centre does its work: so many at once, so many waiting, and no more."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from dojang.errors import CentreBusy

T = TypeVar("T")

THREADS: Final = 8
WAITING: Final = 64
RETRY_AFTER: Final = 2
"""Seconds after which somebody who was turned away may come again."""


class Desk:
    """A bounded pool. Work that was begun is done to its end, even when nobody waits for its answer any more."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="desk")
        self._room = threads + waiting
        self._taken = 0
        self._counting = threading.Lock()

    @property
    def taken(self) -> int:
        """How many pieces of work are under way or waiting."""
        return self._taken

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What ``work`` returns or raises, from a thread of the pool; ``CentreBusy`` when there is no room."""
        with self._counting:
            if self._taken >= self._room:
                raise CentreBusy(seconds=RETRY_AFTER)
            self._taken += 1
        future = self._pool.submit(work, *arguments)
        future.add_done_callback(self._left)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more; what waits is not begun. Returns when what was begun is done."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _left(self, _future: "Future[Any]") -> None:
        with self._counting:
            self._taken -= 1
