"""What is due when: data, and the one rule by which every process reaches the same moments.

A kind of work has a moment in each period of its length, counted from 1970 and moved by an offset that depends on the
authority's name, so that several authorities do not go to one HSM at once. Every process asks for the next moment; the
engine takes one of them.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from dojang.authority.jobs.engine import JobEngine
from dojang.authority.jobs.outcomes import TURN

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
"""How long work that failed is put off at most."""
_SPREAD: Final = 0.5  # offsets lie in this part of the period


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work of this kind is due once in ``every``."""

    kind: str
    every: timedelta


SCHEDULE: Final = (
    Periodic("publish-lists", _MINUTE),  # looks what is due; most times nothing is
    Periodic("produce-answers", 5 * _MINUTE),
    Periodic("revoke-unconfirmed", 10 * _MINUTE),
    Periodic("expire-enrolments", 10 * _MINUTE),
    Periodic("expire-conversations", 10 * _MINUTE),
    Periodic("end-holds", _HOUR),
    Periodic("sign-head", _HOUR),
    Periodic("renew-signers", 6 * _HOUR),
    Periodic("notify-renewals", 12 * _HOUR),
)


class Schedule:
    """The periodic work of one authority, as far as this process knows how to do it."""

    def __init__(self, authority: str, kinds: Collection[str], rows: Sequence[Periodic] = SCHEDULE) -> None:
        self._authority = authority
        self._rows = [row for row in rows if row.kind in kinds]

    def ask(self, engine: JobEngine, known: Callable[[], Collection[str]]) -> None:
        """Have the next turn of each wait; of a kind that never ran, and so is not ``known``, the one before as well.

        One that waits for longer than it can was put there before the clock was set back: it is brought forward.
        """
        standing = engine.standing()
        waiting = {one.kind: one for one in standing if one.state == "waiting"}
        ran = {one.kind for one in standing} | set(known())
        now = engine.now()
        for row in self._rows:
            found = waiting.get(row.kind)
            if found is None or found.run_at > now + 2 * max(row.every, LONGEST_PAUSE if found.failures else row.every):
                moment = self.next_moment(row, now) - (timedelta() if row.kind in ran else row.every)
                engine.enqueue(row.kind, "", moment, {TURN: int(moment.timestamp())})

    def next_moment(self, row: Periodic, now: datetime) -> datetime:
        """The next moment of this work, a whole second, the same for every process."""
        digest = hashlib.sha256(f"{self._authority}\0{row.kind}".encode()).digest()
        period = int(row.every.total_seconds())
        offset = int(int.from_bytes(digest[:4], "big") / 2**32 * period * _SPREAD)
        count = (int(now.timestamp()) - offset) // period + 1
        return datetime.fromtimestamp(count * period + offset, UTC)
