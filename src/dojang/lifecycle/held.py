"""Credentials as people ask about them: where they are, whose they are, what state they are in, when they are due."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dojang.errors import DojangError, FileMalformed
from dojang.ledger import Event
from dojang.lifecycle.origin import fingerprint_of, history_of, profile_in, window_of
from dojang.lifecycle.purpose import Purpose, purpose_of
from dojang.lifecycle.workplace import Workplace
from dojang.locations.address import parse_address
from dojang.locations.base import Location, MayBeAbsent, MayBeDamaged, StoredCredential, Traits
from dojang.npki.validity import days_left, opening_of

if TYPE_CHECKING:
    from dojang.x509.status import CertificateFacts


_STATUS = ("revoked", "suspended", "restored")


@dataclass(frozen=True, slots=True)
class Held:
    """A credential with what its certificate and its location say; ``due_at`` is when its renewal window opens.

    ``state`` is valid, due, expired, not-yet-valid, revoked, suspended or retired, as far as the ledger and the clock
    know. The days that are left of a Korean certificate are Korean days. ``duplicate_of``: where else the same
    certificate is, as far as somebody looked there.
    """

    stored: StoredCredential
    traits: Traits
    facts: "CertificateFacts"
    state: str
    due_at: datetime
    purpose: Purpose
    duplicate_of: tuple[str, ...] = ()


Histories = Mapping[str, Sequence[Event]]
"""What the ledger knows of every certificate, by fingerprint; read once by whoever looks at many."""


def _unheard(_address: str, _error: DojangError) -> None:
    """Nobody wants to know."""


def held_in(
    place: Workplace,
    address: str,
    window: timedelta | None = None,
    skipped: Callable[[str, DojangError], object] = _unheard,
    histories: Histories | None = None,
    present: bool = False,
) -> list[Held]:
    """Every credential in the location at ``address``, or the one that it names; no PIN is asked, no key is touched.

    What a renewal has staged is not listed, nobody is to use it yet; nor is what cannot be read, which would hide the
    others: ``skipped`` is told of its address and the reason. A place that may be away and is looks empty, unless it is
    to be ``present``: then it is ``FileUnreadable``.
    """
    moment = place.now()
    place = replace(place, now=lambda: moment)
    with place.open_location(address) as location:
        if present and isinstance(location, MayBeAbsent):
            location.check_present()
        if names_credential(address):
            return [look_at(place, location.traits, location.find(address), window, histories)]
        credentials = [one for one in location.credentials() if not one.staged]
        for where, error in damaged_in(location):
            skipped(where, error)
        return _look_at_each(place, location.traits, credentials, window, histories, skipped)


def damaged_in(location: Location) -> list[tuple[str, DojangError]]:
    """What the last look at its credentials had to leave out, with the reason."""
    return location.damaged() if isinstance(location, MayBeDamaged) else []


def held_at(place: Workplace, address: str) -> tuple[Held, tuple[bytes, ...]]:
    """The one credential that ``address`` names, and the certificates above it as far as its location keeps them."""
    with place.open_location(address) as location:
        stored = location.find(address)
        return look_at(place, location.traits, stored), location.chain_of(stored.certificate_der)


def due_in(
    place: Workplace,
    addresses: Iterable[str],
    window: timedelta | None = None,
    skipped: Callable[[str, DojangError], object] = _unheard,
) -> Iterator[Held]:
    """The credentials at these addresses whose window is open; ``window`` replaces what their profiles say. ``skipped``
    as in ``held_in``.
    """
    for address in addresses:
        yield from (held for held in held_in(place, address, window, skipped) if held.state == "due")


def names_credential(address: str) -> bool:
    """Whether an address names one credential, not just the place where it lies."""
    return parse_address(address).names_credential


def look_at(
    place: Workplace,
    traits: Traits,
    stored: StoredCredential,
    window: timedelta | None = None,
    histories: Histories | None = None,
) -> Held:
    """One credential, looked at closely. Raises ``FileMalformed``."""

    def fail(_address: str, error: DojangError) -> None:
        raise error

    return _look_at_each(place, traits, [stored], window, histories, fail)[0]


def _look_at_each(
    place: Workplace,
    traits: Traits,
    credentials: Sequence[StoredCredential],
    window: timedelta | None,
    histories: Histories | None,
    skipped: Callable[[str, DojangError], object],
) -> list[Held]:
    """A step for all before the next, as folders are read: see ``npki.folder``."""
    known = [_history(place, one, histories) for one in credentials]
    purposes = [
        purpose_of(one.certificate_der, profile_in(history), one.seen)
        for one, history in zip(credentials, known, strict=True)
    ]
    facts = [_facts(place, one, purpose, skipped) for one, purpose in zip(credentials, purposes, strict=True)]
    found = []
    for stored, history, purpose, said in zip(credentials, known, purposes, facts, strict=True):
        if said is not None:
            opens = window_of(place, history) if window is None else window
            due_at = opening_of(said.not_after_at, opens, korean=purpose.korean)
            state = _state(place, stored, history, said, due_at)
            found.append(Held(stored, traits, said, state, due_at, purpose))
    return found


def _history(place: Workplace, stored: StoredCredential, histories: Histories | None) -> Sequence[Event]:
    if histories is None:
        return history_of(place, stored)
    return histories.get(fingerprint_of(stored.certificate_der), ()) if histories else ()


def _facts(
    place: Workplace, stored: StoredCredential, purpose: Purpose, skipped: Callable[[str, DojangError], object]
) -> "CertificateFacts | None":
    from dojang.x509.status import credential_facts, days_to

    try:
        counted = days_left if purpose.korean else days_to
        return credential_facts(stored.certificate_der, place.now(), counted, stored.seen)
    except FileMalformed as error:
        skipped(stored.address, error)
        return None


def _state(
    place: Workplace, stored: StoredCredential, history: Sequence[Event], facts: "CertificateFacts", due_at: datetime
) -> str:
    # What the authority said; copies come and go under other words, and "restored" is also said of a backup.
    status = [event.event for event in history if event.event in _STATUS and "authority" in event.facts]
    if "revoked" in status:  # for good, and worth more to know than that it is out of use
        return "revoked"
    if stored.retired:
        return "retired"
    if status and status[-1] == "suspended":
        return "suspended"
    if facts.not_after_at <= place.now():
        return "expired"
    if facts.not_before_at > place.now():
        return "not-yet-valid"
    return "due" if due_at <= place.now() else "valid"
