"""When a certificate's turn to be renewed comes, and when a renewal that failed is tried again.

    |<------------------------- window ------------------------->|
    due                                                          expiry
    |<---- turns ---->|                       |<-- last quarter ->|

A fleet of machines whose certificates were issued together would ask its authority at one moment. So each credential
on each machine has a turn of its own in the first third of the window, always the same. Failures that may pass are
tried again after five minutes, ten, twenty … at most six hours, in the last quarter at most one hour. What needs a
person, a PIN above all, is not tried again until something has changed.
"""

import hashlib
import platform
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from dojang.ledger import Event
from dojang.lifecycle.held import Held
from dojang.lifecycle.origin import fingerprint_of

FAILED: Final = "renewal-failed"
FIRST_PAUSE: Final = timedelta(minutes=5)
LONGEST_PAUSE: Final = timedelta(hours=6)
LONGEST_PAUSE_LATE: Final = timedelta(hours=1)
_TURNS: Final = 1 / 3
_LAST: Final = 1 / 4
_ENDED: Final = ("renewed", "reissued", "issued", "retired")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When one credential is renewed on one machine. ``turn_at`` is never later than ``last_safe_at``."""

    due_at: datetime
    turn_at: datetime
    last_safe_at: datetime
    not_after_at: datetime


def schedule_of(held: Held, machine: str) -> Schedule:
    """The same for the same credential on the same machine, whenever it is asked."""
    window = max(held.facts.not_after_at - held.due_at, timedelta())
    share = _share(machine, fingerprint_of(held.stored.certificate_der))
    return Schedule(
        due_at=held.due_at,
        turn_at=held.due_at + window * _TURNS * share,
        last_safe_at=held.facts.not_after_at - window * _LAST,
        not_after_at=held.facts.not_after_at,
    )


@dataclass(frozen=True, slots=True)
class Failures:
    """How often in a row a renewal failed, when last and why; ``retryable`` when the same may succeed later."""

    count: int
    last_at: datetime
    code: str
    retryable: bool


def failures_in(history: Iterable[Event]) -> Failures | None:
    """What a certificate's history tells; ``None`` when the last try, if there was one, succeeded."""
    failed: list[Event] = []
    for event in history:
        if event.event == FAILED:
            failed.append(event)
        elif event.event in _ENDED:
            failed.clear()
    if not failed or failed[-1].at is None:
        return None
    return Failures(len(failed), failed[-1].at, str(failed[-1].facts["code"]), bool(failed[-1].facts["retryable"]))


def try_at(schedule: Schedule, failures: Failures | None, changed_at: datetime, machine: str) -> datetime | None:
    """When to try: at its turn, or after a failure once its pause is over; ``None`` while it waits for a change.

    ``changed_at`` is when something changed last: the service was started or told to read its settings again, or a
    token was put in. Whatever failed before that is tried again at once.
    """
    if failures is None or failures.last_at < changed_at:
        return schedule.turn_at
    if not failures.retryable:
        return None
    longest = LONGEST_PAUSE_LATE if failures.last_at >= schedule.last_safe_at else LONGEST_PAUSE
    pause: timedelta = min(FIRST_PAUSE * (1 << min(failures.count - 1, 10)), longest)
    return failures.last_at + pause * (1 + _share(machine, f"{schedule.not_after_at}{failures.count}") / 4)


def next_of(moments: Sequence[datetime], now: datetime, longest: timedelta) -> datetime:
    """The first of the moments that is still to come, but within ``longest``."""
    return min([moment for moment in moments if moment > now] + [now + longest])


@cache
def this_machine() -> str:
    """What tells this machine and this user's state from others: never shown to anybody."""
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        with suppress(OSError):
            return path.read_text("ascii", "replace").strip() + str(Path.home())
    return platform.node() + str(Path.home())


def _share(machine: str, what: str) -> float:
    """From 0 to 1, spread evenly, always the same for the same."""
    digest = hashlib.sha256(f"{machine}\0{what}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
