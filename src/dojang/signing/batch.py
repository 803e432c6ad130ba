"""Many files by one key: the first alone, then several at once; told in the order in which they were given.

What is wrong with one file is told and stops no other. What is wrong with the key or its token stops the batch. Memory
does not grow with the number of files, and each output is there whole or not at all.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import NamedTuple

from dojang.errors import DojangError, FileChanged, FileUnreadable, FileUnwritable, NotPermitted, Usage
from dojang.signing.digest import DigestSigner, ManyAtOnce
from dojang.signing.output import sync_folder
from dojang.signing.registry import Signed
from dojang.signing.source import Progress

OF_ONE_FILE = (FileUnreadable, FileUnwritable, FileChanged, NotPermitted, Usage)
_LOTS_AHEAD = 8
_LARGEST_LOT = 16
_QUICK = 0.02  # seconds for a lot that may be followed by a larger one


class Job(NamedTuple):
    """A file and where its signature goes."""

    source: Path
    output: Path


class Outcome(NamedTuple):
    """What became of a file: ``signed``, or the ``error`` that kept it from it; neither where it was left out."""

    job: Job
    signed: Signed | None = None
    error: DojangError | None = None


Attempt = Callable[[Job, Progress | None], Outcome]
Report = Callable[[Outcome], object]
SignOne = Callable[[Job, Progress | None, set[Path]], Signed | None]
"""Signs one file and gives ``None`` for one that needs no signature. The folder of what it wrote is left in the set
instead of being synced."""


def threads_for(signer: DigestSigner) -> int:
    """One a core, as far as the token has sessions, and at least two: one signs while the other waits for a disk."""
    at_once = signer.at_once if isinstance(signer, ManyAtOnce) else 1
    return min(at_once, max(2, os.cpu_count() or 1))


class Batch:
    """One run over many files."""

    def __init__(self, sign: SignOne, report: Report, threads: int, *, listed: bool) -> None:
        """``report`` is called in the thread that calls ``run``, when what it tells outlives a power cut.

        ``listed`` says that nobody waits for a job: a thread may take several at once.
        """
        self._sign = sign
        self._report = report
        self._threads = threads
        self._largest_lot = _LARGEST_LOT if listed else 1
        self._unsynced: set[Path] = set()
        self._crew: _Crew | None = None

    def run(self, jobs: Iterable[Job]) -> bool:
        """Sign them all; what stops the batch is raised when everything that was begun has been reported.

        False when ``stop`` ended it before the last file.
        """
        left = iter(jobs)
        for job in left:
            outcome = self._attempt(job, None)
            self._tell([outcome])
            if outcome.signed is not None and self._threads > 1:
                break
        else:
            return True
        self._crew = _Crew(left, self._attempt, self._threads, self._largest_lot)
        return self._crew.run(self._tell)

    def stop(self) -> bool:
        """Begin no more files. May be called by a signal handler; false while files are signed one by one."""
        if self._crew is None:
            return False
        self._crew.stop()
        return True

    def _attempt(self, job: Job, on_progress: Progress | None) -> Outcome:
        try:
            return Outcome(job, self._sign(job, on_progress, self._unsynced))
        except OF_ONE_FILE as error:
            return Outcome(job, error=error)

    def _tell(self, outcomes: list[Outcome]) -> None:
        while self._unsynced:
            sync_folder(self._unsynced.pop())
        for outcome in outcomes:
            self._report(outcome)


class _Abandoned(Exception):
    """The batch stops while this file is being read."""


class _Done(NamedTuple):
    """What became of a lot, the files that a thread took at once; abandoned ones are missing."""

    number: int
    outcomes: list[Outcome]
    failure: BaseException | None


class _Crew:
    """Threads that take their files from one iterator, and the thread that waits for what they have done."""

    def __init__(self, jobs: Iterator[Job], attempt: Attempt, threads: int, largest_lot: int) -> None:
        self._jobs = jobs
        self._attempt = attempt
        self._largest_lot = largest_lot
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._room = threading.Semaphore(_LOTS_AHEAD * threads)
        self._messages: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._ready: dict[int, list[Outcome]] = {}
        self._working = threads
        self._begun = self._returned = self._told = 0
        self._stopped = self._asked = False
        self._failure: BaseException | None = None

    def run(self, tell: Callable[[list[Outcome]], None]) -> bool:
        """Until the jobs have run out, a thread fails, or ``stop`` is called."""
        for _ in range(self._working):
            threading.Thread(target=self._labour, daemon=True).start()
        try:
            while not self._over():
                self._receive()
                tell(self._in_order())
        except BaseException as error:
            self._halt()
            while isinstance(error, Exception) and not self._over():  # Ctrl-C does not wait for a token that hangs
                self._receive()
            raise
        if self._failure is not None:
            raise self._failure
        return not self._asked

    def stop(self) -> None:
        self._messages.put(self._give_up)

    # In the thread that waits. A message is what has to be done there.

    def _over(self) -> bool:
        """A thread that waits for a name when the batch stops has begun nothing and is not waited for."""
        return not self._working or (self._stopped and self._returned == self._begun)

    def _receive(self) -> None:
        """Take in what is there, at least one message."""
        self._messages.get()()
        with suppress(Empty):
            while True:
                self._messages.get_nowait()()

    def _take_in(self, done: _Done) -> None:
        self._returned += 1
        self._ready[done.number] = done.outcomes
        if done.failure is not None:
            self._fail(done.failure)

    def _fail(self, failure: BaseException) -> None:
        self._failure = self._failure or failure
        self._halt()

    def _break_off(self, failure: BaseException) -> None:
        """No more jobs come; those that came before are not to blame."""
        self._failure = self._failure or failure

    def _give_up(self) -> None:
        self._asked = True
        self._halt()

    def _leave(self) -> None:
        self._working -= 1

    def _in_order(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while self._told in self._ready:
            outcomes += self._ready.pop(self._told)
            self._told += 1
            self._room.release()
        return outcomes

    # In the threads that sign

    def _labour(self) -> None:
        size = 1
        try:
            while lot := self._begin(size):
                began_at = monotonic()
                self._messages.put(partial(self._take_in, self._sign(*lot)))
                size = min(2 * size, self._largest_lot) if monotonic() - began_at < _QUICK else 1
        except BaseException as error:  # the jobs broke off; the thread that waits raises it
            self._messages.put(partial(self._break_off, error))
        self._messages.put(self._leave)

    def _begin(self, size: int) -> tuple[int, list[Job]] | None:
        """The next lot with its number, or ``None`` when nothing is left or the batch stops."""
        self._room.acquire()
        with self._turn:
            jobs = list(islice(self._jobs, size))
            with self._lock:
                if jobs and not self._stopped:
                    self._begun += 1
                    return self._begun - 1, jobs
        self._room.release()
        return None

    def _sign(self, number: int, jobs: list[Job]) -> _Done:
        outcomes: list[Outcome] = []
        try:
            for job in jobs:
                self._watch(0, None)
                outcomes.append(self._attempt(job, self._watch))
        except _Abandoned:
            return _Done(number, outcomes, None)
        except BaseException as error:  # the thread that waits raises it
            self._halt()  # at once: what stops the batch is not to be asked again
            return _Done(number, outcomes, error)
        return _Done(number, outcomes, None)

    def _halt(self) -> None:
        with self._lock:
            self._stopped = True

    def _watch(self, _done: int, _total: int | None) -> None:
        if self._stopped:
            raise _Abandoned
