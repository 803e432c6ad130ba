"""One round of the service: finish what was left behind, renew what has its turn, say what a person must know.

A round says when the next one is needed. Whoever goes the rounds, a process that stays or a timer, keeps nothing in
between: failures, notices and what is under way are in the ledger.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from typing import Final

from dojang.errors import DojangError
from dojang.lifecycle import notices
from dojang.lifecycle.held import Held
from dojang.lifecycle.notices import Channel, Delivery, Notice
from dojang.lifecycle.origin import fingerprint_of, history_of
from dojang.lifecycle.recover import recover
from dojang.lifecycle.renewals import Outcome, renew_all
from dojang.lifecycle.schedule import failures_in, next_of, schedule_of, try_at
from dojang.lifecycle.where import Found, find_everywhere
from dojang.lifecycle.workplace import Recovered, Workplace

LONGEST_SLEEP: Final = timedelta(hours=6)
"""A round this long after the last even when nothing is expected: a certificate may have come from elsewhere."""
BUSY_PAUSE: Final = timedelta(minutes=1)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Orders:
    """How rounds are gone. ``thresholds`` are days before an expiry, ``words`` says a notice in some language,
    ``begins`` is called as each renewal begins.
    """

    machine: str
    jobs: int = 1
    thresholds: Sequence[int] = ()
    channels: Sequence[Channel] = ()
    words: Callable[[Notice], tuple[str, str]] = field(default=lambda notice: (notice.subject, notice.address))
    begins: Callable[[Held], object] = field(default=lambda held: None)


@dataclass(slots=True)
class Round:
    """What happened, and when the next round is needed. ``plan`` are those due whose turn has not come."""

    recovered: list[Recovered] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    unreachable: list[tuple[str, DojangError]] = field(default_factory=list)
    next_at: datetime = _NEVER


def go_round(
    place: Workplace, addresses: Iterable[str], orders: Orders, changed_at: datetime, stop: Flag | None = None
) -> Round:
    """Go one round; nothing of what fails in it is raised. ``changed_at`` as for ``try_at``."""
    stop, done = stop or Flag(), Round()
    done.recovered = recover(place)
    found = find_everywhere(place, addresses)
    done.unreachable = list(found.failures)
    plan = _planned(place, found, orders.machine, changed_at)
    now = place.now()
    ready = [held for held, at in plan if at <= now]
    done.outcomes = list(renew_all(place, ready, jobs=orders.jobs, begins=orders.begins, stop=stop))
    if stop.is_set():
        return done
    if done.outcomes:
        found = find_everywhere(place, addresses)  # successors have come in the place of what they replaced
        plan = _planned(place, found, orders.machine, changed_at)
    done.deliveries = _notices(place, found, orders)
    done.next_at = next_of([*_moments(place, plan, orders), *_soon(done, place.now())], place.now(), LONGEST_SLEEP)
    return done


def _planned(place: Workplace, found: Found, machine: str, changed_at: datetime) -> list[tuple[Held, datetime]]:
    """Each certificate that is renewed by itself, and when; one of several copies is enough."""
    planned: dict[str, tuple[Held, datetime]] = {}
    for held in found.held:
        fingerprint = fingerprint_of(held.stored.certificate_der)
        history = history_of(place, held.stored)
        if not _in_use(held) or fingerprint in planned or any(event.event == "retired" for event in history):
            continue
        if notices.is_renewed_by_itself(place, held):
            at = try_at(schedule_of(held, machine), failures_in(history), changed_at, machine)
            if at is not None:
                planned[fingerprint] = held, at
    return list(planned.values())


def _notices(place: Workplace, found: Found, orders: Orders) -> list[Delivery]:
    if not orders.channels:
        return []
    notices.remember(place, found.held)
    alone = [(held, reason) for held in found.held if (reason := _reason(place, held, orders.machine))]
    to_give = notices.find_notices(place, found.held, alone, orders.thresholds)
    return list(notices.give(place, to_give, orders.channels, orders.words))


def _reason(place: Workplace, held: Held, machine: str) -> str | None:
    """Why a person must see to it."""
    history = history_of(place, held.stored)
    if not _in_use(held) or any(event.event == "retired" for event in history):
        return None
    if not notices.is_renewed_by_itself(place, held):
        return notices.UNKNOWN_ORIGIN
    schedule, failures = schedule_of(held, machine), failures_in(history)
    waits = failures is not None and (not failures.retryable or place.now() >= schedule.last_safe_at)
    return notices.FAILING if waits else None


def _in_use(held: Held) -> bool:
    return held.stored.live and held.state in ("valid", "due")


def _moments(place: Workplace, plan: Iterable[tuple[Held, datetime]], orders: Orders) -> list[datetime]:
    now, moments = place.now(), []
    for held, at in plan:
        notice_at = notices.next_notice_at(held.facts.not_after_at, orders.thresholds, now)
        moments += [at] if notice_at is None else [at, notice_at]
    return moments


def _soon(done: Round, now: datetime) -> list[datetime]:
    """Somebody else was at work on one, or a notice did not arrive."""
    busy = any(outcome.error is not None and not outcome.failed for outcome in done.outcomes)
    undelivered = any(delivery.error is not None for delivery in done.deliveries)
    return [now + BUSY_PAUSE] * busy + [now + 5 * BUSY_PAUSE] * undelivered
