"""The places of a reissue: where the new key goes, and where the old certificate lies."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from dojang.errors import DojangError, InputRequired, Phrase, UnsupportedOperation
from dojang.ledger import Event
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.journal import identity_of
from dojang.lifecycle.meant import Meant, issued_with
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.recover import recover
from dojang.lifecycle.workplace import Recovered, Workplace
from dojang.locations.base import Location, Retires, StoredCredential


@dataclass(frozen=True, slots=True)
class Scene:
    """The open locations: where the new one goes, and where the old one lies if that is another; and what is meant.

    ``old`` is the old credential where it lies in ``here`` (then it is replaced there) or ``there``.
    """

    here: Location
    there: Location | None
    old_der: bytes
    old: StoredCredential | None
    recovered: tuple[Recovered, ...]

    @property
    def in_place(self) -> bool:
        return self.old is not None and self.there is None


@contextlib.contextmanager
def open_scene(meant: Meant, to: str | None, place: Workplace, *, recovering: bool = True) -> Iterator[Scene]:
    """Open what there is of both places, and finish or undo in them what killed runs left.

    ``InputRequired`` where neither the old place is named nor a new one, ``NotFound`` for what is meant.
    """
    with contextlib.ExitStack() as opened:
        there, old, recovered = None, None, []
        if meant.address is not None:
            there = opened.enter_context(place.open_location(meant.address))
            recovered += recover(place, there) if recovering else []
            old = there.find(meant.address)
        old_der = old.certificate_der if old is not None else meant.certificate_der
        if old_der is None:
            old_der = issued_with(place, meant)
        if to is None:
            if there is None:
                raise InputRequired(what=Phrase("The location of the new key"), option="--to ADDRESS")
            yield Scene(there, None, old_der, old, tuple(recovered))
            return
        here = opened.enter_context(place.open_target(to))
        recovered += recover(place, here) if recovering else []
        beside = _live_in(here, old_der)
        if there is not None and identity_of(there.address) == identity_of(here.address):
            there, old = None, beside or old
        elif beside is not None:
            there, old = None, beside
        yield Scene(here, there, old_der, old, tuple(recovered))


def retire_there(place: Workplace, scene: Scene) -> Held | None:
    """The old one taken out of use where it lies. It is revoked already: what cannot be reached may stay."""
    if scene.there is None or scene.old is None:
        return None
    stored = scene.old
    if stored.live:
        place.say("retire")
        try:
            stored = _retired(place, scene.there, stored)
        except DojangError as error:
            place.warn(error)
    return look_at(place, scene.there.traits, stored)


def _retired(place: Workplace, there: Location, old: StoredCredential) -> StoredCredential:
    if not isinstance(there, Retires):
        raise UnsupportedOperation(where=there.address, operation="take a credential out of use")
    stored = there.retire(old.key_id)
    facts = {"location": there.address, "key_id": old.key_id.hex()}
    place.ledger.record(Event("retired", old.address, fingerprint_of(old.certificate_der), facts))
    return stored


def _live_in(location: Location, certificate_der: bytes) -> StoredCredential | None:
    """The very certificate, where it lies in ``location`` and is in use."""
    return next((one for one in location.credentials() if one.live and one.certificate_der == certificate_der), None)
