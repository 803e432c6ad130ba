"""Credentials that would be lost with the one place where they are, though they could have a backup."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from dojang.ledger import Event
from dojang.lifecycle.backup import backups_of
from dojang.lifecycle.held import Held
from dojang.lifecycle.new_key import name_anywhere
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.where import find_everywhere, holding
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import kind_at


def never_backed_up(place: Workplace) -> Iterator[tuple[Held, str | None]]:
    """Those in use of which the ledger knows neither a backup nor a copy, each with the wrapping key that it needs.

    Only what the ledger knows, in places that answer and that nobody has to open with a password.
    """
    histories: dict[str, list[Event]] = defaultdict(list)
    for event in place.ledger.history():
        histories[event.fingerprint].append(event)
    alone = {fingerprint: events for fingerprint, events in histories.items() if _is_alone(events)}
    wanted = sorted({where for events in alone.values() for where in holding(events) if _may_leave(where, events)})
    for held in find_everywhere(place, wanted, passwords=False).held if wanted else ():
        events = alone.get(fingerprint_of(held.stored.certificate_der), ())
        if events and held.state in ("valid", "due") and not held.duplicate_of:
            yield held, _wrapped_under(events)


def _is_alone(events: Sequence[Event]) -> bool:
    return not backups_of(events) and len(holding(events)) == 1


def _may_leave(location: str, events: Sequence[Event]) -> bool:
    kind = kind_at(location)
    return (kind is not None and kind.traits.copyable) or _wrapped_under(events) is not None


def _wrapped_under(events: Sequence[Event]) -> str | None:
    named = [str(event.facts["backup_under"]) for event in events if event.facts.get("backup_under")]
    return name_anywhere(named[-1]) if named else None
