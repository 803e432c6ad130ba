"""Whether the signed reference to the signer's certificate is to this certificate (ESS, RFC 2634 and RFC 5035)."""

import hashlib
import hmac

from dojang.der import OCTET_STRING, SEQUENCE, Element, MalformedDer, children, expect, read_integer
from dojang.errors import Phrase
from dojang.signing.algorithms import read_digest_identifier
from dojang.signing.certificate import identify
from dojang.signing.signature import hash_is_allowed


def certificate_binding(value: Element | None, certificate_der: bytes, *, version_2: bool) -> Phrase | None:
    """What is wrong with the attribute's value, ``None`` when it names this certificate.

    Version 1 always hashes with SHA-1, which is refused.
    """
    try:
        if value is None:
            raise MalformedDer(Phrase("it does not have exactly one value"))
        return _compare(_first_reference(value), certificate_der, version_2=version_2)
    except MalformedDer as error:
        return Phrase("it cannot be read: {problem}", problem=error)


def _first_reference(value: Element) -> list[Element]:
    inside = children(expect(value, SEQUENCE))
    references = children(expect(inside[0], SEQUENCE)) if inside else []
    if not references:
        raise MalformedDer(Phrase("it names no certificate"))
    return children(expect(references[0], SEQUENCE))


def _compare(fields: list[Element], certificate_der: bytes, *, version_2: bool) -> Phrase | None:
    hash_name = "sha256" if version_2 else "sha1"
    if version_2 and fields and fields[0].tag == SEQUENCE:
        hash_name = read_digest_identifier(fields.pop(0)) or "unknown"
    if not hash_is_allowed(hash_name):
        return Phrase("{hash} is not accepted", hash=hash_name)
    if not fields:
        raise MalformedDer(Phrase("it names no certificate"))
    fingerprint = expect(fields[0], OCTET_STRING).content
    if not hmac.compare_digest(fingerprint, hashlib.new(hash_name, certificate_der).digest()):
        return Phrase("it names another certificate")
    if len(fields) > 1 and not _names_issuer(fields[1], certificate_der):
        return Phrase("it names another issuer or serial number")
    return None


def _names_issuer(issuer_serial: Element, certificate_der: bytes) -> bool:
    parts = children(expect(issuer_serial, SEQUENCE))
    if len(parts) != 2:
        raise MalformedDer(Phrase("its issuer and serial number are incomplete"))
    identity = identify(certificate_der)
    names = [name.content for name in children(expect(parts[0], SEQUENCE)) if name.tag == 0xA4]
    return identity.issuer_der in names and read_integer(parts[1]) == identity.serial_number
