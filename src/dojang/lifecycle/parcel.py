"""A credential taken out of its place, whole: what a copy of it is made from. It is in memory only."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dojang.errors import KeyDoesNotLeave, VerificationFailed
from dojang.lifecycle.workplace import Check
from dojang.locations.base import Companions, GivesKeys, HoldsCompanions, HoldsR, Location, StoredCredential
from dojang.locations.labels import Label

if TYPE_CHECKING:
    from dojang.npki.pkcs8 import Pkcs8

RANDOM_NUMBER = "r"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Key with its R, certificate, chain and companions, and where they came from: an address or a file."""

    label: str
    certificate_der: bytes
    key: "Pkcs8" = field(repr=False)
    chain_der: tuple[bytes, ...] = ()
    companions: Companions = field(default_factory=Companions, repr=False)
    origin: str = ""

    def check_pair(self) -> None:
        """Refuse a key that is not the certificate's, before anything is made of it. ``CertificateUnusable``."""
        from dojang.npki.keyfile import load_key
        from dojang.x509.challenge import prove_possession

        prove_possession(load_key(self.key, self.origin), self.certificate_der)

    def left_out_by(self, location: Location) -> frozenset[str]:
        """What of ``r``, ``km`` and ``ca_pubs`` is here and cannot be kept there."""
        held = location.companions_held if isinstance(location, HoldsCompanions) else frozenset()
        holds_r = location.holds_r if isinstance(location, HoldsR) else location.traits.holds_r
        r = frozenset() if holds_r or self.key.random_number is None else frozenset({RANDOM_NUMBER})
        return (self.companions.names() - held) | r


def take_out(location: Location, stored: StoredCredential) -> Parcel:
    """The credential as it lies in ``location``; its key has been seen to fit.

    ``KeyDoesNotLeave`` where it stays for good, ``CertificateUnusable`` for a key that is another certificate's.
    """
    if not isinstance(location, GivesKeys):
        raise KeyDoesNotLeave(address=stored.address)
    companions = location.export_companions(stored.key_id) if isinstance(location, HoldsCompanions) else Companions()
    parcel = Parcel(
        label=name_of(stored),
        certificate_der=stored.certificate_der,
        key=location.export_key(stored.key_id),
        chain_der=location.chain_of(stored.certificate_der),
        companions=companions,
        origin=stored.address,
    )
    parcel.check_pair()
    return parcel


def name_of(stored: StoredCredential) -> str:
    """What it is called, without the state that a label may tell."""
    return Label.from_text(stored.label).name


def compare(parcel: Parcel, location: Location, stored: StoredCredential) -> tuple[Check, ...]:
    """What of the parcel is found again in ``location``; ``VerificationFailed`` where anything differs."""
    checks = compared(parcel, location, stored)
    if wrong := tuple(check.name for check in checks if not check.ok):
        raise VerificationFailed(problems=wrong, next_step="Nothing was kept there; the original is as it was.")
    return checks


def compared(parcel: Parcel, location: Location, stored: StoredCredential) -> tuple[Check, ...]:
    """What was looked at, beginning with what has been proven already: that its key signs for the certificate."""
    return (
        Check("opened-again", True, stored.address),
        Check("signature", True),
        *_random_number(parcel, location, stored),
        *_chain(parcel, location),
        *_companions(parcel, location, stored),
    )


def _random_number(parcel: Parcel, location: Location, stored: StoredCredential) -> Iterator[Check]:
    if parcel.key.random_number is None or RANDOM_NUMBER in parcel.left_out_by(location):
        return
    if isinstance(location, HoldsR):
        yield Check(RANDOM_NUMBER, location.random_number(stored.key_id) == parcel.key.random_number)
    elif isinstance(location, GivesKeys):
        yield Check(RANDOM_NUMBER, location.export_key(stored.key_id).random_number == parcel.key.random_number)


def _chain(parcel: Parcel, location: Location) -> Iterator[Check]:
    if parcel.chain_der:
        found = location.chain_of(parcel.certificate_der)
        yield Check("chain", set(parcel.chain_der) <= set(found), str(len(parcel.chain_der)))


def _companions(parcel: Parcel, location: Location, stored: StoredCredential) -> Iterator[Check]:
    expected = parcel.companions.names() - parcel.left_out_by(location)
    if not expected or not isinstance(location, HoldsCompanions):
        return
    found = location.export_companions(stored.key_id)
    km = (parcel.companions.km_certificate_der, parcel.companions.km_key)
    same = {
        "km": (found.km_certificate_der, found.km_key) == km,
        "ca_pubs": found.ca_pubs == parcel.companions.ca_pubs,
    }
    yield from (Check(name, same[name]) for name in sorted(expected))
