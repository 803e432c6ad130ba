"""Requests proved by a process of its own: checking a signature keeps every other thread of this one waiting.

    with Prover() as prover:
        prover.prove(requests_der)     # a PlainRequest for each, or None where it has to be looked at closely

That process is started by the first who has many requests. Until it answers, and should it end, requests are proved
here. It is told nothing but requests, has no key and writes nowhere; it ends when nobody holds the other end any more.
"""

import contextlib
import gc
import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Final, Self

from dojang.x509.plain import PlainRequest, plain_requests

MANY: Final = 256
"""From so many on, a process is worth its start, which takes as long as proving some thousand."""
_PATIENCE: Final = 10
"""Seconds for it to take what it is asked, and as many to answer."""
_END_SECONDS: Final = 5
_PASSED_ON: Final = ("PATH", "PYTHON", "LD_", "LANG", "LC_")
"""Variables that say how a program is run; another may be a PIN."""
_READY: Final = b"ready"
Proofs = list[PlainRequest | None]


class Prover:
    """For many threads; one of them is served by the process, the others prove by themselves."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._is_ready = False
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def expect(self, requests: int) -> None:
        """So many are coming: have the process started, where that and another core are worth it."""
        if requests < MANY or (os.cpu_count() or 1) < 2:
            return
        with self._turn:
            if self._process is None and sys.executable:
                self._start()

    def prove(self, requests_der: Sequence[bytes]) -> Proofs:
        """A proof for each, or ``None`` where ``plain_requests`` has none."""
        if self._turn.acquire(blocking=False):
            try:
                found = self._asked(list(requests_der))
            finally:
                self._turn.release()
            if found is not None:
                return found
        return plain_requests(requests_der)

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            # Not from the folder that the person happens to be in (-P).
            words = [sys.executable, "-P", "-m", __name__, str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - ourselves
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    cwd="/",
                    env={name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)},
                )
            except OSError:
                ours.close()
                return
        _limit(ours)
        self._line = ours

    def _asked(self, requests_der: list[bytes]) -> Proofs | None:
        """Its proofs; ``None`` while it is not there yet, or not any more."""
        if self._line is None:
            return None
        try:
            if not self._is_ready:
                if not self._line.poll():
                    return None
                self._is_ready = bool(self._line.recv_bytes())
            self._line.send_bytes(marshal.dumps(requests_der))
            if not self._line.poll(_PATIENCE):
                raise EOFError  # it was stopped, or worse
            found = marshal.loads(self._line.recv_bytes())  # noqa: S302 - of ourselves
        except (OSError, EOFError):
            self._end()
            return None
        return [one and PlainRequest._make(one) for one in found]

    def _end(self) -> None:
        line, self._line = self._line, None
        if line is None or self._process is None:
            return
        line.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _limit(line: Connection) -> None:
    """Have sending end in ``OSError`` where nobody takes anything."""
    with socket.socket(fileno=os.dup(line.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE, 0))


def answer(line: Connection) -> None:
    """In the process: prove what comes, until the other end is gone."""
    gc.freeze()  # what is loaded by now stays
    line.send_bytes(_READY)
    with contextlib.suppress(OSError, EOFError):
        while True:
            asked = marshal.loads(line.recv_bytes())  # noqa: S302 - of whoever started us
            line.send_bytes(marshal.dumps([one and tuple(one) for one in plain_requests(asked)]))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl-C means the one who started us
    answer(Connection(int(sys.argv[1])))
