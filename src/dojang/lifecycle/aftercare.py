"""What whoever has a new credential is told to check, checked: stored, valid, issued by whom, and that it signs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from dojang.errors import Phrase
from dojang.lifecycle.new_key import backup_of
from dojang.lifecycle.workplace import Check, Workplace
from dojang.locations.base import Location, StoredCredential

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class LookedAfter:
    """What was checked, and the wrapping key under which the key can leave its token, if it was made for that."""

    checks: tuple[Check, ...]
    backup_under: str | None = None


def tell_checks(place: Workplace, location: Location, stored: StoredCredential) -> None:
    """Look after a credential whose key has just signed a challenge, where somebody wants to know."""
    if place.tell_checked is not None:
        under = backup_of(place, location, stored.certificate_der)
        place.tell_checked(LookedAfter(look_after(place, location, stored), under))


def look_after(place: Workplace, location: Location, stored: StoredCredential) -> tuple[Check, ...]:
    """Check a credential that is in use, looking at its location afresh; its key has signed just before."""
    from cryptography.x509 import load_der_x509_certificate

    certificate = load_der_x509_certificate(stored.certificate_der)
    above = [load_der_x509_certificate(der) for der in location.chain_of(stored.certificate_der)]
    return (
        Check("stored", _is_there(location, stored), stored.address),
        _validity(place, certificate),
        Check("issuer", _is_issued_by(certificate, above[:1]), certificate.issuer.rfc4514_string()),
        Check("chain", _is_issued_by(certificate, above), str(len(above))),
        Check("signature", True),
    )


def _is_there(location: Location, stored: StoredCredential) -> bool:
    """The very certificate, in use, with a private key under the same id."""
    same = [one for one in location.credentials() if one.live and one.certificate_der == stored.certificate_der]
    return any(one.key_id == stored.key_id for one in same) and location.has_key(stored.key_id)


def _validity(place: Workplace, certificate: "Certificate") -> Check:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Check("validity", begin <= place.now() < end, Phrase("from {begin} to {end}", begin=begin, end=end))


def _is_issued_by(certificate: "Certificate", above: "Sequence[Certificate]") -> bool:
    """Whether each of the certificates above issued the one below it, the first the certificate; there must be one."""
    from dojang.x509.path import is_signed_by

    return bool(above) and all(is_signed_by(one, issuer) for one, issuer in pairwise([certificate, *above]))
