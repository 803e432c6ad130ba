"""A CMS SignedData taken apart as it streams by (RFC 5652 section 5): values out, nothing judged yet.

BER is accepted in the frames around the content, as signers that stream write it; every smaller part must be DER.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dojang.der import (
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    Element,
    MalformedDer,
    children,
    expect,
    read_integer,
    set_of,
)
from dojang.errors import Phrase
from dojang.signing import oids
from dojang.signing.algorithms import SignatureAlgorithm, read_digest_identifier, read_signature_identifier
from dojang.signing.ber import BerReader
from dojang.signing.content import ContentDigest

_MEMBER_BYTES = 1 << 20
_CRL_BYTES = 16 << 20
_MEMBERS = 64
_ANNOUNCED = 16


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """One signature. ``attributes`` is ``None`` where the content was signed directly.

    ``attributes_der`` is what such a signature covers: the attributes as a DER SET OF, however they were sent.
    """

    issuer_der: bytes | None
    serial_number: int | None
    key_identifier: bytes | None
    digest_name: str | None
    attributes: tuple[tuple[bytes, tuple[Element, ...]], ...] | None
    attributes_der: bytes
    algorithm: SignatureAlgorithm
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A whole SignedData. ``content`` is ``None`` when the signature is detached."""

    content_type: bytes
    content: ContentDigest | None
    certificates_der: tuple[bytes, ...]
    crls_der: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


def read_signed_message(reader: BerReader, on_content: Callable[[memoryview], object]) -> SignedMessage:
    """Read one SignedData to its end, handing its content on piece by piece; ``MalformedDer`` when it is not one."""
    reader.enter(SEQUENCE)
    if reader.element(OID, 64).der != oids.SIGNED_DATA:
        raise MalformedDer(Phrase("its content type is not SignedData"))
    reader.enter(0xA0)
    reader.enter(SEQUENCE)
    if read_integer(reader.element(INTEGER, 8)) not in (1, 3, 4, 5):
        raise MalformedDer(Phrase("its version is unknown"))
    announced = {read_digest_identifier(element) for element in _members(reader, SET, SEQUENCE, _MEMBER_BYTES)}
    content_type, content = _read_content(reader, {name for name in announced if name}, on_content)
    certificates = _optional(reader, 0xA0, _MEMBER_BYTES)
    crls = _optional(reader, 0xA1, _CRL_BYTES)
    signers = tuple(_read_signer(element) for element in _members(reader, SET, SEQUENCE, _MEMBER_BYTES))
    for _ in range(3):
        reader.leave()
    reader.finish()
    return SignedMessage(content_type, content, certificates, crls, signers)


def _members(reader: BerReader, frame: int, tag: int | None, most: int) -> Iterator[Element]:
    reader.enter(frame)
    count = 0
    while (found := reader.next_tag()) is not None:
        count += 1
        if count > _MEMBERS:
            raise MalformedDer(Phrase("a set has more than {limit} members", limit=_MEMBERS))
        yield reader.element(tag or found, most)
    reader.leave()


def _optional(reader: BerReader, frame: int, most: int) -> tuple[bytes, ...]:
    # Other kinds of certificates and revocation information are tagged and passed over (RFC 5652 section 10.2).
    if reader.next_tag() != frame:
        return ()
    return tuple(element.der for element in _members(reader, frame, None, most) if element.tag == SEQUENCE)


def _read_content(
    reader: BerReader, announced: set[str], on_content: Callable[[memoryview], object]
) -> tuple[bytes, ContentDigest | None]:
    reader.enter(SEQUENCE)
    content_type = reader.element(OID, 64).der
    content = None
    if reader.next_tag() is not None:
        reader.enter(0xA0)
        content = ContentDigest(announced, keep="sha512" in announced)
        for part in reader.octets():
            content.update(part)
            on_content(part)
        reader.leave()
    reader.leave()
    return content_type, content


def _read_signer(element: Element) -> SignerInfo:
    fields = children(element)
    if len(fields) < 5 or read_integer(fields[0]) not in (1, 3):
        raise MalformedDer(Phrase("a SignerInfo is incomplete or of an unknown version"))
    issuer_der, serial_number, key_identifier = _read_identifier(fields[1])
    signed = fields.pop(3) if fields[3].tag == 0xA0 else None
    if len(fields) < 5 or [field.tag for field in fields[5:]] not in ([], [0xA1]):
        raise MalformedDer(Phrase("a SignerInfo has something after its signature"))
    return SignerInfo(
        issuer_der=issuer_der,
        serial_number=serial_number,
        key_identifier=key_identifier,
        digest_name=read_digest_identifier(fields[2]),
        attributes=None if signed is None else tuple(_read_attribute(field) for field in children(signed)),
        attributes_der=b"" if signed is None else set_of(*(field.der for field in children(signed))),
        algorithm=read_signature_identifier(fields[3]),
        signature=expect(fields[4], OCTET_STRING).content,
    )


def _read_identifier(element: Element) -> tuple[bytes | None, int | None, bytes | None]:
    if element.tag == 0x80:
        return None, None, element.content
    parts = children(expect(element, SEQUENCE))
    if len(parts) != 2:
        raise MalformedDer(Phrase("a signer is not named by issuer and serial number"))
    return expect(parts[0], SEQUENCE).der, read_integer(parts[1]), None


def _read_attribute(element: Element) -> tuple[bytes, tuple[Element, ...]]:
    parts = children(expect(element, SEQUENCE))
    if len(parts) != 2:
        raise MalformedDer(Phrase("an attribute is not a type and its values"))
    return expect(parts[0], OID).der, tuple(children(expect(parts[1], SET)))
