"""Reading what is to be signed or checked: once, in constant memory, and noticing when it changes meanwhile."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from dojang.errors import FileChanged, FileUnreadable, Phrase, Usage

CHUNK = 1 << 20
Progress = Callable[[int, int | None], None]


class _ReadsInto(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Source:
    """An open input. ``size`` is what is left of a regular file, ``None`` for a pipe."""

    def __init__(self, stream: BinaryIO | io.FileIO, name: str) -> None:
        """Look at the stream; nothing is read yet."""
        self.name = name
        self._stream = cast(_ReadsInto, stream)
        self._descriptor = _descriptor(stream)
        self._before = _state(self._descriptor)
        self.size = None if self._before is None else max(0, self._before[0] - _position(stream))
        self.done = 0

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` from the front; 0 at the end. ``FileUnreadable``; ``FileChanged`` once a file has grown."""
        try:
            count = self._stream.readinto(buffer)
        except OSError as error:
            raise FileUnreadable(path=self.name, problem=error.strerror or str(error)) from error
        if count is None:
            raise FileUnreadable(path=self.name, problem=Phrase("it does not wait for data (non-blocking)"))
        self.done += count
        if self.size is not None and self.done > self.size:
            raise FileChanged(path=self.name)
        return count

    def chunks(self, on_progress: Progress | None = None) -> Iterator[memoryview]:
        """Everything, in views of one buffer that is used again for the next; then ``check_unchanged``."""
        room = CHUNK if self.size is None else min(CHUNK, self.size + 1)  # one more, to see that it has grown
        buffer = memoryview(bytearray(room))
        while count := self.readinto(buffer):
            yield buffer[:count]
            if on_progress is not None:
                on_progress(self.done, self.size)
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """``FileChanged`` unless exactly the bytes that were there at the start have been read."""
        if self._before is not None and (self.done != self.size or _state(self._descriptor) != self._before):
            raise FileChanged(path=self.name)


@contextmanager
def open_source(source: Path | BinaryIO) -> Iterator[Source]:
    """Open a path, or take a stream that is open already (standard input), which stays open."""
    if not isinstance(source, Path):
        yield Source(source, _stream_name(source))
        return
    try:
        stream = io.FileIO(source, "rb")
    except OSError as error:
        raise FileUnreadable(path=str(source), problem=error.strerror or str(error)) from error
    except ValueError as error:
        raise FileUnreadable(path=repr(str(source)), problem=Phrase("the name holds a NUL")) from error
    with stream:
        yield Source(stream, str(source))


def refuse_same_file(source: Path | BinaryIO, output: Path | BinaryIO) -> None:
    """``Usage`` when writing the output would replace the input."""
    if isinstance(source, Path) and isinstance(output, Path) and _are_same(source, output):
        raise Usage(problem=Phrase("The output {path} would replace the file it is made from.", path=output))


def _are_same(one: Path, other: Path) -> bool:
    try:
        theirs = other.stat()  # first, since it is the one that is mostly not there
        ours = one.stat()
    except (OSError, ValueError):
        return False  # opening either will say what is wrong with it
    return stat.S_ISREG(ours.st_mode) and os.path.samestat(ours, theirs)


def _stream_name(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else "-"


def _descriptor(stream: BinaryIO | io.FileIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, AttributeError):
        return None


def _state(descriptor: int | None) -> tuple[int, int] | None:
    if descriptor is None:
        return None
    status = os.fstat(descriptor)
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _position(stream: BinaryIO | io.FileIO) -> int:
    return stream.tell() if stream.seekable() else 0
