"""Messages (PKIMessage, RFC 9810 section 5.1) as values: read strictly, and the bytes that are protected are kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from secrets import token_bytes
from typing import Final

from cryptography import x509
from cryptography.hazmat.asn1 import GeneralizedTime

from dojang.cmp.bodies import Body, Information
from dojang.cmp.body_forms import information_in, read_body, write_body
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.names import NOBODY, directory_name, directory_name_der
from dojang.cmp.protection import Protector
from dojang.cmp.schema import Algorithm, Frame, Many, PkiHeader, decode, decode_list, der_of, encode, malformed
from dojang.der import BIT_STRING, NULL, OCTET_STRING, SEQUENCE, integer, oid, tlv

IMPLICIT_CONFIRM: Final = "1.3.6.1.5.5.7.4.13"
CONFIRM_WAIT_TIME: Final = "1.3.6.1.5.5.7.4.14"
CERTIFICATE_PROFILE: Final = "1.3.6.1.5.5.7.4.21"
VERSION_2, VERSION_3 = 2, 3
LARGEST: Final = 1 << 18
NONCE_BYTES: Final = 16
_MOST_CERTIFICATES = 32
_LONGEST_FIELD = 256
"""Bytes of an identifier or a nonce. Whoever answers repeats them, and the log shows them, before he knows who asks."""
_BODY, _PROTECTION, _CERTIFICATES, _FIELD = 0xA0, 0xA0, 0xA1, 0xA0
_NOBODY_DER = directory_name_der(NOBODY)


@dataclass(frozen=True, slots=True)
class Header:
    """PKIHeader. ``sender_der`` and ``recipient_der`` are GeneralNames: ``directory_name_der`` makes one.

    ``protection`` says how the message that was read is protected; in a message to be written the protector says it.
    """

    sender_der: bytes = _NOBODY_DER
    recipient_der: bytes = _NOBODY_DER
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None
    recipient_nonce: bytes | None = None
    message_at: datetime | None = None
    sender_key_id: bytes | None = None
    recipient_key_id: bytes | None = None
    free_text: tuple[str, ...] = ()
    information: tuple[Information, ...] = ()
    protection: Algorithm | None = None
    version: int = VERSION_2

    @property
    def sender(self) -> x509.Name | None:
        """The sender's distinguished name, which may be empty; ``None`` for another kind of name."""
        return directory_name(self.sender_der)

    @property
    def recipient(self) -> x509.Name | None:
        return directory_name(self.recipient_der)

    @property
    def implicit_confirm(self) -> bool:
        """Whether no certConf will be sent, or need be."""
        return any(item.kind == IMPLICIT_CONFIRM for item in self.information)

    @property
    def confirm_wait_at(self) -> datetime | None:
        """Until when the certConf is waited for. Raises ``CmpFault`` with badDataFormat."""
        value = self._value(CONFIRM_WAIT_TIME)
        return None if value is None else decode(GeneralizedTime, value).as_datetime()

    @property
    def profiles(self) -> tuple[str, ...]:
        """The names in certProfile, one for each request. Raises ``CmpFault`` with badDataFormat."""
        value = self._value(CERTIFICATE_PROFILE)
        return () if value is None else tuple(decode(str, der_of(one)) for one in decode_list(Many, value).items)

    def _value(self, kind: str) -> bytes | None:
        return next((item.value_der for item in self.information if item.kind == kind), None)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was read. ``protected_der`` are the bytes that ``protection`` is made over."""

    header: Header
    body: Body
    protection: bytes | None
    certificates: tuple[bytes, ...]
    protected_der: bytes


def read_message(der: bytes) -> Message:
    """Raises ``CmpFault``: badDataFormat for what is no message, badRequest for one that is too large.

    Says nothing about its version, and nothing of it has been proved.
    """
    frame = _frame(der)
    header_der, body_der = der_of(frame.header), der_of(frame.body)
    protection = None if frame.protection is None else frame.protection.as_bytes()
    certificates = tuple(map(der_of, frame.extra_certificates or ()))
    body = read_body(body_der[0] & 0x1F, bytes(frame.body.data))
    return Message(_header(header_der), body, protection, certificates, tlv(SEQUENCE, header_der, body_der))


def read_header(der: bytes) -> Header:
    """The header alone, of a message whose body may be unreadable. Raises ``CmpFault`` with badDataFormat."""
    return _header(der_of(_frame(der).header))


def write_message(
    header: Header, body: Body, protector: Protector | None = None, certificates: Iterable[bytes] = ()
) -> bytes:
    """The message in DER, protected as ``protector`` does; ``certificates`` go along in extraCerts."""
    kind, content = write_body(body)
    header_der = _header_der(header, protector.algorithm if protector else None)
    body_der, end = tlv(_BODY | kind, content), b""
    if protector is not None:
        end = tlv(_PROTECTION, tlv(BIT_STRING, b"\0", protector.protect(tlv(SEQUENCE, header_der, body_der))))
    extra = tlv(SEQUENCE, *certificates)
    if extra != tlv(SEQUENCE):
        end += tlv(_CERTIFICATES, extra)
    return tlv(SEQUENCE, header_der, body_der, end)


def new_nonce() -> bytes:
    """Sixteen random bytes, for a senderNonce or a transactionID (RFC 9483 section 3.1)."""
    return token_bytes(NONCE_BYTES)


def implicit_confirm() -> Information:
    """For generalInfo: no certConf, please, or none needed."""
    return Information(IMPLICIT_CONFIRM, tlv(NULL))


def confirm_wait(at: datetime) -> Information:
    """For generalInfo: until when the certConf is waited for."""
    return Information(CONFIRM_WAIT_TIME, _time_der(at))


def certificate_profile(name: str) -> Information:
    """For generalInfo: the profile that is wanted."""
    return Information(CERTIFICATE_PROFILE, tlv(SEQUENCE, encode(name)))


def _frame(der: bytes) -> Frame:
    if len(der) > LARGEST:
        raise CmpFault(FailInfo.BAD_REQUEST, "the message is larger than {limit} bytes", limit=LARGEST)
    frame = decode(Frame, der)
    if len(frame.extra_certificates or ()) > _MOST_CERTIFICATES:
        raise CmpFault(FailInfo.BAD_REQUEST, "more than {limit} certificates come with it", limit=_MOST_CERTIFICATES)
    tag = frame.body.tag_bytes
    if len(tag) != 1 or tag[0] & 0xE0 != _BODY or (frame.protection and frame.protection.padding_bits()):
        raise malformed()
    return frame


def _header(der: bytes) -> Header:
    found = decode(PkiHeader, der)
    header = Header(
        sender_der=der_of(found.sender),
        recipient_der=der_of(found.recipient),
        transaction_id=found.transaction_id,
        sender_nonce=found.sender_nonce,
        recipient_nonce=found.recipient_nonce,
        message_at=None if found.message_time is None else found.message_time.as_datetime(),
        sender_key_id=found.sender_key_id,
        recipient_key_id=found.recipient_key_id,
        free_text=tuple(found.free_text or ()),
        information=information_in(found.information or ()),
        protection=found.protection,
        version=found.version,
    )
    _ = header.sender, header.recipient  # that they can be read
    repeated = (header.transaction_id, header.sender_nonce, header.recipient_nonce, header.sender_key_id)
    if any(len(one or b"") > _LONGEST_FIELD for one in repeated):
        raise malformed()
    return header


def _header_der(header: Header, protection: Algorithm | None) -> bytes:
    """``PkiHeader``, put together by hand: every message has one."""
    octets = (
        (2, header.sender_key_id),
        (3, header.recipient_key_id),
        (4, header.transaction_id),
        (5, header.sender_nonce),
        (6, header.recipient_nonce),
    )
    parts = [integer(header.version), header.sender_der, header.recipient_der]
    if header.message_at is not None:
        parts.append(tlv(_FIELD, _time_der(header.message_at.replace(microsecond=0))))
    if protection is not None:
        parts.append(tlv(_FIELD | 1, tlv(SEQUENCE, *map(der_of, protection))))
    parts += [tlv(_FIELD | number, tlv(OCTET_STRING, value)) for number, value in octets if value is not None]
    if header.free_text:
        parts.append(tlv(_FIELD | 7, tlv(SEQUENCE, *map(encode, header.free_text))))
    if header.information:
        items = [tlv(SEQUENCE, oid(item.kind), item.value_der or b"") for item in header.information]
        parts.append(tlv(_FIELD | 8, tlv(SEQUENCE, *items)))
    return tlv(SEQUENCE, *parts)


@lru_cache(maxsize=64)
def _time_der(at: datetime) -> bytes:
    return encode(GeneralizedTime(at))
