"""A subscriber's requests: for a certificate, signed by its key where it lies, and for a revocation."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cryptography import x509

from dojang.cmp.bodies import Revocation
from dojang.cmp.crmf import CertificateId, CertificateTemplate, build_request
from dojang.der import OCTET_STRING, SEQUENCE, oid, tlv
from dojang.x509.alternative_names import parse_alternative_names
from dojang.x509.reading import read_certificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey


def request_for(
    key: "PrivateKey", subject: x509.Name, alternative_names: Iterable[str] = (), replaces_der: bytes | None = None
) -> bytes:
    """A CertReqMsg in DER for these names; ``replaces_der`` is the certificate that the new one comes after.

    Raises ``Usage`` for an alternative name that is none; what the key's location raises passes through.
    """
    names = parse_alternative_names(alternative_names)
    extensions = () if names is None else (_extension_der(names),)
    template = CertificateTemplate(subject=subject, extensions_der=extensions)
    replaces = None if replaces_der is None else certificate_id(replaces_der)
    return build_request(key, template, replaces=replaces).to_der()


def revocation_of(certificate_der: bytes, reason: x509.ReasonFlags) -> Revocation:
    """Which certificate, and why (RFC 5280 section 5.3.1)."""
    named = certificate_id(certificate_der)
    template = CertificateTemplate(issuer=named.issuer, serial=named.serial)
    return Revocation(template, (_extension_der(x509.CRLReason(reason)),))


def certificate_id(certificate_der: bytes) -> CertificateId:
    """A certificate by its issuer and serial."""
    certificate = read_certificate(certificate_der)
    return CertificateId(certificate.issuer, certificate.serial_number)


def _extension_der(value: x509.ExtensionType) -> bytes:
    """Not critical; these are only asked for."""
    return bytes(tlv(SEQUENCE, oid(value.oid.dotted_string), tlv(OCTET_STRING, value.public_bytes())))
