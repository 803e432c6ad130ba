"""OpenSC and an emulated PIV card: its PIN has three tries, its PUK unblocks it, one key wants the PIN every time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dojang.testing.piv import plugged_in
from dojang.testing.setup import TokenSetup


@contextmanager
def bring_up(_: Path) -> Iterator[TokenSetup]:
    """A fresh card in a reader of a pcscd of its own; it is pulled when this process ends."""
    with plugged_in() as plugged:
        yield plugged.setup
