"""A folder for as long as it is needed, in memory where there is a tmpfs; what killed processes left goes with it."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_ALIVE: Final = "alive"


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder of this user alone, gone afterwards; what killed processes left under ``prefix`` goes with the next."""
    parent = Path("/dev/shm")  # noqa: S108 - a folder of ours in it, mode 0700
    if not os.access(parent, os.W_OK):
        parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    with (folder / "new").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        (folder / "new").rename(folder / _ALIVE)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """The folders whose process is gone: it held a lock on a file in them for as long as it lived."""
    for path in parent.glob(f"{prefix}*/{_ALIVE}"):
        with suppress(OSError), path.open("r+") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)
