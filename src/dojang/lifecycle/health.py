"""Whether certificates will go on being renewed: one verdict for whoever watches over machines."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from dojang.errors import DojangError, FileMalformed
from dojang.ledger import Event
from dojang.lifecycle.held import Held
from dojang.lifecycle.notices import in_use_by, is_renewed_by_itself
from dojang.lifecycle.origin import fingerprint_of, history_of
from dojang.lifecycle.schedule import failures_in, schedule_of
from dojang.lifecycle.where import find_everywhere
from dojang.lifecycle.workplace import Workplace

OK, WARNING, CRITICAL, UNKNOWN = "ok", "warning", "critical", "unknown"
PATIENCE: Final = timedelta(days=2)
"""So long after its turn a renewal that nobody has tried is overdue: no timer and no service seems to be running."""

EXPIRED, EXPIRING, FAILING, OVERDUE = "expired", "expiring", "failing", "overdue"
OUT_OF_REACH, UNFINISHED, DAMAGED = "out-of-reach", "unfinished", "damaged"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that somebody should see to; ``code`` is why a renewal failed."""

    level: str
    kind: str
    address: str
    subject: str
    days_left: int | None = None
    code: str = ""


@dataclass(slots=True)
class Health:
    """``status`` is the worst of all troubles, ``unknown`` where there is no certificate to speak of."""

    status: str = UNKNOWN
    certificates: int = 0
    due: int = 0
    days_left: int | None = None
    subject: str = ""
    troubles: list[Trouble] = field(default_factory=list)
    unreachable: tuple[tuple[str, DojangError], ...] = ()

    def count(self, kind: str) -> int:
        return sum(trouble.kind == kind for trouble in self.troubles)


def health_of(
    place: Workplace, addresses: Iterable[str], machine: str, *, warning_days: int, critical_days: int
) -> Health:
    """Look at everything that is in use; no PIN is asked and nothing is tried."""
    found = find_everywhere(place, addresses)
    health = Health(unreachable=found.failures)
    in_use = [one for one in found.held if one.stored.live and one.state in ("valid", "due", "expired")]
    in_use = [one for one in in_use if not any(event.event == "retired" for event in history_of(place, one.stored))]
    limits = (warning_days, critical_days)
    for held in in_use:
        health.troubles += _troubles_of(place, held, machine, limits)
    health.troubles += _absent(place, found.held, limits)
    damaged = [(address, error) for address, error in found.failures if isinstance(error, FileMalformed)]
    health.troubles += [Trouble(WARNING, DAMAGED, address, "", code=error.code) for address, error in damaged]
    for record in place.ledger.incomplete():
        address, subject = str(record.facts.get("address", "")), str(record.facts.get("subject", ""))
        health.troubles.append(Trouble(WARNING, UNFINISHED, address, subject, code=record.verb))
    health.certificates = len({fingerprint_of(one.stored.certificate_der) for one in in_use})
    health.due = sum(one.state == "due" for one in in_use)
    if in_use:
        first = min(in_use, key=lambda one: one.facts.not_after_at)
        health.days_left, health.subject = first.facts.days_left, first.facts.subject
    levels = {trouble.level for trouble in health.troubles}
    calm = OK if in_use else UNKNOWN
    health.status = next((level for level in (CRITICAL, WARNING) if level in levels), calm)
    return health


def _troubles_of(place: Workplace, held: Held, machine: str, limits: Sequence[int]) -> Iterator[Trouble]:
    def trouble(level: str, kind: str, code: str = "") -> Trouble:
        return Trouble(level, kind, held.stored.address, held.facts.subject, held.facts.days_left, code)

    if held.state == "expired":
        yield trouble(CRITICAL, EXPIRED)
        return
    level = _level(held.facts.days_left, limits)
    if not is_renewed_by_itself(place, held):
        if level is not None:
            yield trouble(level, EXPIRING)
        return
    schedule, now = schedule_of(held, machine), place.now()
    late = CRITICAL if level == CRITICAL or now >= schedule.last_safe_at else WARNING
    failures = failures_in(history_of(place, held.stored))
    if failures is not None:
        yield trouble(late, FAILING, failures.code)
    elif now >= min(schedule.turn_at + PATIENCE, schedule.last_safe_at):
        yield trouble(late, OVERDUE)


def _absent(place: Workplace, held: Iterable[Held], limits: Sequence[int]) -> Iterator[Trouble]:
    """What the ledger knows to be in use somewhere that is not there now."""
    seen = {fingerprint_of(one.stored.certificate_der) for one in held}
    for fingerprint, event in in_use_by(place.ledger):
        if fingerprint not in seen:
            days = _days_left(place, event)
            level = _level(days, limits)
            if level is not None and days >= 0:
                subject = str(event.facts.get("subject", ""))
                yield Trouble(level, OUT_OF_REACH, event.address, subject, days)


def _days_left(place: Workplace, event: Event) -> int:
    from dojang.x509.status import days_between

    return days_between(place.now(), datetime.fromisoformat(str(event.facts["not_after"])).astimezone(UTC))


def _level(days_left: int, limits: Sequence[int]) -> str | None:
    warning, critical = limits
    return CRITICAL if days_left <= critical else WARNING if days_left <= warning else None
