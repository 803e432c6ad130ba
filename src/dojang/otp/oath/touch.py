"""Waiting for a person's finger: the device says nothing until it is touched, or until its own patience ends."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from dojang.errors import TouchTimedOut

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
    outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(), None))
        except BaseException as error:
            outcome.put((None, error))

    threading.Thread(target=run, name=f"calculation on {name}", daemon=True).start()
    try:
        if expected:
            tell()
            result, error = outcome.get(timeout=patience or TOUCH_PATIENCE)
        else:
            result, error = _or_suspect(outcome, tell, patience or TOUCH_PATIENCE)
    except Empty:
        raise TouchTimedOut(token=name) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # no error, so this is what ``work`` returned


def _or_suspect(
    outcome: "SimpleQueue[tuple[Result | None, BaseException | None]]", tell: Callable[[], None], patience: float
) -> tuple[Result | None, BaseException | None]:
    try:
        return outcome.get(timeout=_SUSPICION)
    except Empty:
        tell()
        return outcome.get(timeout=patience)
