"""The threads of a centre: what is begun, what is not, and what comes back."""

import asyncio
import threading

import pytest

from dojang.centre.desk import Desk
from dojang.errors import CentreBusy, NotFound


def test_answers_and_errors_come_back_as_they_are():
    """From a thread that is not the one that waits."""

    def fail() -> None:
        raise NotFound(what="it", where="here", command="dojang ca show")

    async def ask(desk: Desk) -> str:
        assert await desk.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(NotFound):
            await desk.run(fail)
        assert desk.taken == 0
        return await desk.run(lambda: threading.current_thread().name)

    desk = Desk(threads=2)
    assert asyncio.run(ask(desk)) != threading.current_thread().name
    desk.close()


def test_what_nobody_waits_for_any_more_is_not_begun():
    """Behind work that takes long: called off while it waited, it is never done, and its room is free again."""
    held, done = threading.Event(), list[str]()

    async def ask(desk: Desk) -> None:
        first = asyncio.create_task(desk.run(held.wait, 10))
        second = asyncio.create_task(desk.run(done.append, "second"))
        await asyncio.sleep(0)
        assert desk.taken == 2
        second.cancel()
        held.set()
        assert await first
        assert await desk.run(lambda: "third") == "third"
        assert (desk.taken, done) == (0, [])

    desk = Desk(threads=1)
    asyncio.run(ask(desk))
    desk.close()


def test_at_its_end_what_waits_is_not_begun_and_what_was_begun_is_done():
    """Whoever waited hears that it was called off, and nobody is let in any more."""
    begun, held, done = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        held.wait(10)
        done.append("first")

    async def ask(desk: Desk) -> None:
        first = asyncio.create_task(desk.run(work))
        second = asyncio.create_task(desk.run(done.append, "second"))
        await asyncio.to_thread(begun.wait, 10)
        closing = asyncio.create_task(asyncio.to_thread(desk.close))
        with pytest.raises(asyncio.CancelledError):
            await second
        held.set()
        await closing
        await first
        assert (desk.taken, done) == (0, ["first"])
        with pytest.raises(CentreBusy):
            await desk.run(done.append, "third")

    asyncio.run(ask(Desk(threads=1)))
