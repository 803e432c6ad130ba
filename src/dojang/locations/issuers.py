"""The certificates of issuers that lie in a location beside those of signers."""

from collections.abc import Sequence
from datetime import UTC, datetime

from dojang.errors import FileMalformed

_BASIC_CONSTRAINTS = bytes.fromhex("0603551d13")
_LONGEST_CHAIN = 10


def is_authority(certificate_der: bytes) -> bool:
    """Whether basicConstraints says CA (RFC 5280 4.2.1.9); what cannot be read does not say so."""
    from cryptography import x509

    from dojang.x509.reading import UNREADABLE, read_certificate

    if _BASIC_CONSTRAINTS not in certificate_der:
        return False
    try:
        extensions = read_certificate(certificate_der).extensions
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (FileMalformed, x509.ExtensionNotFound, *UNREADABLE):
        return False


def authority_facts(certificate_der: bytes) -> tuple[str, bytes]:
    """The label and the CKA_ID under which an issuer is kept: its common name and its subject key identifier."""
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(certificate_der)
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    label = str(names[0].value) if names else certificate.subject.rfc4514_string()
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return label, identifier


def chain_among(certificate_der: bytes, candidates_der: Sequence[bytes]) -> tuple[bytes, ...]:
    """The path from a certificate upwards through the candidates, as far as signatures carry it; its issuer first."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from dojang.x509.path import is_signed_by

    authorities = [x509.load_der_x509_certificate(der) for der in candidates_der if is_authority(der)]
    path = [x509.load_der_x509_certificate(certificate_der)]
    while len(path) <= _LONGEST_CHAIN and path[-1].issuer != path[-1].subject:
        issuer = next((one for one in authorities if is_signed_by(path[-1], one)), None)
        if issuer is None or issuer in path:
            break
        path.append(issuer)
    return tuple(one.public_bytes(Encoding.DER) for one in path[1:])


def not_before(certificate_der: bytes) -> datetime:
    """When a certificate begins; the beginning of time for what is not one."""
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate_der).not_valid_before_utc
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
