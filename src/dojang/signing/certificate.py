"""The few things a signature says about its signer's certificate: issuer and serial number, and the hash of it."""

from dataclasses import dataclass

from dojang.der import SEQUENCE, MalformedDer, children, expect, parse, read_integer
from dojang.errors import Phrase


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """Issuer as the exact bytes in the certificate, so that comparing and copying never re-encodes a name."""

    issuer_der: bytes
    serial_number: int
    serial_der: bytes


def identify(certificate_der: bytes) -> CertificateIdentity:
    """Issuer and serial number of a certificate (RFC 5280 section 4.1); ``MalformedDer`` when it is not one."""
    parts = children(parse(certificate_der, SEQUENCE))
    fields = children(expect(parts[0], SEQUENCE)) if parts else []
    if fields and fields[0].tag == 0xA0:
        del fields[0]
    if len(fields) < 3:
        raise MalformedDer(Phrase("a certificate is incomplete"))
    serial, _, issuer = fields[:3]
    return CertificateIdentity(expect(issuer, SEQUENCE).der, read_integer(serial), serial.der)
