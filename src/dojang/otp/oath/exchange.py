"""One exchange with the OATH application of a device: selected, and what goes wrong told in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from yubikit.core import ApplicationNotAvailableError
from yubikit.oath import OathSession

from dojang.pcsc.told import told
from dojang.pcsc.wire import PATIENCE, Line, line

APPLICATION: Final = "OATH"


@contextmanager
def exchange(reader: str, name: str, *, patience: float | None = None) -> Iterator[OathSession]:
    """The OATH application on the card in ``reader``, selected and alone with us; errors as of ``told``."""
    with told(name, APPLICATION), line(reader, patience=PATIENCE if patience is None else patience) as opened:
        yield OathSession(opened)


def has_oath(opened: Line) -> OathSession | None:
    """The OATH application, ``None`` where the card has none."""
    try:
        return OathSession(opened)
    except ApplicationNotAvailableError:
        return None
