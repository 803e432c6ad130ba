"""Several processes that answer on the same sockets, and one that keeps them going and does nothing else.

A worker is a program started afresh (never a fork of a process that has a PKCS#11 module open). It is handed the
listening sockets and one end of a socket pair, its leash: down it come its orders, one JSON document, up it go its
findings, a line each; when the other end is gone, so is whoever started it, and the worker ends in good order.

A worker that dies is started again, after a pause that grows while it keeps dying. Once one has ended over a PIN, none
is: all have the same PIN, and nobody but a person may decide to try that again.

A worker that was ready and stays not ready for long while another one is ready is replaced: what is wrong is its own.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from dojang.centre.health import OLD, Readiness
from dojang.centre.logs import tell
from dojang.centre.metrics import forget_process

PAUSES: Final = (0.2, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Seconds before a worker is started again, by how often it has died in a row."""
STEADY: Final = 60.0
"""A worker that has lived so many seconds starts from the shortest pause."""
NEVER_AGAIN: Final = (7, 8)
"""Exit statuses over a PIN: wrong, locked or withheld."""
LAME: Final = 60.0
"""A worker that has been ready, and for so many seconds is not while another is, makes room for a new one."""
_GRACE: Final = 5.0
_LISTEN: Final = 1.0

STOP, RELOAD, DIED = "stop", "reload", "died"


class _News(NamedTuple):
    word: str
    worker: "Worker | None" = None
    status: int = 0


@dataclass(slots=True)
class Worker:
    """One process: what it last said of itself, and when."""

    number: int
    process: subprocess.Popen[bytes]
    leash: socket.socket
    began_at: float = field(default_factory=time.monotonic)
    found: Readiness = field(default_factory=lambda: Readiness(ok=False, problems={"worker": "starting"}))
    heard_at: float = field(default_factory=time.monotonic)
    was_ready: bool = False
    lame_since: float | None = None
    """Since when it is not ready though it was, and another one is."""
    killed_at: float | None = None
    """When it is killed, unless it has ended by then as it was told to."""

    def limps(self, others_ready: bool, now: float) -> bool:
        """Whether it has been lame for too long."""
        if self.readiness().ok or not others_ready:
            self.lame_since = None
        elif self.lame_since is None and self.was_ready:
            self.lame_since = now
        return self.lame_since is not None and now - self.lame_since > LAME

    def readiness(self) -> Readiness:
        if time.monotonic() - self.heard_at > OLD:
            return Readiness(ok=False, problems={"worker": "no-answer"})
        return self.found


class Supervisor:
    """Starts ``count`` workers with ``command``, hands each ``orders``, and keeps so many going until ``stop``."""

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        sockets: Sequence[socket.socket],
        orders: Mapping[str, Any],
        *,
        drain_seconds: float,
        environment: Mapping[str, str] | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._command, self._count, self._sockets = list(command), count, list(sockets)
        self._orders = dict(orders)
        self._drain_seconds, self._pauses = drain_seconds, pauses
        self._environment = None if environment is None else dict(environment)
        self._news: SimpleQueue[_News] = SimpleQueue()
        self._workers: dict[int, Worker] = {}
        self._deaths: dict[int, int] = {}
        self._due: dict[int, float] = {}
        self._stopping = False
        self._refused = 0  # the status of a worker that ended over a PIN
        self._was_ready = False
        self.on_ready: Callable[[], None] = lambda: None
        """Called once, when the first worker is ready."""
        self.on_turn: Callable[[], None] = lambda: None
        """Called every second at least."""
        self.on_stopping: Callable[[], None] = lambda: None
        self.on_reload: Callable[[], None] = lambda: None

    def run(self, *, signals: bool = True) -> int:
        """Until SIGTERM, SIGINT or ``stop``; the exit status: 0, or that of the workers where none may be restarted."""
        if signals:
            for number, word in ((signal.SIGTERM, STOP), (signal.SIGINT, STOP), (signal.SIGHUP, RELOAD)):
                signal.signal(number, partial(self._signalled, word))
        self._due = dict.fromkeys(range(self._count), 0.0)
        while not self._stopping:
            self._start_those_due()
            try:
                news = self._news.get(timeout=self._patience())
            except Empty:
                news = None
            if news is not None and news.word == STOP:
                break
            self._hear(news)
            self._replace_the_lame()
            self.on_turn()
            if not self._workers and not self._due:
                return self._refused
        self._end()
        return 0

    def _signalled(self, word: str, _number: int, _frame: object) -> None:
        self._news.put(_News(word))

    def stop(self) -> None:
        """From any thread."""
        self._news.put(_News(STOP))

    def alive(self) -> bool:
        """Whether a worker runs."""
        return bool(self._workers)

    def readiness(self) -> Readiness:
        """Ready while one worker is, and degraded unless all are; the problems of each are told under its number."""
        if self._stopping:
            return Readiness(ok=False, problems={"centre": "draining"})
        found = {worker.number: worker.readiness() for worker in list(self._workers.values())}
        problems = {f"{number}:{name}": code for number, one in found.items() for name, code in one.problems.items()}
        ready = {number for number, one in found.items() if one.ok}
        degraded = bool(ready) and len(ready) < self._count
        return Readiness(bool(ready), problems or ({} if found else {"workers": "none"}), degraded)

    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.process.pid for worker in list(self._workers.values())]

    def _hear(self, news: _News | None) -> None:
        if news is None:
            return
        if news.word == RELOAD:
            self.on_reload()
            for worker in self._workers.values():
                worker.process.send_signal(signal.SIGHUP)
        elif news.word == DIED and news.worker is not None:
            self._bury(news.worker, news.status)

    def _replace_the_lame(self) -> None:
        now = time.monotonic()
        ready = {number for number, worker in self._workers.items() if worker.readiness().ok}
        for number, worker in self._workers.items():
            if worker.killed_at is not None:
                if now > worker.killed_at:
                    worker.process.kill()
            elif worker.limps(bool(ready - {number}), now):
                tell("worker replaced", 30, worker=number, pid=worker.process.pid, problems=dict(worker.found.problems))
                worker.killed_at = now + self._drain_seconds + _GRACE
                worker.process.send_signal(signal.SIGTERM)

    def _patience(self) -> float:
        now = time.monotonic()
        return max(0.0, min([_LISTEN, *(due - now for due in self._due.values())]))

    def _start_those_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            try:
                self._start(number)
            except OSError as error:  # no memory, or too many processes, for the moment
                self._due[number] = time.monotonic() + self._pauses[-1]
                tell("worker not started", 40, worker=number, problem=str(error), again_in=self._pauses[-1])
            else:
                del self._due[number]

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        handed = [*self._sockets, theirs]
        for one in handed:
            one.set_inheritable(True)
        with contextlib.ExitStack() as unless_started, theirs:
            unless_started.callback(ours.close)
            process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, str(theirs.fileno())],
                pass_fds=[one.fileno() for one in handed],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # a Ctrl-C on the terminal is for us, who pass it on
            )
            unless_started.pop_all()
        worker = self._workers[number] = Worker(number, process, ours)
        orders = {**self._orders, "listen": [one.fileno() for one in self._sockets], "first": number == 0}
        threading.Thread(target=self._attend, args=(worker, orders), name=f"worker-{number}", daemon=True).start()
        tell("worker started", worker=number, pid=process.pid)

    def _attend(self, worker: Worker, orders: Mapping[str, Any]) -> None:
        """Hand it its orders, hear what it says, and tell of its end."""
        try:
            worker.leash.sendall(json.dumps(orders).encode() + b"\n")
            with worker.leash.makefile("rb") as lines:
                for line in lines:
                    said = json.loads(line)
                    worker.found, worker.heard_at = Readiness(said["ok"], said["problems"]), time.monotonic()
                    worker.was_ready |= worker.found.ok
                    if worker.found.ok and not self._was_ready:
                        self._was_ready = True
                        self.on_ready()
        except (OSError, ValueError):  # it is ending
            pass
        self._news.put(_News(DIED, worker, worker.process.wait()))

    def _bury(self, worker: Worker, status: int) -> None:
        del self._workers[worker.number]
        worker.leash.close()
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            forget_process(worker.process.pid)
        steady = time.monotonic() - worker.began_at > STEADY
        deaths = 0 if steady else self._deaths.get(worker.number, 0)
        self._deaths[worker.number] = deaths + 1
        if status in NEVER_AGAIN:
            self._refused = status
            self._due.clear()
        if self._refused:
            tell("worker not restarted", 40, worker=worker.number, status=status)
            return
        pause = self._pauses[min(deaths, len(self._pauses) - 1)]
        tell("worker died", 30, worker=worker.number, pid=worker.process.pid, status=status, again_in=pause)
        self._due[worker.number] = time.monotonic() + pause

    def _end(self) -> None:
        """Have every worker finish what is under way; who is late is killed."""
        self._stopping = True
        self.on_stopping()
        for worker in self._workers.values():
            worker.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_seconds + _GRACE
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        for worker in self._workers.values():
            worker.leash.close()


class Leash:
    """The worker's end. ``on_gone`` is called when whoever started it is gone."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lines = self._socket.makefile("rb")
        self._turn = threading.Lock()

    def orders(self) -> dict[str, Any]:
        """What the supervisor wants of this worker; it is sent once."""
        found: dict[str, Any] = json.loads(self._lines.readline() or b"{}")
        return found

    def tell(self, found: Readiness) -> None:
        """How it stands; whether anybody hears it is no concern of who tells it."""
        line = json.dumps({"ok": found.ok, "problems": dict(found.problems)}).encode() + b"\n"
        try:
            with self._turn:
                self._socket.sendall(line)
        except OSError:
            return

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Call ``on_gone``, from a thread, when the other end is closed."""

        def wait() -> None:
            with contextlib.suppress(OSError):
                self._lines.read()
            on_gone()

        threading.Thread(target=wait, name="leash", daemon=True).start()
