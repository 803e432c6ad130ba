"""Backup: credentials in one PKCS#12 file under a password of its own, good only after a drill."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dojang.errors import KeyDoesNotLeave, NotFound, NotPermitted, Phrase
from dojang.ledger import Event, Fact
from dojang.lifecycle.drill import Drilled, put_in, restored_on_trial
from dojang.lifecycle.held import Held, damaged_in, look_at, names_credential
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.parcel import Parcel, take_out
from dojang.lifecycle.recover import recover
from dojang.lifecycle.scratch import MADE, digest_of, finish_backup, folder_for, refuse_present, scratch
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.address import Pkcs12Address
from dojang.locations.base import IN_USE, GivesKeys, Location, StoredCredential

_WRAPPED: Final = Phrase(
    "Only a key that was made for a backup leaves it, wrapped: add --under NAME and --drill-to ADDRESS. "
    "For any other, issue a second certificate in another location."
)


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """Which credentials, or all that are in use in which locations, and the file; ``replace`` an older one there."""

    addresses: tuple[str, ...]
    file: Path
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Backup:
    """A file from which every credential was restored and signed. ``sha256`` is the file's, in hex.

    ``retired`` counts those that are no longer in use and were left out.
    """

    file: Path
    sha256: str
    credentials: tuple[Held, ...]
    drilled: tuple[Drilled, ...]
    retired: int = 0


@dataclass(frozen=True, slots=True)
class _Gathered:
    parcels: list[Parcel]
    held: list[Held]
    locations: list[str]
    retired: int


def backup(order: BackupOrder, place: Workplace) -> Backup:
    """Write the file aside, restore everything in it on trial, have it sign, and only then give it its name.

    ``AlreadyExists`` for a file that is there, ``KeyDoesNotLeave`` for a key that its location keeps. What cannot be
    read is told of (``place.warn``) and left out. After any error and after a kill no half of a backup stays, and an
    older one is what it was.
    """
    file = order.file.resolve()
    refuse_present(file, order.replace)
    gathered = _gather(order.addresses, place)
    _refuse_too_many(gathered.parcels)
    folder = folder_for(file, place)
    facts: dict[str, Fact] = {
        "file": str(file),
        "replace": order.replace,
        "addresses": [one.stored.address for one in gathered.held],
        "fingerprints": [fingerprint_of(one.certificate_der) for one in gathered.parcels],
        "locations": gathered.locations,
    }
    with scratch("backup", folder, place, facts) as operation:
        place.say("write")
        _write(folder / MADE, gathered.parcels, place)
        drilled = restored_on_trial(folder / MADE, folder, place, gathered.parcels)
        operation.advance("drilled", sha256=digest_of(folder / MADE))
        finish_backup(operation)
    sha256 = str(operation.record.facts["sha256"])
    return Backup(file, sha256, tuple(gathered.held), drilled, gathered.retired)


def plan_backup(order: BackupOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``backup`` would take, after the refusals that need no key."""
    refuse_present(order.file.resolve(), order.replace)
    steps = []
    for address in order.addresses:
        with place.open_location(address) as location:
            for stored in _wanted(address, location)[0]:
                _refuse_staying(location, stored)
                steps.append(Step("take", {"address": stored.address}))
    where = {"file": str(order.file)}
    return (*steps, Step("write", where), Step("drill", where))


def backups_of(history: Iterable[Event]) -> list[Event]:
    """The backups of a certificate that the ledger knows of, oldest first; facts ``file`` and ``sha256``."""
    return [event for event in history if event.event == "backed-up"]


def _gather(addresses: Sequence[str], place: Workplace) -> _Gathered:
    """Everything that goes in, each certificate once."""
    gathered = _Gathered([], [], [], 0)
    retired = 0
    place.say("take")
    for address in addresses:
        with place.open_location(address) as location:
            recover(place, location)
            wanted, left = _wanted(address, location)
            retired += left
            for _address, error in [] if names_credential(address) else damaged_in(location):
                place.warn(error)
            for stored in wanted:
                if stored.certificate_der in [parcel.certificate_der for parcel in gathered.parcels]:
                    continue
                _refuse_staying(location, stored)
                gathered.parcels.append(take_out(location, stored))
                gathered.held.append(look_at(place, location.traits, stored))
                gathered.locations.append(location.address)
    return _Gathered(gathered.parcels, gathered.held, gathered.locations, retired)


def _wanted(address: str, location: Location) -> tuple[list[StoredCredential], int]:
    """The one that is named, or all that are in use there, and how many are not. ``NotFound`` for none."""
    if names_credential(address):
        return [location.find(address)], 0
    found = list(location.credentials())
    live = [one for one in found if one.live]
    if not live:
        for _address, error in damaged_in(location):
            raise error
        raise NotFound(what=IN_USE, where=location.address, command=f"dojang cert list '{address}'")
    return live, len([one for one in found if one.retired])


def _refuse_staying(location: Location, stored: StoredCredential) -> None:
    if not isinstance(location, GivesKeys):
        raise KeyDoesNotLeave(address=stored.address, next_step=_WRAPPED)


def _write(path: Path, parcels: Sequence[Parcel], place: Workplace) -> None:
    from dojang.locations.pkcs12 import Pkcs12Location

    labels: set[str] = set()
    with place.open_target(Pkcs12Address(str(path)).to_text()) as box:
        assert isinstance(box, Pkcs12Location)
        with box.at_once():
            for parcel in parcels:
                label = _free(parcel.label, labels)
                labels.add(label)
                put_in(parcel, box, label)


def _refuse_too_many(parcels: Sequence[Parcel]) -> None:
    """``NotPermitted`` for more than one file holds."""
    from dojang.npki.pkcs12 import MAX_BAGS

    above = {der for parcel in parcels for der in parcel.chain_der}
    count = len(above) + sum(4 if "km" in parcel.companions.names() else 2 for parcel in parcels)
    if count > MAX_BAGS:
        raise NotPermitted(
            problem=Phrase(
                "one file holds {limit} keys and certificates, and these are {count}", limit=MAX_BAGS, count=count
            ),
            remedy="Name the credentials, and make several backups of them.",
        )


def _free(label: str, taken: set[str]) -> str:
    numbered = (label if number == 1 else f"{label} {number}" for number in range(1, len(taken) + 2))
    return next(one for one in numbered if one not in taken)
