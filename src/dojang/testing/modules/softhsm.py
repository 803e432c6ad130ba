"""SoftHSM2: a token in files, in a folder of its own. The reference of all others: it refuses next to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dojang.testing.modules.parts import LABEL
from dojang.testing.setup import TokenSetup


@contextmanager
def bring_up(_: Path) -> Iterator[TokenSetup]:
    """One token; nothing has to run for it."""
    from dojang.testing.softhsm import softhsm

    with softhsm() as hsm:
        yield hsm.token(LABEL)
