"""Wrong passwords are counted for each file, and after some of them none is tried any more.

A file has no lockout of its own: whoever has a copy may guess without end. The count guards against guessing by
accident, by a person in a hurry or a script with an old password, and makes guessing on this machine noticed.

A try is written down before it is made, one byte more in a file whose name is a keyed hash of the path and of what the
file holds; so neither can be learnt from it, and a file that another program has changed starts afresh. The right
password removes it. Those who try at the same time hold a shared lock: who finds the count reached waits for them, as
one of them may be about to clear it.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dojang.errors import DojangError, PasswordIncorrect, PasswordWithheld, StateUnreadable

USUAL_LIMIT: Final = 5
_KEY: Final = "key"
_KEY_BYTES: Final = 32


class PasswordTries:
    """The counts below one folder; every process that names the same folder shares them."""

    def __init__(self, folder: Path, limit: int = USUAL_LIMIT, *, beyond: bool = False) -> None:
        """At ``limit`` wrong tries no more are made, never with 0; ``beyond`` allows one more on purpose."""
        self._folder, self._limit, self._beyond = folder, limit, beyond

    def check(self, path: str, content: bytes) -> None:
        """``PasswordWithheld`` when nobody need be asked for a password, because none would be tried."""
        if self._limit and not self._beyond and (self._folder / _KEY).exists() and self._place(path, content).exists():
            with self._opened(path, content) as count:
                self._refuse_if_reached(count, path)

    @contextlib.contextmanager
    def counted(self, path: str, content: bytes) -> Iterator[None]:
        """Around one try: it counts unless the block succeeds, and what raises no ``PasswordIncorrect`` is none."""
        if not self._limit:
            yield
            return
        with contextlib.ExitStack() as stack:
            count = None
            while count is None:
                stack.close()
                count = self._take(stack.enter_context(self._opened(path, content)), path)
            try:
                yield
            except PasswordIncorrect:
                raise
            except DojangError:
                with self._written():
                    os.ftruncate(count, max(0, os.fstat(count).st_size - 1))
                raise
            with self._written():
                self._place(path, content).unlink(missing_ok=True)

    def _take(self, count: int, path: str) -> int | None:
        """Write one try down and keep the lock for as long as it lasts; ``None`` when one has to look again."""
        with self._alone():
            fcntl.flock(count, fcntl.LOCK_SH)
            if os.fstat(count).st_size < self._limit or self._beyond:
                with self._written():
                    os.write(count, b".")
                    os.fsync(count)
                return count if os.fstat(count).st_nlink else None  # the right password was given meanwhile
        self._refuse_if_reached(count, path)
        return None

    def _refuse_if_reached(self, count: int, path: str) -> None:
        """Those whose tries are under way are waited for: the right one removes the count."""
        if os.fstat(count).st_size >= self._limit:
            fcntl.flock(count, fcntl.LOCK_EX)
            here = os.fstat(count)
            if here.st_nlink and here.st_size >= self._limit:
                raise PasswordWithheld(path=path, attempts=here.st_size)

    @contextlib.contextmanager
    def _opened(self, path: str, content: bytes) -> Iterator[int]:
        with self._written():
            descriptor = os.open(self._place(path, content), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with _closing(descriptor):
            yield descriptor

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time looks at a count and adds to it."""
        with self._written():
            descriptor = os.open(self._folder / _KEY, os.O_RDONLY)
        with _closing(descriptor):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    def _place(self, path: str, content: bytes) -> Path:
        named = os.fsencode(path) + b"\0" + hashlib.sha256(content).digest()
        return self._folder / hmac.new(self._key(), named, hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        place = self._folder / _KEY
        if not place.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            own = place.with_name(f"{_KEY}.{os.getpid()}.{os.urandom(4).hex()}")
            descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(own, place)
            own.unlink()
        return place.read_bytes()

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateUnreadable(path=self._folder, problem=error.strerror or "it cannot be written") from error


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # by hand: after a fork the child still has it open
        os.close(descriptor)


UNCOUNTED: Final = PasswordTries(Path(), 0)
"""For programs that have no state folder."""
