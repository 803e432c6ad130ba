"""A certificate for the key of an authority that has one already, so that whoever trusts us can trust it.

When a root gets a new key, two of these tie the generations together (RFC 9810 section 4.4): the new key certified by
the old one, for those who know the old root, and the old key by the new one, for those who know only the new.
"""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from dojang.authority.addresses import addresses_for
from dojang.authority.certificate import Draft, sign_certificate
from dojang.authority.hierarchy.certifying import Above, check_key, new_serial
from dojang.errors import CertificateUnusable, Phrase
from dojang.x509.keys import same_key
from dojang.x509.name import format_name
from dojang.x509.profiles import profile
from dojang.x509.reading import UNREADABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

PROFILE = "cross"
"""What the record says of these in the place of a profile's name."""


def cross_sign(subject: x509.Certificate, above: Above, until: datetime | None = None) -> bytes:
    """The key and the name of ``subject``, certified by ``above``: as long as ``subject`` lasts, or ``until``.

    ``CertificateUnusable`` where it is no authority's, cannot stand below us, has our own key or one that is not good
    enough.
    """
    issuer = above.key.certificate
    _check_own_signature(subject)
    public_key: PublicKey = subject.public_key()
    if same_key(public_key, issuer.public_key()):
        raise _unusable(subject, Phrase("its key is the very key that would certify it"))
    check_key(public_key, profile("issuing"))
    begin_at, end_at = max(subject.not_valid_before_utc, issuer.not_valid_before_utc), end_of(subject, issuer, until)
    if end_at <= max(begin_at, above.at):
        raise _unusable(subject, Phrase("it has expired, or will have before the certificate would begin"))
    wanted = replace(profile("issuing"), path_length=_path_length(subject, issuer))
    addresses = addresses_for(wanted, above.base, above.key.id)
    draft = Draft(wanted, subject.subject, public_key, (), begin_at, end_at, addresses, _key_identifier(subject))
    return sign_certificate(draft, issuer, above.private, new_serial())


def end_of(subject: x509.Certificate, issuer: x509.Certificate, until: datetime | None) -> datetime:
    """Neither outlives the other."""
    return min(subject.not_valid_after_utc, issuer.not_valid_after_utc, *([until] if until else []))


def _check_own_signature(subject: x509.Certificate) -> None:
    """What says that it signed itself must have: that is its proof of the key."""
    if subject.subject == subject.issuer:
        try:
            subject.verify_directly_issued_by(subject)
        except (InvalidSignature, *UNREADABLE) as error:
            raise _unusable(subject, Phrase("its own signature is wrong")) from error


def _path_length(subject: x509.Certificate, issuer: x509.Certificate) -> int | None:
    """How many authorities may stand below it: no more than its own certificate and its issuer's allow.

    Between two keys of one name nothing is counted (RFC 5280 section 6.1.4 (l)).
    """
    own, above = _constraints(subject), _constraints(issuer)
    if above.path_length is None:
        return own.path_length
    left = above.path_length - (subject.subject != issuer.subject)
    if left < 0:
        raise _unusable(subject, Phrase("no authority may stand below {issuer}", issuer=format_name(issuer.subject)))
    return left if own.path_length is None else min(own.path_length, left)


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        found = x509.BasicConstraints(ca=False, path_length=None)
    if not found.ca:
        raise _unusable(certificate, Phrase("it is not an authority's certificate"))
    return found


def _key_identifier(subject: x509.Certificate) -> bytes | None:
    """As it calls itself: what it issued points to that."""
    try:
        return subject.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _unusable(certificate: x509.Certificate, problem: Phrase) -> CertificateUnusable:
    return CertificateUnusable(subject=format_name(certificate.subject), problem=problem)
