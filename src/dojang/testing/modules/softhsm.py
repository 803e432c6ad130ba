"""SoftHSM2: a token in files, in a folder of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dojang.testing.modules.parts import LABEL
from dojang.testing.setup import TokenSetup
from dojang.testing.softhsm import SoftHsm


@contextmanager
def bring_up(folder: Path) -> Iterator[TokenSetup]:
    """One token; nothing has to run for it."""
    yield SoftHsm(folder).token(LABEL)
