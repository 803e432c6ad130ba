"""What revocation lists say of a certificate (RFC 5280 sections 5 and 6.3): lists of the issuer itself only.

A list for a part of the certificates tells of those in it: of users or of authorities, or of those that name the list's
own distribution point. A delta list, one for some reasons only or one signed by somebody else tells nothing here, never
"good".
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from cryptography import x509

from dojang.errors import Phrase
from dojang.x509.path_checks import WEAK_HASHES
from dojang.x509.reading import UNREADABLE

GOOD, REVOKED, SUSPENDED, UNKNOWN = "good", "revoked", "suspended", "unknown"
_LDAP = ("ldap://", "ldaps://")
_BEST_FIRST = (GOOD, UNKNOWN, SUSPENDED, REVOKED)


def state_of(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Iterable[x509.CertificateRevocationList],
    at: datetime,
) -> str:
    """``good``, ``revoked``, ``suspended`` or ``unknown`` at the moment ``at``."""
    speaking = sorted(
        (crl for crl in crls if why_silent(crl, certificate, issuer) is None), key=lambda crl: crl.last_update_utc
    )
    states = [state_in(crl, certificate, at) for crl in speaking]
    if REVOKED in states:
        return REVOKED
    # Of the rest the newest list that covers the moment decides: a suspension may have ended.
    return next((state for state in reversed(states) if state != UNKNOWN), UNKNOWN)


def worst_of(states: Sequence[str]) -> str:
    """The state of a whole path."""
    return max(states, key=_BEST_FIRST.index, default=UNKNOWN)


def why_silent(
    crl: x509.CertificateRevocationList, certificate: x509.Certificate, issuer: x509.Certificate
) -> Phrase | None:
    """Why a list tells nothing of a certificate: ``None`` where its issuer signed it, with a key that may."""
    try:
        if crl.issuer != issuer.subject:
            return Phrase("it is another authority's")
        if not _covers_certificate(crl, certificate):
            return Phrase("it is not for this certificate")
        if not _may_sign_lists(issuer):
            return Phrase("the key of the authority may not sign lists")
        used = crl.signature_hash_algorithm
        if used is not None and used.name in WEAK_HASHES:
            return Phrase("it was signed with {hash}, which is too weak", hash=used.name)
        if not crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]  # another kind raises TypeError
            return Phrase("its signature is not the authority's")
    except UNREADABLE:
        return Phrase("it cannot be decoded")
    return None


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _covers_certificate(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    """Whether the certificate would stand in this list if it were revoked (RFC 5280 section 6.3.3 (b))."""
    for extension in crl.extensions:
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            if not _is_in_part(extension.value, certificate):
                return False
        elif extension.critical or isinstance(extension.value, x509.DeltaCRLIndicator):
            return False
    return True


def _is_in_part(part: x509.IssuingDistributionPoint, certificate: x509.Certificate) -> bool:
    if part.indirect_crl or part.only_some_reasons or part.only_contains_attribute_certs or part.relative_name:
        return False
    if part.only_contains_ca_certs if not _is_authority(certificate) else part.only_contains_user_certs:
        return False
    published = map(_entry, _distribution_points(certificate))
    return not part.full_name or not set(map(_entry, part.full_name)).isdisjoint(published)


def _entry(name: x509.GeneralName) -> object:
    """What tells one distribution point from another: on LDAP the entry, whose name has no case, not the attribute."""
    if not isinstance(name, x509.UniformResourceIdentifier) or not name.value.lower().startswith(_LDAP):
        return name
    return name.value.partition("?")[0].casefold().replace(":389/", "/")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _distribution_points(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """The names under which the issuer itself publishes complete lists, as far as reasons go."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    whole = [point for point in points if not (point.crl_issuer or point.reasons)]
    return [name for point in whole for name in point.full_name or ()]


def list_addresses(certificate: x509.Certificate) -> list[str]:
    """The addresses (``http:``, ``ldap:`` …) at which the certificate says that its issuer publishes lists."""
    try:
        names = _distribution_points(certificate)
    except UNREADABLE:
        return []
    return [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]


def state_in(crl: x509.CertificateRevocationList, certificate: x509.Certificate, at: datetime) -> str:
    """The state that a list tells which is not silent."""
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    # What a list of that time has in it was revoked then, whatever later moment the entry names.
    if entry is not None and (since(entry) <= at or crl.last_update_utc <= at):
        held = _reason(entry) is x509.ReasonFlags.certificate_hold
        # What is revoked stays revoked, so an old list still tells; a suspension needs a list of the time.
        return REVOKED if not held else SUSPENDED if _covers(crl, at) else UNKNOWN
    expired_before = certificate.not_valid_after_utc < crl.last_update_utc  # it may have been dropped from the list
    return GOOD if _covers(crl, at) and not expired_before else UNKNOWN


def _covers(crl: x509.CertificateRevocationList, at: datetime) -> bool:
    return crl.next_update_utc is not None and at <= crl.next_update_utc


def since(entry: x509.RevokedCertificate) -> datetime:
    """From when an entry holds: the key may have been unsafe before it was listed."""
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
