"""What a change means beyond the one certificate: its copies, and the older ones that the same hands may hold."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dojang.ledger import Event
from dojang.lifecycle.asking import is_elsewhere
from dojang.lifecycle.journal import identity_of
from dojang.lifecycle.meant import issuer_known
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.status import local_authority
from dojang.lifecycle.where import holding
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import StoredCredential

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority
    from dojang.authority.store import Record


@dataclass(frozen=True, slots=True)
class Fallout:
    """The addresses where a revoked certificate is known to lie besides; and what came before a compromised one and is
    still valid.
    """

    copies: tuple[str, ...] = ()
    standing: "tuple[Record, ...]" = ()


def fallout_of(place: Workplace, certificate_der: bytes, *known: str | None, compromised: bool) -> Fallout:
    """As far as ledger and authority tell; ``known`` are the addresses that need not be told."""
    copies = _copies(place, certificate_der, *known)
    if not compromised:
        return Fallout(copies)
    with place.open_authority(issuer_known(place, certificate_der).authority) as authority:
        return Fallout(copies, compromised_with(authority, certificate_der, place.now()))


def copies_of(place: Workplace, replaced: Iterable[StoredCredential]) -> dict[bytes, tuple[str, ...]]:
    """The addresses at which certificates that were replaced lie besides, by certificate; the ledger is read once."""
    wanted = {fingerprint_of(one.certificate_der): one for one in replaced}
    histories: dict[str, list[Event]] = defaultdict(list)
    for event in place.ledger.history() if wanted else ():
        if event.fingerprint in wanted:
            histories[event.fingerprint].append(event)
    copies = ((one.certificate_der, _copies_in(histories[name], one.address)) for name, one in wanted.items())
    return {certificate_der: found for certificate_der, found in copies if found}


def _copies(place: Workplace, certificate_der: bytes, *others: str | None) -> tuple[str, ...]:
    """Where else the certificate is in use."""
    return _copies_in(place.ledger.history(fingerprint=fingerprint_of(certificate_der)), *others)


def _copies_in(history: Sequence[Event], *others: str | None) -> tuple[str, ...]:
    if not (left := sorted(holding(history))):
        return ()
    known = {identity_of(address) for address in others if address is not None}
    found = {str(event.facts.get("location")): event.address for event in history}
    return tuple(found[location] for location in left if identity_of(location) not in known)


def compromised_with(authority: "CertificateAuthority", certificate_der: bytes, at: datetime) -> tuple["Record", ...]:
    """The certificates that a compromised one came after, and that are neither revoked nor expired.

    They lie beside it, retired, or are for the same key: whoever has the one may have them all.
    """
    if is_elsewhere(authority):
        return ()  # its records are not here
    local, found = local_authority(authority), []
    record = local.find(serial_in(certificate_der))
    while record.replaces is not None:
        record = local.find(record.replaces)
        if record.state != "revoked" and record.not_after_at > at:
            found.append(record)
    return tuple(found)


def serial_in(certificate_der: bytes) -> str:
    """The serial of a certificate in hex, as the authority's records have it."""
    from dojang.x509.reading import read_certificate

    return f"{read_certificate(certificate_der).serial_number:x}"
