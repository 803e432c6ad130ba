"""Requests proved and certificates drafted by processes of their own: here, every other thread would wait for that.

    with Prover() as prover:
        prover.drafts(requests_der, form, term_der)  # one for each, or None where it has to be looked at closely

They are started by the first who has many requests. Until they answer, and should they end, that is done here. They
are told nothing but requests and what certificates have in common, have no key and write nowhere; they end when nobody
holds the other end any more.
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
from hashlib import sha256
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Final, NamedTuple, Self

from cryptography import x509

from dojang.authority.form import Form, key_identifier_der
from dojang.x509.plain import PlainRequest, plain_requests

MANY: Final = 256
"""From so many on, a process is worth its start, which takes as long as proving some thousand."""
MOST: Final = 2
"""Processes: while one of them waits to be asked, the other proves. They fill what signing leaves of two cores."""
_PATIENCE: Final = 10
"""Seconds for it to take what it is asked, and as many to answer."""
_END_SECONDS: Final = 5
_PASSED_ON: Final = ("PATH", "PYTHON", "LD_", "LANG", "LC_")
"""Variables that say how a program is run; another may be a PIN."""
_READY: Final = b"ready"


class Draft(NamedTuple):
    """A certificate but for its signature. ``serial`` is hex; the fingerprint is the SHA-256 of the key."""

    request: PlainRequest
    serial: str
    tbs: bytes
    key_fingerprint: bytes


Drafts = list[Draft | None]


class Prover:
    """For many threads; each process serves one of them at a time, and whoever finds none free proves by himself."""

    def __init__(self) -> None:
        self._helpers: list[_Helper] = []
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def expect(self, requests: int) -> None:
        """So many are coming: have processes started, where that and another core are worth it."""
        cores = os.cpu_count() or 1
        wanted = min(cores, requests // MANY, MOST) if cores > 1 and sys.executable else 0
        with self._turn:
            while len(self._helpers) < wanted:
                self._helpers.append(_Helper())

    def drafts(self, requests_der: Sequence[bytes], form: Form, term_der: bytes) -> Drafts:
        """A draft for each, or ``None`` where ``plain_requests`` has no proof."""
        for helper in self._helpers:
            found = helper.drafts(requests_der, form, term_der)
            if found is not None:
                return found
        return drafts_of(requests_der, form, term_der)

    def close(self) -> None:
        """End the processes; none is started any more."""
        for helper in self._helpers:
            helper.close()


class _Helper:
    """One process, for one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._is_ready = False
        self._turn = threading.Lock()
        self._start()

    def drafts(self, requests_der: Sequence[bytes], form: Form, term_der: bytes) -> Drafts | None:
        """What it drafted; ``None`` while it serves somebody else, is not there yet, or not any more."""
        if not self._turn.acquire(blocking=False):
            return None
        try:
            return self._asked((list(requests_der), tuple(form), term_der))
        finally:
            self._turn.release()

    def close(self) -> None:
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

    def _asked(self, asked: tuple[list[bytes], tuple[bytes, ...], bytes]) -> Drafts | None:
        if self._line is None:
            return None
        try:
            if not self._is_ready:
                if not self._line.poll():
                    return None
                self._is_ready = bool(self._line.recv_bytes())
            self._line.send_bytes(marshal.dumps(asked))
            if not self._line.poll(_PATIENCE):
                raise EOFError  # it was stopped, or worse
            found = marshal.loads(self._line.recv_bytes())  # noqa: S302 - of ourselves
        except (OSError, EOFError):
            self._end()
            return None
        return [one and Draft(PlainRequest._make(one[0]), *one[1:]) for one in found]

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


def drafts_of(requests_der: Sequence[bytes], form: Form, term_der: bytes) -> Drafts:
    """Each request that is plain and proved, as a certificate of that form and term."""
    return [one and _drafted(one, form, term_der) for one in plain_requests(requests_der)]


def _drafted(request: PlainRequest, form: Form, term_der: bytes) -> Draft:
    spki = request.spki
    serial = x509.random_serial_number()  # 159 random bits
    tbs = form.to_be_signed(serial, term_der, request.subject_der, spki, key_identifier_der(spki))
    return Draft(request, f"{serial:x}", tbs, sha256(spki).digest())


def answer(line: Connection) -> None:
    """In the process: prove what comes, until the other end is gone."""
    gc.freeze()  # what is loaded by now stays
    line.send_bytes(_READY)
    with contextlib.suppress(OSError, EOFError):
        while True:
            requests_der, form, term = marshal.loads(line.recv_bytes())  # noqa: S302 - of whoever started us
            found = drafts_of(requests_der, Form._make(form), term)
            line.send_bytes(marshal.dumps([one and (tuple(one.request), *one[1:]) for one in found]))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl-C means the one who started us
    answer(Connection(int(sys.argv[1])))
