"""What every job engine promises, on both."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.authority.jobs.conftest import QUICK, SLOW

from dojang.authority.jobs.engine import Job, JobEngine

NEVER = timedelta(days=1)


def claim_soon(engine: JobEngine, kind: str = "a", seconds: float = 30) -> Job:
    """What ``engine`` claims as soon as it can; it keeps as a runner does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        engine.keep()
        if (job := engine.claim([kind])) is not None:
            return job
        time.sleep(0.05)
    raise AssertionError("nothing to be claimed")


def test_a_job_is_claimed_once_and_gone_when_done(engine, open_engine):
    """What was put in comes out with its ids, for one process; after ``done`` there is nothing."""
    assert engine.enqueue("a", "k", engine.now(), {"serial": "3f", "number": 7})
    other = open_engine()
    job = other.claim(["a", "b"])
    assert (job.kind, job.key, job.attempt, dict(job.payload)) == ("a", "k", 1, {"serial": "3f", "number": 7})
    assert engine.claim(["a", "b"]) is None
    other.done(job)
    assert engine.standing() == []


def test_only_what_is_due_and_of_the_kinds_asked_for(engine):
    """A later job waits, a job of another kind is left for who knows it."""
    engine.enqueue("a", "", engine.now() + NEVER)
    engine.enqueue("b", "", engine.now())
    assert engine.claim(["a"]) is None
    assert engine.claim(["a", "b"]).kind == "b"


def test_one_waits_at_most(engine):
    """A second like it is not taken; asked for earlier, the one that waits is brought forward, never put off."""
    now = engine.now()
    assert engine.enqueue("a", "k", now + NEVER)
    assert not engine.enqueue("a", "k", now + 2 * NEVER)
    assert [one.run_at for one in engine.standing()] == [pytest.approx(now + NEVER, abs=timedelta(seconds=1))]
    assert not engine.enqueue("a", "k", now)
    assert engine.enqueue("a", "other", now + NEVER)
    assert engine.claim(["a"]).key == "k"


def test_one_runs_at_most(engine, open_engine):
    """While a job runs its like may wait, and is not claimed before the first has ended."""
    engine.enqueue("a", "k", engine.now())
    first = engine.claim(["a"])
    assert engine.enqueue("a", "k", engine.now())
    assert open_engine().claim(["a"]) is None
    engine.done(first)
    assert engine.claim(["a"]).attempt == 1


def test_what_failed_waits_until_it_is_put_off_to(engine):
    """A failed job stands in the table with how often, and comes back as the next attempt."""
    engine.enqueue("a", "k", engine.now())
    engine.fail(engine.claim(["a"]), engine.now() + NEVER)
    assert engine.claim(["a"]) is None
    (standing,) = engine.standing()
    assert (standing.state, standing.failures) == ("waiting", 1)
    engine.enqueue("a", "k", engine.now())
    job = engine.claim(["a"])
    assert job.attempt == 2
    assert [one.state for one in engine.standing()] == ["running"]


def test_what_failed_gives_way_to_one_that_waits(engine):
    """A job that fails while its like waits leaves one, not two."""
    engine.enqueue("a", "k", engine.now())
    job = engine.claim(["a"])
    engine.enqueue("a", "k", engine.now())
    engine.fail(job, engine.now() + NEVER)
    assert len(engine.standing()) == 1
    assert engine.claim(["a"]) is not None


def test_a_claim_that_is_kept_is_not_taken(open_engine):
    """A process that gives signs of life keeps a job for longer than a claim lasts."""
    engine, other = open_engine(SLOW), open_engine(SLOW)
    engine.enqueue("a", "k", engine.now())
    job, began = engine.claim(["a"]), time.monotonic()
    while time.monotonic() < began + 2 * SLOW:
        engine.keep()
        other.keep()
        assert other.claim(["a"]) is None
        time.sleep(SLOW / 10)
    engine.done(job)
    assert engine.standing() == []


def test_a_claim_that_is_not_kept_is_taken_over(open_engine):
    """A process that gives no sign loses its job to another; its late word changes nothing."""
    engine, other = open_engine(QUICK), open_engine(QUICK)
    engine.enqueue("a", "k", engine.now())
    lost = engine.claim(["a"])
    taken = claim_soon(other)
    assert taken.attempt == 2
    engine.done(lost)
    engine.fail(lost, engine.now())
    assert [one.state for one in other.standing()] == ["running"]
    other.done(taken)
    assert other.standing() == []


def test_closing_lets_go(open_engine):
    """An engine that is closed leaves its jobs to the others at once, not after the claim has run out."""
    closing, other = open_engine(3600), open_engine(3600)
    closing.enqueue("a", "k", closing.now())
    assert closing.claim(["a"]) is not None
    closing.close()
    assert claim_soon(other).attempt == 2


PROGRAM = """
import sys
from dojang.authority.database import Database
from dojang.authority.jobs.engine import job_engine
from tests.authority.jobs.conftest import QUICK, engine_on
database = Database.open(sys.argv[1])
engine = engine_on(database, claim_seconds=QUICK)
if sys.argv[2] == "enqueue":
    sys.stdin.readline()
    print(sum(engine.enqueue("a", str(number % 10), engine.now()) for number in range(500)), flush=True)
else:
    print(engine.claim(["a"]).key, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other_process(database_url) -> Callable[[str], "subprocess.Popen[str]"]:
    started = []

    def start(task: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PROGRAM, database_url, task]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_cannot_make_a_duplicate(engine, other_process):
    """Two processes put in the same ten jobs a thousand times: ten wait, and ten calls were told so."""
    processes = [other_process("enqueue") for _turn in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(taken) == 10
    assert sorted(one.key for one in engine.standing()) == [str(number) for number in range(10)]


def test_the_job_of_a_killed_process_is_picked_up(open_engine, other_process):
    """kill -9 while a job runs: another process gets it, as the second attempt."""
    engine = open_engine(QUICK)
    engine.enqueue("a", "k", engine.now())
    process = other_process("claim")
    assert process.stdout.readline() == "k\n"
    process.kill()
    process.wait()
    assert claim_soon(engine).attempt == 2
