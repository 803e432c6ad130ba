"""The folder in which the processes of one centre count, and what centres that were killed have left of theirs."""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "dojang-metrics-"
_COUNTER: Final = re.compile(r"_(\d+)\.db\Z")  # as prometheus_client names them: who counts in it


@contextlib.contextmanager
def metrics_folder() -> Iterator[str]:
    """A new one, which is removed at the end.

    Nobody can remove one after SIGKILL. So whoever begins removes those that are held by nobody and in which nobody
    counts who is alive.
    """
    _remove_left()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True))
        while not stack.enter_context(_hold(folder)):  # somebody else who begins took it for one that was left
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True))
        yield folder


@contextlib.contextmanager
def _hold(folder: str) -> Iterator[bool]:
    """Whether it is there and nobody else holds it; then it is held, until the process ends at the latest."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = os.fstat(descriptor).st_nlink > 0 and os.fstat(descriptor).st_uid == os.geteuid()
        except OSError:
            is_held = False
        yield is_held


def _remove_left() -> None:
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as found:
        for one in found:
            if one.name.startswith(_PREFIX):
                _remove(one.path)


def _remove(folder: str) -> None:
    with _hold(folder) as is_held:
        if is_held and not any(map(_is_alive, _counting_in(folder))):
            shutil.rmtree(folder, ignore_errors=True)


def _counting_in(folder: str) -> list[int]:
    found = (_COUNTER.search(one.name) for one in Path(folder).iterdir())
    return [int(counter[1]) for counter in found if counter]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
