"""Where every certificate is: each place that is known is looked into, and a broken one never hides the others."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from dojang.errors import DojangError
from dojang.ledger import Ledger
from dojang.lifecycle.held import Held, held_in
from dojang.lifecycle.workplace import Workplace


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, soonest expiry first, and the places and certificates that could not be read, with the reason."""

    held: tuple[Held, ...]
    failures: tuple[tuple[str, DojangError], ...]


def find_in(place: Workplace, address: str) -> Found:
    """The credentials at one address, in its own order; raises where the place itself cannot be looked into."""
    failures: list[tuple[str, DojangError]] = []
    held = held_in(place, address, skipped=lambda where, error: failures.append((where, error)))
    return Found(tuple(held), tuple(failures))


def find_everywhere(place: Workplace, addresses: Iterable[str], expiring: timedelta | None = None) -> Found:
    """The credentials at all ``addresses``; with ``expiring`` only live ones that end within that time."""
    held: list[Held] = []
    failures: list[tuple[str, DojangError]] = []
    for address in addresses:
        try:
            here = find_in(place, address)
            held, failures = [*held, *here.held], [*failures, *here.failures]
        except DojangError as error:
            failures.append((address, error))
    if expiring is not None:
        limit = place.now() + expiring
        held = [one for one in held if one.stored.live and one.facts.not_after_at <= limit]
    held.sort(key=lambda one: (one.stored.retired, one.facts.not_after_at, one.stored.address))
    return Found(tuple(held), tuple(failures))


def recorded_locations(ledger: Ledger) -> list[str]:
    """Every location that the ledger has ever named, oldest first."""
    return list(dict.fromkeys(str(event.facts["location"]) for event in ledger.history() if "location" in event.facts))
