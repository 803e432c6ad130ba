"""Files and folders that are there whole or not at all, and stay after the power is cut."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, takewhile
from pathlib import Path

from dojang.errors import AlreadyExists, FileUnreadable, FileUnwritable, Phrase

_PART = ".part"
_OPEN_FOR_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_OPEN_FOR_CREATING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def read_file(path: Path | str, *, at_most: int) -> bytes:
    """The contents of a regular file; ``FileUnreadable`` for anything else, or for more than ``at_most`` bytes."""
    try:
        descriptor = os.open(path, _OPEN_FOR_READING)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise FileUnreadable(path=str(path), problem="it is not a plain file")
            if found.st_size > at_most:
                raise _too_large(path, at_most)
            data = os.read(
                descriptor, found.st_size + 1
            )  # a buffer for the longest file takes longer than reading most
            while len(data) != found.st_size and len(data) <= at_most and (more := os.read(descriptor, 4096)):
                data += more
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileUnreadable(path=str(path), problem=error.strerror) from error
    if len(data) > at_most:
        raise _too_large(path, at_most)
    return data


def write_file(path: Path, data: bytes, *, like: os.stat_result | None = None) -> None:
    """Make ``path`` hold ``data``: written aside, synced, renamed. A killed writer leaves only ``….part``.

    0600, or owner, group and permissions ``like`` those of the file that it replaces.
    """
    write_files([(path, data, like)])


def write_files(files: Sequence[tuple[Path, bytes, os.stat_result | None]]) -> None:
    """The same for several, each with what it is to be ``like``. All are written aside before the first is renamed, so
    a disk that is full, or a folder that may not be written, leaves every one as it was.
    """
    parts = [f"{path}{_PART}" for path, _, _ in files]
    try:
        for part, (path, data, like) in zip(parts, files, strict=True):
            with _writing(path):
                _unlink(part)
                _write_new(part, data, like)
        for part, (path, _, _) in zip(parts, files, strict=True):
            with _writing(path):
                os.replace(part, path)
                _sync_folder(path.parent)
    except FileUnwritable:
        for part in parts:
            with suppress(OSError):
                _unlink(part)
        raise


def write_new_file(path: Path, data: bytes) -> None:
    """Make the file ``path``, 0600, synced; ``AlreadyExists`` for one that is there. Of a failure nothing stays."""
    with _writing(path):
        try:
            descriptor = os.open(path, _OPEN_FOR_CREATING, 0o600)
        except FileExistsError as error:
            raise AlreadyExists(what=f"'{path.name}'", where=str(path.parent)) from error
        try:
            _fill(descriptor, data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def make_folder(path: Path | str) -> None:
    """Make ``path`` and the folders above it that are missing, 0700."""
    if os.path.isdir(path):
        return
    with _writing(path):
        missing = takewhile(lambda folder: not folder.exists(), chain((Path(path),), Path(path).parents))
        for folder in reversed(list(missing)):
            folder.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(folder.parent)


def make_filled_folder(path: Path | str, files: dict[str, bytes], part: Path | str | None = None) -> None:
    """Make the folder ``path`` with ``files`` in it, in one step; ``AlreadyExists`` when that name is taken.

    ``part``, beside it, is where it is filled: what is there goes, and whoever is killed or comes too late leaves it.
    """
    part = part or f"{path}{_PART}"
    remove_folder(part)
    make_folder(os.path.dirname(part))
    try:
        with _writing(part):
            os.mkdir(part, 0o700)
            for name, data in files.items():
                _write_new(f"{part}/{name}", data)
            _sync_folder(part)
        move_folder(part, path)
    except FileUnwritable:
        remove_folder(part)
        raise


def move_folder(source: Path | str, target: Path | str) -> None:
    """Give the folder ``source`` the name ``target``; ``AlreadyExists`` when that name is taken."""
    above, from_above = os.path.dirname(target), os.path.dirname(source)
    make_folder(above)
    with _writing(target):
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise AlreadyExists(what=os.path.basename(target), where=above) from error
            raise
        _sync_folder(above)
        if from_above != above:
            _sync_folder(from_above)


def remove_folder(path: Path | str) -> None:
    """Remove a folder and what is in it; a link only loses the link. Nothing there is not an error."""
    with _writing(path):
        try:
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return
        if is_link:
            os.unlink(path)
        else:
            shutil.rmtree(path)
            _sync_folder(os.path.dirname(path))


def _too_large(path: Path | str, at_most: int) -> FileUnreadable:
    return FileUnreadable(path=str(path), problem=Phrase("it is larger than {limit} bytes", limit=at_most))


def part_of(path: Path) -> Path:
    """Where whoever makes ``path`` and is killed leaves the rest."""
    return Path(f"{path}{_PART}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _write_new(path: Path | str, data: bytes, like: os.stat_result | None = None) -> None:
    _fill(os.open(path, _OPEN_FOR_CREATING, 0o600), data, like)  # 0600 from its first moment


def _fill(descriptor: int, data: bytes, like: os.stat_result | None = None) -> None:
    try:
        if like is not None:
            _make_like(descriptor, like)
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_like(descriptor: int, like: os.stat_result) -> None:
    """Who may not give a file away keeps it for himself."""
    mode, own = stat.S_IMODE(like.st_mode), os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.chown(descriptor, like.st_uid, like.st_gid)
        except OSError:
            mode &= stat.S_IRWXU
    os.chmod(descriptor, mode)


def _sync_folder(path: Path | str) -> None:
    if os.name == "nt":  # Windows opens no folders; its rename is durable by the file system's journal
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileUnwritable(path=str(path), problem=error.strerror or str(error)) from error
