"""Doing what is due, in threads of a process that does something else, or once by hand."""

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from dojang.authority.audit.actor import acting
from dojang.authority.jobs.engine import CLAIM_SECONDS, Job, JobEngine
from dojang.authority.jobs.outcomes import is_turn_done, keep_outcome, outcomes
from dojang.authority.jobs.schedule import LONGEST_PAUSE, Schedule
from dojang.errors import DojangError

if TYPE_CHECKING:
    from dojang.authority.database import Database

Handler = Callable[[Job, datetime], None]
"""Does a job; may be called again for the same job after a crash, and must do no harm then."""

FIRST_PAUSE: Final = timedelta(seconds=15)
_LOG: Final = logging.getLogger("dojang.jobs")


@dataclass(frozen=True, slots=True)
class Done:
    """A job that was run: ``error`` says why it will be tried again."""

    job: Job
    error: Exception | None = None


class JobRunner:
    """A context manager; ``start`` begins, leaving it stops. A job that fails is put off, longer each time."""

    def __init__(
        self,
        engine: JobEngine,
        database: "Database",
        handlers: Mapping[str, Handler],
        schedule: Schedule,
        *,
        threads: int = 1,
        look_seconds: float = 2.0,
        keep_seconds: float = CLAIM_SECONDS / 4,
        tell: Callable[[Done], None] = lambda done: None,
    ) -> None:
        """``handlers`` by kind; ``tell`` hears of every job that ended. The engine is closed with the runner.

        Without ``threads`` nothing is done, or put in, but by ``run_due``.
        """
        self._engine, self._database, self._handlers, self._schedule = engine, database, dict(handlers), schedule
        self._look, self._keep, self._tell = look_seconds, keep_seconds, tell
        self._stopping, self._closed = threading.Event(), threading.Event()
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"dojang-job-{number}", daemon=True) for number in range(threads)
        ]
        self._keeper = threading.Thread(target=self._keep_up, name="dojang-jobs", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to look for work; returns at once."""
        for thread in (self._keeper, *self._threads):
            thread.start()

    def wake(self) -> None:
        """Something was put in that is due now: look at once."""
        with self._news:
            self._news.notify_all()

    def drain(self, seconds: float) -> bool:
        """Begin nothing more, and wait so long for what runs; whether everything ended."""
        self._stopping.set()
        self.wake()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Stop without waiting; what still runs is left to another process, or to this one when it starts again."""
        self._stopping.set()
        self._closed.set()
        self.wake()
        if self._keeper.is_alive():
            self._keeper.join()
        self._engine.close()

    def run_due(self, kinds: Collection[str] | None = None) -> Iterator[Done]:
        """Do in this thread what is due now, one after the other; with ``kinds`` these, due or not."""
        if kinds is None:
            self._schedule.ask(self._engine, self._known)
        for kind in kinds or ():
            self._engine.enqueue(kind, "", self._engine.now())
        wanted = self._handlers.keys() if kinds is None else kinds
        while (job := self._engine.claim(wanted)) is not None:
            yield self._do(job)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                job = self._engine.claim(self._handlers.keys())
                if job is not None:
                    self._do(job)
                    continue
            except DojangError as error:
                _LOG.warning("jobs cannot be looked for: %s", error)
            except Exception:  # a thread that ends would be missed by nobody, and its work by everybody
                _LOG.exception("jobs cannot be looked for")
            with self._news:
                if not self._stopping.is_set():
                    self._news.wait(self._look)

    def _keep_up(self) -> None:
        while not self._closed.is_set():
            try:
                self._engine.keep()
                if self._threads and not self._stopping.is_set():
                    self._schedule.ask(self._engine, self._known)
            except DojangError as error:
                _LOG.warning("jobs cannot be kept: %s", error)
            except Exception:
                _LOG.exception("jobs cannot be kept")
            self._closed.wait(self._keep)

    def _known(self) -> set[str]:
        return {one.kind for one in outcomes(self._database)}

    def _do(self, job: Job) -> Done:
        """A job that fails is put off; so is one that a signal ends, to now."""
        done = self._attempt(job)
        try:
            self._end(done)
        except DojangError as error:  # the database is gone: the claim runs out, and the job comes back
            _LOG.warning("job %s cannot be ended: %s", job.kind, error)
        self._tell(done)
        return done

    def _attempt(self, job: Job) -> Done:
        try:
            if not is_turn_done(self._database, job):
                with acting(f"job:{job.kind}"):
                    self._handlers[job.kind](job, self._engine.now())
        except Exception as error:
            _LOG.warning("job %s failed (attempt %d): %s: %s", job.kind, job.attempt, type(error).__name__, error)
            return Done(job, error)
        except BaseException:
            self._engine.fail(job, self._engine.now())
            raise
        return Done(job)

    def _end(self, done: Done) -> None:
        job, error, now = done.job, done.error, self._engine.now()
        keep_outcome(self._database, job, now, None if error is None else str(error) or type(error).__name__)
        if error is None:
            self._engine.done(job)
        else:
            self._engine.fail(job, now + pause_after(job.attempt))


def pause_after(attempt: int) -> timedelta:
    """How long to wait after so many attempts: twice as long each time, up to an hour, a tenth more or less."""
    doublings = min(attempt - 1, 20)
    return min(FIRST_PAUSE * 2.0**doublings, LONGEST_PAUSE) * random.uniform(0.9, 1.1)  # noqa: S311 - spreads retries, guards nothing
