"""One file among other programs' files: replaced whole, by one writer at a time, never over somebody else's change."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dojang.errors import CredentialBusy, FileChanged, FileUnreadable, FileUnwritable, Phrase
from dojang.npki.files import part_of, read_file, write_file

PATIENCE: Final = 30.0
"""Seconds to wait for others who write beside a file; a change takes less than one."""

ROOM_BYTES: Final = 1 << 15
ROOM_PIECES: Final = 10
"""What has to be free before a key is made: for it, its certificate, those above it and a km pair."""

_PAUSE = 0.01
_LOOKS = 20  # a file is replaced in one step, and not so often


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was read; both are ``None`` where there was none."""

    data: bytes | None = None
    status: os.stat_result | None = None


def look(path: Path, *, at_most: int) -> Seen:
    """What is there now. ``FileUnreadable`` for a folder, a pipe, or more than ``at_most`` bytes; ``FileChanged`` for a
    file that somebody goes on writing to.
    """
    for _ in range(_LOOKS):
        before = _status(path)
        try:
            data = None if before is None else read_file(path, at_most=at_most)
        except FileUnreadable:
            if _status(path) is None:  # somebody removed it meanwhile
                continue
            raise
        if _mark(before) == _mark(_status(path)):
            return Seen(data, before)
    raise FileChanged(path=str(path))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FileUnreadable(path=str(path), problem=error.strerror) from error


def put(path: Path, seen: Seen, data: bytes) -> None:
    """Put ``data`` in the place of what was ``seen``, with its permissions; ``FileChanged`` where another is there."""
    real = Path(os.path.realpath(path))
    _refuse_changed(real, seen)
    write_file(real, data, like=seen.status)


def refuse_full(path: Path, octets: int, at_most: int, pieces: int, most: int) -> None:
    """``FileUnwritable`` for what nobody here would read again: more octets, or more keys and certificates."""
    if octets > at_most or pieces > most:
        raise FileUnwritable(
            path=str(path),
            problem=Phrase("it holds more than anybody keeps in a file"),
            next_step="Delete what is retired in it (dojang cert delete), or use another file; nothing was changed.",
        )


def remove(path: Path, seen: Seen) -> None:
    """Remove the file if it is still what was ``seen``."""
    real = Path(os.path.realpath(path))
    with contextlib.suppress(OSError, FileChanged):
        _refuse_changed(real, seen)
        real.unlink()


def sweep(path: Path) -> None:
    """Remove what a killed writer of the file has left beside it; to be called while it is ``locked``."""
    with contextlib.suppress(OSError):
        part_of(Path(os.path.realpath(path))).unlink()


@contextlib.contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Alone among the processes of dojang that write beside these files; their folders are what is locked.

    ``CredentialBusy`` when another keeps at it. Where nothing can be locked, on some file systems or in a folder that
    is not there, it goes on without: what others wrote is noticed before it is replaced.
    """
    folders = sorted({os.path.dirname(os.path.realpath(path)) for path in paths})  # noqa: PTH120 – text, to be sorted
    with contextlib.ExitStack() as held:
        for folder in folders:
            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                held.callback(os.close, descriptor)
                _lock(descriptor, folder)
        yield


def _lock(descriptor: int, folder: str) -> None:
    """Not for ever: others may lock a folder that everybody may read."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise CredentialBusy(subject=folder, verb="write") from error
            time.sleep(_PAUSE)
        else:
            return


def _refuse_changed(real: Path, seen: Seen) -> None:
    if _mark(_status(real)) != _mark(seen.status):
        raise FileChanged(path=str(real))


def _mark(found: os.stat_result | None) -> tuple[int, ...]:
    """What tells one version of a file from every other."""
    if found is None:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
