"""Waiting for a person's finger: the device says nothing until it is touched, or until its own patience ends."""

from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Final, TypeVar

from dojang.errors import TouchTimedOut
from dojang.pcsc.aside import aside

TOUCH_PATIENCE: Final = 30.0
"""Seconds until we give up; devices give up earlier (a YubiKey after 15)."""
_SUSPICION: Final = 0.5
"""Seconds of silence after which a device seems to wait for a touch that it did not announce."""

Result = TypeVar("Result")


def with_patience(
    work: Callable[[], Result], name: str, *, expected: bool, tell: Callable[[], None], patience: float | None = None
) -> Result:
    """What ``work`` returns; while the device is silent the person is told, once, to touch it.

    ``expected``: it will want a touch, so say so at once. A device cannot be interrupted: ``TouchTimedOut`` leaves
    ``work`` to its thread, which ends when the device gives up, and until then the device is busy.
    """
    wait = aside(work, f"calculation on {name}")
    try:
        if not expected:
            with suppress(Empty):
                return wait(_SUSPICION)
        tell()
        return wait(patience or TOUCH_PATIENCE)
    except Empty:
        raise TouchTimedOut(token=name) from None
