"""A new key in a location, able to leave it for a backup where that was asked."""

from typing import TYPE_CHECKING

from dojang.errors import Phrase, UnsupportedOperation
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.workplace import Workplace
from dojang.locations.base import KeepsKeys, Location, WrapsKeys
from dojang.pkcs11.uri import Pkcs11Uri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey


def make_key(
    location: Location,
    algorithm: str,
    *,
    key_id: bytes,
    label: str,
    replaces: bytes | None = None,
    backup_under: str | None = None,
) -> "PrivateKey":
    """As ``Location.generate``; ``backup_under`` names the wrapping key under which this one may leave its token."""
    if backup_under is None:
        return location.generate(algorithm, key_id=key_id, label=label, replaces=replaces)
    wraps = wrapping(location)
    kek = wraps.wrapping_key(backup_under)
    return wraps.generate_wrappable(algorithm, key_id=key_id, label=label, under=kek, replaces=replaces)


def refuse_no_new_key(location: Location, address: str, *, keep_key_allowed: bool = False) -> None:
    """``UnsupportedOperation`` where another program makes the keys: no successor there gets a new one."""
    if not isinstance(location, KeepsKeys):
        return
    advice = Phrase(
        "Make a key in another place of the card with the card's own program, unless 'dojang token show' lists one, "
        "and have that one certified: dojang cert issue --to ADDRESS"
    )
    if keep_key_allowed:
        advice = Phrase("Renew it with the key that it has: dojang renew now '{address}' --keep-key", address=address)
    raise UnsupportedOperation(
        where=location.address, operation=Phrase("make the new key of a successor"), next_step=advice
    )


def wrapping(location: Location) -> WrapsKeys:
    """The location as one that wraps keys; ``UnsupportedOperation`` for one that does not."""
    if not isinstance(location, WrapsKeys):
        raise UnsupportedOperation(where=location.address, operation=Phrase("wrap keys; only tokens and HSMs can"))
    return location


def backup_of(place: Workplace, location: Location, certificate_der: bytes) -> str | None:
    """The wrapping key that the key of a certificate was made for, so that its successor's is made for it too."""
    if not isinstance(location, WrapsKeys):
        return None
    history = place.ledger.history(fingerprint=fingerprint_of(certificate_der))
    named = [str(event.facts["backup_under"]) for event in history if "backup_under" in event.facts]
    return name_anywhere(named[-1]) if named else None


def name_anywhere(kek: str) -> str:
    """What finds the wrapping key on other tokens, too: the label alone, where an address has one."""
    return (Pkcs11Uri.from_text(kek).object or kek) if kek.startswith("pkcs11:") else kek
