"""Writing a result: all of it or nothing, whatever happens on the way."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dojang.errors import FileUnwritable, Phrase

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Output(Protocol):
    """Where bytes go; ``write`` takes all of them or raises ``FileUnwritable``."""

    def write(self, data: "ReadableBuffer", /) -> int: ...


class OutputFile(io.FileIO):
    """An unbuffered file whose ``write`` never writes half. ``target`` is the path a person asked for."""

    def __init__(self, descriptor: int, target: str) -> None:
        """Take over ``descriptor``; closing this closes it."""
        super().__init__(descriptor, "r+b" if stat.S_ISREG(os.fstat(descriptor).st_mode) else "wb")
        self.target = target

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write everything; ``FileUnwritable`` on a full disk or any other refusal."""
        rest = memoryview(data).cast("B")
        total = len(rest)
        while rest:
            try:
                written = super().write(rest)
            except OSError as error:
                raise _unwritable(self.target, error) from error
            rest = rest[written or 0 :]
        return total


class OutputStream:
    """Standard output or another stream that was open before; what went out cannot be taken back."""

    def __init__(self, stream: BinaryIO, target: str) -> None:
        """Write to ``stream``, which stays open."""
        self._stream = stream
        self.target = target

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write everything; ``FileUnwritable`` when the reader has gone or the disk is full."""
        try:
            return self._stream.write(data)
        except OSError as error:
            raise _unwritable(self.target, error) from error

    def flush(self) -> None:
        """Push out what the stream still holds."""
        try:
            self._stream.flush()
        except OSError as error:
            raise _unwritable(self.target, error) from error


@contextmanager
def atomic_output(path: Path, mode: int = 0o644, unsynced: set[Path] | None = None) -> Iterator[OutputFile]:
    """A file that appears under ``path``, whole and on disk, only when the block ends without an exception.

    It is written beside the target under another name (``mode``, less the umask) and renamed at the end; a symbolic
    link is followed. On any exception, Ctrl-C too, it is removed and what stood under ``path`` before is untouched.
    ``FileUnwritable`` on a full disk, a read-only folder and the like.

    Who writes many files gives ``unsynced`` and calls ``sync_folder`` once for each folder that it finds there. Until
    then a power cut may take the new name back; it never leaves half a file under it.
    """
    final = _destination(path)
    beside = final.with_name(f".dojang-{os.urandom(8).hex()}.tmp")
    try:
        with _created(beside, str(path), mode) as file:
            yield file
            _settle(file, beside, final)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    if unsynced is None:
        sync_folder(final.parent)
    else:
        unsynced.add(final.parent)


@contextmanager
def open_output(
    target: Path | BinaryIO, mode: int = 0o644, unsynced: set[Path] | None = None
) -> Iterator[OutputFile | OutputStream]:
    """``atomic_output`` for a path; a stream, a pipe or a device such as /dev/null is written as it is."""
    if not isinstance(target, Path):
        stream = OutputStream(target, "-")
        yield stream
        stream.flush()
        return
    with _opened(target) if _is_special(target) else atomic_output(target, mode, unsynced) as file:
        yield file


def _destination(path: Path) -> Path:
    try:
        mode = path.lstat().st_mode
        final = Path(os.path.realpath(path)) if stat.S_ISLNK(mode) else path
        if stat.S_ISDIR(mode) or (final is not path and final.is_dir()):
            raise FileUnwritable(path=str(path), problem=Phrase("it is a folder"))
    except FileNotFoundError:
        return path
    except ValueError as error:
        raise FileUnwritable(path=repr(str(path)), problem=Phrase("the name holds a NUL")) from error
    except OSError as error:
        raise _unwritable(str(path), error) from error
    return final


def _created(beside: Path, target: str, mode: int) -> OutputFile:
    try:
        return OutputFile(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), target)
    except OSError as error:
        raise _unwritable(target, error) from error


def _opened(target: Path) -> OutputFile:
    try:
        return OutputFile(os.open(target, os.O_WRONLY | os.O_CLOEXEC), str(target))
    except OSError as error:
        raise _unwritable(str(target), error) from error


def _settle(file: OutputFile, beside: Path, final: Path) -> None:
    try:
        os.fsync(file.fileno())
        beside.replace(final)
    except OSError as error:
        raise _unwritable(file.target, error) from error


def sync_folder(folder: Path) -> None:
    """Put the names in ``folder`` on disk."""
    # Some file systems cannot sync a folder; the file itself is already safe there.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _unwritable(target: str, error: OSError) -> FileUnwritable:
    return FileUnwritable(path=target, problem=error.strerror or str(error))
