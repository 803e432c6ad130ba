"""Where every certificate is: each place that is known is looked into at the same time, and none hides the others."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from dojang.errors import DojangError, FileUnreadable, LocationSilent
from dojang.ledger import Event, Ledger
from dojang.lifecycle.held import Held, Histories, held_in
from dojang.lifecycle.workplace import Workplace
from dojang.locations.address import parse_address
from dojang.locations.base import MayBeAbsent
from dojang.locations.registry import kind_of
from dojang.pkcs11.roll_call import PATIENCE, ask_all

LONGER = 20
"""A place that is being read, not waited for, has so many times as long: there may be thousands in it."""
# What leaves a certificate where it was no longer, as the ledger has it.
_GONE = ("deleted", "moved-away", "retired", "requested")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, soonest expiry first, and the places and certificates that could not be read, with the reason.

    ``needs_password``: the places that show what is in them to nobody without a password.
    """

    held: tuple[Held, ...]
    failures: tuple[tuple[str, DojangError], ...]
    needs_password: tuple[str, ...] = ()


def find_in(place: Workplace, address: str, *, histories: Histories | None = None, present: bool = False) -> Found:
    """The credentials at one address, in its own order; raises where the place itself cannot be looked into."""
    failures: list[tuple[str, DojangError]] = []
    held = held_in(place, address, skipped=lambda *one: failures.append(one), histories=histories, present=present)
    return Found(tuple(held), tuple(failures))


def find_everywhere(
    place: Workplace,
    addresses: Iterable[str],
    expiring: timedelta | None = None,
    *,
    wait: float = PATIENCE,
    passwords: bool = True,
    looked_at: Callable[[int], object] = lambda _count: None,
) -> Found:
    """The credentials at all ``addresses``; with ``expiring`` only live ones with no more days left than that.

    All places are asked at once, each in a thread of its own; one that has not answered after ``wait`` seconds is among
    the failures. Without ``passwords`` a place that hides its certificates under one is only named, if it is there.
    ``looked_at`` is told, from any thread, how many certificates more have been looked at.
    """
    asked = list(dict.fromkeys(addresses))
    events = place.ledger.history()
    expected, histories = holding(events), _by_fingerprint(events)
    look = partial(_look_into, place, histories, expected, looked_at, passwords)
    held: list[Held] = []
    failures: list[tuple[str, DojangError]] = []
    closed: list[str] = []
    seen: set[str] = set()
    for address, outcome in zip(asked, ask_all(look, asked, wait, at_work=LONGER * wait), strict=True):
        if outcome.answer is not None:
            identity, here = outcome.answer
            if identity not in seen:
                seen.add(identity)
                held += here.held
                failures += here.failures
                closed += here.needs_password
        else:
            failures.append(failure_of(address, outcome.error, wait))
    found = told_apart(held)
    if expiring is not None:
        found = [one for one in found if one.stored.live and one.facts.days_left <= expiring.days]
    found.sort(key=lambda one: (one.stored.retired, one.facts.not_after_at, one.stored.address))
    return Found(tuple(found), tuple(failures), tuple(closed))


def failure_of(address: str, error: Exception | None, wait: float) -> tuple[str, DojangError]:
    """Why a place gave no answer: its error, or that it gave none in time. Any other error is raised."""
    if error is None:
        return address, LocationSilent(where=address, seconds=f"{wait:g}")
    if not isinstance(error, DojangError):
        raise error
    return address, error


def told_apart(held: Iterable[Held]) -> list[Held]:
    """Each with the addresses of the same certificate elsewhere; what is retired is nobody's duplicate."""
    every = list(held)
    by_certificate: dict[bytes, list[Held]] = defaultdict(list)
    for one in every:
        if not one.stored.retired:
            by_certificate[one.stored.certificate_der].append(one)
    if len(by_certificate) == len(every):
        return every
    return [_with_duplicates(one, by_certificate.get(one.stored.certificate_der, ())) for one in every]


def recorded_locations(ledger: Ledger) -> list[str]:
    """Every location that the ledger has ever named, oldest first."""
    return list(dict.fromkeys(str(event.facts["location"]) for event in ledger.history() if "location" in event.facts))


def holding(events: Iterable[Event]) -> set[str]:
    """The locations that hold a certificate as far as the ledger knows."""
    held: dict[str, set[str]] = defaultdict(set)
    for event in events:
        location = str(event.facts.get("location", ""))
        if event.event in _GONE:
            held[location].discard(event.fingerprint)
        else:
            held[location].add(event.fingerprint)
    return {location for location, certificates in held.items() if location and certificates}


def _look_into(
    place: Workplace,
    histories: Histories,
    expected: set[str],
    looked_at: Callable[[int], object],
    passwords: bool,
    address: str,
) -> tuple[str, Found]:
    """What is at one address, and one text for the place however many links lead to it."""
    location = parse_address(address).location()
    present = location.to_text() in expected
    if not passwords and kind_of(location).traits.listed_by == "password":
        return location.identity(), _named_only(place, address, present=present)
    found = find_in(place, address, histories=histories, present=present)
    looked_at(len(found.held))
    return location.identity(), found


def _named_only(place: Workplace, address: str, *, present: bool) -> Found:
    """A place that shows nothing without a password; one that is not there needs none, and is missed if expected."""
    with place.open_location(address) as location:
        if isinstance(location, MayBeAbsent):
            try:
                location.check_present()
            except FileUnreadable:
                if present:
                    raise
                return Found((), ())
    return Found((), (), (address,))


def _by_fingerprint(events: Iterable[Event]) -> Histories:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.fingerprint].append(event)
    return found


def _with_duplicates(one: Held, same: Sequence[Held]) -> Held:
    others = tuple(other.stored.address for other in same if other.stored.address != one.stored.address)
    return replace(one, duplicate_of=others) if others and not one.stored.retired else one
