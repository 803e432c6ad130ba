"""The ASN.1 of CMP (RFC 9810, appendix F) and CRMF (RFC 4211), as far as it is spoken here; strict DER.

Three forms that ``hazmat.asn1`` cannot say have a way round each. An OPTIONAL ANY is a ``list[TLV]`` around it
(``Algorithm``, ``TypedValue``). A CHOICE that may hold a SEQUENCE OF is a ``TLV`` (PKIBody, ProofOfPossession). A
SEQUENCE OF, which cannot stand alone, is the only field of a SEQUENCE put around it (``decode_list``, ``encode_list``).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import TLV, BitString, Explicit, GeneralizedTime, Implicit, UTCTime, sequence

from dojang.cmp.faults import CmpFault, FailInfo
from dojang.der import SEQUENCE, tlv

T = TypeVar("T")
_MOST_ITEMS = 64

# What stands in a SEQUENCE with an optional ANY at its end: an OID, and perhaps one value more.
Algorithm = list[TLV]
TypedValue = list[TLV]
FreeText = list[str]


@sequence
class Frame:
    """PKIMessage, with header and body as they came: those are the bytes that are protected."""

    header: TLV
    body: TLV
    protection: Annotated[BitString | None, Explicit(0)]
    extra_certificates: Annotated[list[TLV] | None, Explicit(1)]


@sequence
class PkiHeader:
    version: int
    sender: TLV
    recipient: TLV
    message_time: Annotated[GeneralizedTime | None, Explicit(0)]
    protection: Annotated[Algorithm | None, Explicit(1)]
    sender_key_id: Annotated[bytes | None, Explicit(2)]
    recipient_key_id: Annotated[bytes | None, Explicit(3)]
    transaction_id: Annotated[bytes | None, Explicit(4)]
    sender_nonce: Annotated[bytes | None, Explicit(5)]
    recipient_nonce: Annotated[bytes | None, Explicit(6)]
    free_text: Annotated[FreeText | None, Explicit(7)]
    information: Annotated[list[TypedValue] | None, Explicit(8)]


@sequence
class StatusInfo:
    status: int
    text: FreeText | None
    failure: BitString | None


@sequence
class KeyPair:
    """CertifiedKeyPair; ``certificate`` is the CHOICE of a certificate [0] and an encrypted one [1]."""

    certificate: TLV
    private_key: Annotated[Algorithm | None, Explicit(0)]
    publication: Annotated[Algorithm | None, Explicit(1)]


@sequence
class CertResponse:
    request_id: int
    status: StatusInfo
    key_pair: KeyPair | None
    information: bytes | None


@sequence
class CertRepMessage:
    ca_certificates: Annotated[list[TLV] | None, Explicit(1)]
    responses: list[CertResponse]


@sequence
class CertStatus:
    certificate_hash: bytes
    request_id: int
    status: StatusInfo | None
    hash_algorithm: Annotated[Algorithm | None, Explicit(0)]


@sequence
class ErrorContent:
    status: StatusInfo
    code: int | None
    details: FreeText | None


@sequence
class PollAnswer:
    request_id: int
    check_after: int
    reason: FreeText | None


@sequence
class PollQuestion:
    request_id: int


@sequence
class IssuerAndSerial:
    """CertId; the issuer is a GeneralName."""

    issuer: TLV
    serial: int


@sequence
class RevRepContent:
    status: list[StatusInfo]
    certificates: Annotated[list[IssuerAndSerial] | None, Explicit(0)]
    lists: Annotated[list[TLV] | None, Explicit(1)]


@sequence
class Validity:
    """OptionalValidity; the times are CHOICEs and therefore tagged explicitly."""

    not_before: Annotated[UTCTime | GeneralizedTime | None, Explicit(0)]
    not_after: Annotated[UTCTime | GeneralizedTime | None, Explicit(1)]


@sequence
class Template:
    """CertTemplate."""

    version: Annotated[int | None, Implicit(0)]
    serial: Annotated[int | None, Implicit(1)]
    signing_algorithm: Annotated[Algorithm | None, Implicit(2)]
    issuer: Annotated[x509.Name | None, Explicit(3)]
    validity: Annotated[Validity | None, Implicit(4)]
    subject: Annotated[x509.Name | None, Explicit(5)]
    public_key: Annotated[list[TLV] | None, Implicit(6)]
    issuer_uid: Annotated[BitString | None, Implicit(7)]
    subject_uid: Annotated[BitString | None, Implicit(8)]
    extensions: Annotated[list[TLV] | None, Implicit(9)]


@sequence
class CertRequest:
    request_id: int
    template: Template
    controls: list[TypedValue] | None


@sequence
class PublicKeyMac:
    """PKMACValue."""

    algorithm: Algorithm
    value: BitString


@sequence
class SigningKeyInput:
    """POPOSigningKeyInput; ``who`` is the CHOICE of sender [0] and PKMACValue."""

    who: TLV
    public_key: TLV


@sequence
class SigningKeyProof:
    """POPOSigningKey."""

    signed: Annotated[Algorithm | None, Implicit(0)]
    algorithm: Algorithm
    signature: BitString


@sequence
class RevocationDetails:
    template: Template
    extensions: list[TLV] | None


@sequence
class PasswordBasedMac:
    """PBMParameter (RFC 4211 section 4.4)."""

    salt: bytes
    owf: Algorithm
    iterations: int
    mac: Algorithm


@sequence
class Pbmac1:
    """PBMAC1-params (RFC 8018, A.5)."""

    derivation: Algorithm
    mac: Algorithm


@sequence
class Pbkdf2:
    """PBKDF2-params (RFC 8018, A.2); the salt is OCTET STRING, the other form of the CHOICE was never defined."""

    salt: bytes
    iterations: int
    key_length: int | None
    prf: Algorithm | None


@sequence
class RootUpdate:
    """RootCaKeyUpdateContent (RFC 9810 section 5.3.19.15)."""

    new_with_new: x509.Certificate
    new_with_old: Annotated[x509.Certificate | None, Explicit(0)]
    old_with_new: Annotated[x509.Certificate | None, Explicit(1)]


@sequence
class ListStatus:
    """CRLStatus (RFC 9810 section 5.3.19.17); ``source`` is the CHOICE of distribution point [0] and issuer [1]."""

    source: TLV
    this_update: UTCTime | GeneralizedTime | None


@sequence
class ListStatuses:
    items: list[ListStatus]


@sequence
class Requests:
    """CertReqMessages: of each CertReqMsg the parts; the proof in the middle is optional and a CHOICE."""

    items: list[list[TLV]]


@sequence
class Revocations:
    items: list[RevocationDetails]


@sequence
class CertStatuses:
    items: list[CertStatus]


@sequence
class TypedValues:
    items: list[TypedValue]


@sequence
class PollQuestions:
    items: list[PollQuestion]


@sequence
class PollAnswers:
    items: list[PollAnswer]


@sequence
class PlainAlgorithm:
    """AlgorithmIdentifier where it stands alone."""

    parts: Annotated[Algorithm, asn1.Size(1, 2)]


@sequence
class Many:
    """SEQUENCE OF anything, such as certificates."""

    items: list[TLV]


def decode(kind: type[T], der: bytes | memoryview) -> T:
    """Exactly one value of this kind. Raises ``CmpFault`` with badDataFormat."""
    try:
        return asn1.decode_der(kind, bytes(der))
    except (ValueError, TypeError, OverflowError) as error:
        raise malformed() from error


def decode_list(kind: type[T], der: bytes) -> T:
    """The same for a SEQUENCE OF; ``kind`` is the class with its one field."""
    return decode(kind, tlv(SEQUENCE, der))


def encode(value: object) -> bytes:
    return asn1.encode_der(value)


def encode_list(value: object) -> bytes:
    """The SEQUENCE OF that is the one field of ``value``."""
    return bytes(asn1.decode_der(TLV, asn1.encode_der(value)).data)


def few(items: Sequence[T]) -> Sequence[T]:
    """The same, before each is taken apart. Raises ``CmpFault`` with badDataFormat for more than anybody has to say."""
    if len(items) > _MOST_ITEMS:
        raise malformed()
    return items


def tlv_of(der: bytes | memoryview) -> TLV:
    """Any one value. Raises ``CmpFault`` with badDataFormat."""
    return decode(TLV, der)


def der_of(value: TLV) -> bytes:
    """The value as it came; in DER there is only one way to write tag and length."""
    return tlv(value.tag_bytes[0], bytes(value.data))


def oid_of(parts: list[TLV]) -> str:
    """What kind an algorithm or a typed value is, dotted. Raises ``CmpFault`` with badDataFormat."""
    if not 1 <= len(parts) <= 2:
        raise malformed()
    return _dotted(der_of(parts[0]))


@lru_cache(maxsize=256)
def _dotted(oid_der: bytes) -> str:
    return decode(x509.ObjectIdentifier, oid_der).dotted_string


def value_of(parts: list[TLV]) -> bytes | None:
    """The parameters of an algorithm or the value of a typed one, in DER."""
    return der_of(parts[1]) if len(parts) == 2 else None


def typed(oid_der: bytes, value_der: bytes | None = None) -> TypedValue:
    """An algorithm or a typed value from the DER of its OID and its value."""
    return [tlv_of(part) for part in (oid_der, value_der) if part is not None]


def malformed() -> CmpFault:
    """The fault of a message that cannot be decoded."""
    return CmpFault(FailInfo.BAD_DATA_FORMAT, "the message cannot be decoded")
