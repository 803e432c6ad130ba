"""What revocation lists say of a certificate (RFC 5280 sections 5 and 6.3): complete lists of the issuer itself only.

A list for part of the certificates, a delta list or one signed by somebody else tells nothing here, never "good".
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509

from dojang.x509.reading import UNREADABLE

GOOD, REVOKED, SUSPENDED, UNKNOWN = "good", "revoked", "suspended", "unknown"
_BEST_FIRST = (GOOD, UNKNOWN, SUSPENDED, REVOKED)


def state_of(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Iterable[x509.CertificateRevocationList],
    at: datetime,
) -> str:
    """``good``, ``revoked``, ``suspended`` or ``unknown`` at the moment ``at``."""
    speaking = sorted((crl for crl in crls if _speaks_for(crl, issuer)), key=lambda crl: crl.last_update_utc)
    states = [_state_in(crl, certificate, at) for crl in speaking]
    if REVOKED in states:
        return REVOKED
    # Of the rest the newest list that covers the moment decides: a suspension may have ended.
    return next((state for state in reversed(states) if state != UNKNOWN), UNKNOWN)


def worst_of(states: Sequence[str]) -> str:
    """The state of a whole path."""
    return max(states, key=_BEST_FIRST.index, default=UNKNOWN)


def _speaks_for(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Whether the issuer signed this list, with a key that may, over everything that it issued."""
    try:
        if crl.issuer != issuer.subject or any(extension.critical for extension in crl.extensions):
            return False
        if not issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass
    except UNREADABLE:
        return False
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # another kind raises TypeError
    except UNREADABLE:
        return False


def _state_in(crl: x509.CertificateRevocationList, certificate: x509.Certificate, at: datetime) -> str:
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is not None and _since(entry) <= at:
        held = _reason(entry) is x509.ReasonFlags.certificate_hold
        # What is revoked stays revoked, so an old list still tells; a suspension needs a list of the time.
        return REVOKED if not held else SUSPENDED if _covers(crl, at) else UNKNOWN
    expired_before = certificate.not_valid_after_utc < crl.last_update_utc  # it may have been dropped from the list
    return GOOD if _covers(crl, at) and not expired_before else UNKNOWN


def _covers(crl: x509.CertificateRevocationList, at: datetime) -> bool:
    return crl.next_update_utc is not None and at <= crl.next_update_utc


def _since(entry: x509.RevokedCertificate) -> datetime:
    try:
        invalid = entry.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc
        return min(invalid, entry.revocation_date_utc)
    except (x509.ExtensionNotFound, *UNREADABLE):
        return entry.revocation_date_utc


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, *UNREADABLE):
        return x509.ReasonFlags.unspecified
