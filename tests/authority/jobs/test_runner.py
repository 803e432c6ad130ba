"""Doing what is due: once, again when it failed, and never in the middle of being stopped."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from tests.authority.jobs.conftest import QUICK, SLOW, SetBack, engine_on

from dojang.authority.audit import current_actor
from dojang.authority.jobs.outcomes import outcomes
from dojang.authority.jobs.runner import JobRunner, pause_after
from dojang.authority.jobs.schedule import LONGEST_PAUSE, SCHEDULE, Periodic, Schedule
from dojang.errors import DatabaseUnavailable

SECOND = Periodic("tick", timedelta(seconds=1))
DAY = Periodic("day", timedelta(days=1))


def runner_on(database, handlers, rows=(), *, engine=None, **options) -> JobRunner:
    engine = engine or engine_on(database)
    schedule = Schedule("test", handlers, rows)
    quick = {"look_seconds": 0.05, "keep_seconds": 0.1, **options}
    return JobRunner(engine, database, handlers, schedule, **quick)


def until(condition, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_work_is_done_and_its_outcome_kept(database, engine):
    """What was put in is done in another thread, in the name of the job, and one can see that it went well."""
    seen = []

    def work(job, at):
        seen.append((job.key, job.payload["serial"], current_actor(), at.tzinfo))

    with runner_on(database, {"a": work}) as runner:
        engine.enqueue("a", "k", engine.now(), {"serial": "3f"})
        runner.wake()
        until(lambda: outcomes(database))
    assert seen == [("k", "3f", "job:a", UTC)]
    (outcome,) = outcomes(database)
    assert (outcome.kind, outcome.failures, outcome.problem) == ("a", 0, None)
    assert outcome.done_at == outcome.ended_at


def test_what_fails_is_put_off_and_visible(database):
    """A failure keeps the job, tells why and how often, and is forgotten once it goes well."""
    working = False

    def work(job, at):
        if not working:
            raise DatabaseUnavailable(where="here", problem="gone")

    with runner_on(database, {"a": work}, threads=0) as runner:
        engine = runner._engine
        (failed,) = runner.run_due(["a"])
        assert isinstance(failed.error, DatabaseUnavailable)
        (waiting,) = engine.standing()
        assert (waiting.state, waiting.failures) == ("waiting", 1)
        assert timedelta(seconds=5) < waiting.run_at - engine.now() < timedelta(seconds=20)
        assert list(runner.run_due()) == []
        list(runner.run_due(["a"]))
        (outcome,) = outcomes(database)
        assert (outcome.failures, outcome.done_at) == (2, None)
        assert "gone" in outcome.problem
        working = True
        (done,) = runner.run_due(["a"])
        assert (done.error, done.job.attempt) == (None, 3)
        assert engine.standing() == []
    (outcome,) = outcomes(database)
    assert (outcome.failures, outcome.problem) == (0, None)


def test_the_unexpected_is_a_failure_like_any_other(database):
    """A mistake in the work ends neither the thread nor the process."""

    def work(job, at):
        raise ZeroDivisionError

    with runner_on(database, {"a": work}, threads=0) as runner:
        (failed,) = runner.run_due(["a"])
        assert isinstance(failed.error, ZeroDivisionError)
    assert outcomes(database)[0].problem == "ZeroDivisionError"


def test_work_goes_on_whoever_fails_to_hear_of_it(database):
    """Neither the thread that works nor the one that keeps its claims ends over something that nobody foresaw."""
    seen, told = [], []

    def tell(done):
        told.append(done)
        raise OSError("no space for a figure")

    with runner_on(database, {"a": lambda job, at: seen.append(job.key)}, tell=tell) as runner:
        for key in ("first", "second"):
            runner._engine.enqueue("a", key, runner._engine.now())
            runner.wake()
            until(lambda key=key: key in seen)
        until(lambda: len(told) == 2)
        assert all(thread.is_alive() for thread in (*runner._threads, runner._keeper))


def test_pauses_grow_to_an_hour():
    """A quarter of a minute at first, twice as long each time, an hour in the end, never all at the same moment."""
    pauses = [pause_after(attempt).total_seconds() for attempt in range(1, 40)]
    assert [round(pause / 15 / 2**number, 1) in (0.9, 1.0, 1.1) for number, pause in enumerate(pauses[:6])] == [
        True
    ] * 6
    assert max(pauses) <= 1.1 * LONGEST_PAUSE.total_seconds()
    assert len(set(pauses)) == len(pauses)


def test_an_interrupted_run_gives_its_job_back(database, engine):
    """Ctrl-C while a job is run by hand leaves it waiting, for now."""

    def work(job, at):
        raise KeyboardInterrupt

    with runner_on(database, {"a": work}, threads=0) as runner, pytest.raises(KeyboardInterrupt):
        list(runner.run_due(["a"]))
    assert engine.claim(["a"]).attempt == 2


def test_drain_lets_what_runs_end(database, engine):
    """Stopping in good order waits for the job that runs and begins no other."""
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def work(job, at):
        begun.set()
        may_end.wait(10)
        ended.append(job.key)

    with runner_on(database, {"a": work}) as runner:
        for key in ("1", "2"):
            engine.enqueue("a", key, engine.now())
        assert begun.wait(10)
        assert not runner.drain(0.05)
        may_end.set()
        assert runner.drain(10)
        assert len(ended) == 1
        assert [one.state for one in engine.standing()] == ["waiting"]


def test_a_job_that_outlasts_the_drain_is_left_to_others(database, engine):
    """A process that had to stop in the middle of a job gives it up at once, and another one does it."""
    begun, may_end = threading.Event(), threading.Event()

    def work(job, at):
        begun.set()
        may_end.wait(10)

    runner = runner_on(database, {"a": work})
    runner.start()
    engine.enqueue("a", "k", engine.now())
    assert begun.wait(10)
    assert not runner.drain(0.01)
    runner.close()
    again = runner_on(database, {"a": lambda job, at: None})
    with again:
        until(lambda: [one.failures for one in outcomes(database)] == [0])
    may_end.set()
    until(lambda: threading.active_count() == 1 or not any("dojang-job-" in t.name for t in threading.enumerate()))
    assert engine.standing() == []


def test_a_long_job_is_not_taken_away(database, engine):
    """A job that takes longer than a claim lasts is run once, with two runners waiting for work."""
    runs = []

    def work(job, at):
        runs.append(job.key)
        time.sleep(2 * SLOW)

    first, second = (engine_on(database, claim_seconds=SLOW) for _number in range(2))
    with runner_on(database, {"a": work}, engine=first), runner_on(database, {"a": work}, engine=second):
        engine.enqueue("a", "k", engine.now())
        until(lambda: outcomes(database))
    assert runs == ["k"]


def test_one_of_several_processes_does_each_turn(database):
    """Three runners with one schedule: each period's work is done once, and the periods follow each other."""
    turns: Counter[int] = Counter()

    def work(job, at):
        turns[job.payload["turn"]] += 1

    runners = [runner_on(database, {"tick": work}, [SECOND], threads=2) for _number in range(3)]
    for runner in runners:
        runner.start()
    until(lambda: len(turns) >= 4)
    assert all(runner.drain(10) for runner in runners)
    for runner in runners:
        runner.close()
    assert set(turns.values()) == {1}, turns


def test_what_never_ran_runs_at_once(database, engine):
    """The first process of an authority does not wait a day for daily work; the next one does."""
    runs = []
    for _process in range(2):
        with runner_on(database, {"day": lambda job, at: runs.append(at)}, [DAY]):
            until(lambda: outcomes(database) and engine.standing())
    assert len(runs) == 1
    assert engine.standing()[0].run_at > engine.now()


def test_every_process_reaches_the_same_moments():
    """The next moment depends on the authority and the clock only; it is never more than a period away."""
    one, other = Schedule("office", ["day"], [DAY]), Schedule("other", ["day"], [DAY])
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    moments = {one.next_moment(DAY, now + timedelta(minutes=minute)) for minute in range(0, 24 * 60, 10)}
    assert len(moments) == 2
    assert all(now < moment <= now + 2 * DAY.every for moment in moments)
    assert one.next_moment(DAY, now) == Schedule("office", ["day"], [DAY]).next_moment(DAY, now)
    assert one.next_moment(DAY, now) != other.next_moment(DAY, now)


def test_a_clock_set_back_delays_by_no_more_than_a_period(tmp_path):
    """What waits for a moment that is suddenly far away is brought forward, and a claim does not last for days."""
    from dojang.authority.database import Database

    database, clock = Database.create(f"sqlite:///{tmp_path / 'some.sqlite'}"), SetBack()
    clock.off = timedelta(days=30)
    engine = engine_on(database, clock, claim_seconds=QUICK)
    schedule = Schedule("office", ["day"], [DAY])
    schedule.ask(engine, lambda: {"day"})
    engine.enqueue("a", "k", engine.now())
    assert engine.claim(["a"]) is not None  # by a process that dies here
    clock.off = timedelta()
    schedule.ask(engine, lambda: {"day"})
    (waiting,) = (one for one in engine.standing() if one.state == "waiting")
    assert waiting.run_at - engine.now() <= DAY.every
    other = engine_on(database, clock, claim_seconds=QUICK)
    other.keep()
    deadline = time.monotonic() + 10
    while (job := other.claim(["a"])) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert job.attempt == 2
    database.close()


def test_a_failing_job_keeps_its_pause(database, engine):
    """Work of a short period that failed is not brought forward by its schedule."""
    with runner_on(database, {"tick": lambda job, at: 1 / 0}, threads=0) as runner:
        list(runner.run_due(["tick"]))
        before = [one.run_at for one in engine.standing()]
        Schedule("test", ["tick"], [SECOND]).ask(engine, lambda: {"tick"})
        assert [one.run_at for one in engine.standing()] == before


def test_the_schedule_is_complete():
    """Every kind stands in the schedule once, and none more often than a runner looks."""
    assert len({row.kind for row in SCHEDULE}) == len(SCHEDULE)
    assert min(row.every for row in SCHEDULE) >= timedelta(seconds=60)
