"""The threads of a centre: what is begun, what is not, and what comes back."""

import asyncio
import threading

import pytest

from dojang.centre.desk import Desk
from dojang.centre.pace import Pace
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


def test_work_that_waits_gets_every_thread():
    """Eight that go on only when all of them are under way: none has to wait for another one's end."""
    together = threading.Barrier(8)

    async def ask(desk: Desk) -> None:
        await asyncio.gather(*(desk.run(together.wait, 30) for _ in range(8)))
        assert desk.taken == 0

    desk = Desk(threads=8)
    asyncio.run(ask(desk))
    desk.close()


def test_work_of_the_interpreter_keeps_one_thread_busy():
    """However many threads there were: one is left where each takes its share of a core, more come where it waits."""
    pace, now = Pace(4), 0.0
    for _ in range(5):
        pace.quicken()
    assert pace.hands == 4
    for share, hands in ((0.8, 1), (0.7, 1), (0.3, 4), (0.68, 4), (0.8, 1)):
        for _ in range(5 * 40):
            now += 0.002
            pace.learn(now, 0.002 * share, others_wait=True)
        assert pace.hands == hands


def test_a_pace_stays_where_nobody_waits():
    """Work that comes now and then says nothing of how much could be done."""
    pace = Pace(4)
    for moment in range(1000):
        pace.learn(float(moment), 0.001, others_wait=moment % 20 == 0)
    assert pace.hands == 1
