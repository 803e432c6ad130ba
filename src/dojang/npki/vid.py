"""The VID (본인확인): a hash in a certificate that only the person's number and R, the key file's secret, explain.

    HashContent  = SEQUENCE { PrintableString number, BIT STRING R }
    VID          = H(H(HashContent))
    otherName 1.2.410.200004.10.1.1 = SEQUENCE { UTF8String realName, SEQUENCE OF { OID, VID } }

KCAC.TS.SIVID. A resident number and R are as secret as a key: both come as ``Secret`` and go nowhere else. Not the SIM
of RFC 4683, which is another form.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dojang.der import (
    BIT_STRING,
    CONSTRUCTED,
    OCTET_STRING,
    SEQUENCE,
    Element,
    MalformedDer,
    children,
    expect,
    oid,
    parse,
    parts,
    read_oid,
    tlv,
)
from dojang.errors import FileMalformed, NotPermitted, Phrase, Usage
from dojang.npki.certificates import load_certificate
from dojang.npki.pkcs8 import R_BYTES
from dojang.secret import Secret

if TYPE_CHECKING:
    from cryptography import x509

IDENTIFY_DATA: Final = "1.2.410.200004.10.1.1"
_VID: Final = "1.2.410.200004.10.1.1.1"
_HASHES: Final = {"2.16.840.1.101.3.4.2.1": "sha256", "1.3.14.3.2.26": "sha1"}
_HASH_OIDS: Final = {name: dotted for dotted, name in _HASHES.items()}
_UTF8_STRING, _PRINTABLE_STRING, _BMP_STRING, _EXPLICIT_0 = 0x0C, 0x13, 0x1E, 0x80 | CONSTRUCTED
# 13 digits of a resident number (주민등록번호), 10 of a business number (사업자등록번호)
_NUMBER: Final = re.compile(rb"\d{10}|\d{13}")


@dataclass(frozen=True, slots=True)
class IdentifyData:
    """Who a certificate says it belongs to: a name, and the VID with the hash it was made with."""

    real_name: str
    hash_name: str
    vid: bytes

    def matches(self, number: Secret, random_number: Secret) -> bool:
        """Whether this number and this R explain the VID; compared in constant time. ``Usage`` for no such number."""
        return hmac.compare_digest(compute_vid(number, random_number, self.hash_name), self.vid)

    def to_other_name(self) -> "x509.OtherName":
        """The name to put among a certificate's alternative names."""
        from cryptography import x509

        # DER says NULL or nothing here; both are in use, and newer certificates have nothing
        algorithm = tlv(SEQUENCE, oid(_HASH_OIDS[self.hash_name]))
        vid = tlv(SEQUENCE, algorithm, tlv(_EXPLICIT_0, tlv(OCTET_STRING, self.vid)))
        user_info = tlv(SEQUENCE, tlv(SEQUENCE, oid(_VID), vid))
        name = tlv(_UTF8_STRING, self.real_name.encode())
        return x509.OtherName(x509.ObjectIdentifier(IDENTIFY_DATA), tlv(SEQUENCE, name, user_info))

    @classmethod
    def from_der(cls, der: bytes) -> "IdentifyData | None":
        """The value of the otherName; ``None`` where it holds no VID, ``MalformedDer`` for anything else."""
        name, user_info = _two(parse(der, SEQUENCE))
        for entry in children(expect(user_info, SEQUENCE)):
            kind, value = _two(expect(entry, SEQUENCE))
            if read_oid(kind) == _VID:
                return cls(_text(name), *_vid(value))
        return None


def compute_vid(number: Secret, random_number: Secret, hash_name: str = "sha256") -> bytes:
    """The VID of a number with or without hyphens; ``sha1`` is for reading old certificates. Raises ``Usage``."""
    digits = tlv(_PRINTABLE_STRING, digits_of(number))
    content = tlv(SEQUENCE, digits, tlv(BIT_STRING, b"\0" + random_number.reveal()))
    inner = hashlib.new(hash_name, content, usedforsecurity=False).digest()
    return hashlib.new(hash_name, inner, usedforsecurity=False).digest()


def identify(real_name: str, number: Secret, random_number: Secret) -> IdentifyData:
    """What a new certificate says of its owner. ``Usage`` for no such number, ``NotPermitted`` for a short R."""
    if len(random_number) < R_BYTES:
        raise NotPermitted(
            problem=Phrase("the random number R has fewer than 160 bits"),
            remedy=Phrase("Make a new key file; a longer R comes with it."),
        )
    return IdentifyData(real_name, "sha256", compute_vid(number, random_number))


def identify_data_of(certificate_der: bytes) -> IdentifyData | None:
    """What a certificate says of its owner, ``None`` when it says nothing. Raises ``FileMalformed``."""
    found = _identified(certificate_der)
    return found and found[1]


def vid_value_of(certificate_der: bytes) -> bytes | None:
    """The value of the otherName that holds a certificate's VID, ``None`` when it has none. Raises ``FileMalformed``.

    It costs next to nothing for a certificate without.
    """
    found = _identified(certificate_der) if oid(IDENTIFY_DATA) in certificate_der else None
    return found and found[0]


def is_vid(name: "x509.GeneralName") -> bool:
    """Whether an alternative name is one that says of its owner who that is."""
    from cryptography import x509

    return isinstance(name, x509.OtherName) and name.type_id.dotted_string == IDENTIFY_DATA


def _identified(certificate_der: bytes) -> tuple[bytes, IdentifyData] | None:
    """The value of the otherName as it is, and what it says."""
    from cryptography import x509

    try:
        certificate = load_certificate(certificate_der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for name in names.get_values_for_type(x509.OtherName):
            if name.type_id.dotted_string == IDENTIFY_DATA:
                said = IdentifyData.from_der(name.value)
                return None if said is None else (name.value, said)
    except x509.ExtensionNotFound:
        return None
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise FileMalformed(
            path=Phrase("the certificate"),
            expected=Phrase("a certificate with a VID"),
            problem=Phrase("its alternative names cannot be read"),
        ) from error
    return None


def verify_vid(certificate_der: bytes, number: Secret, random_number: Secret) -> bool:
    """Whether the certificate belongs to whoever has this number; ``False`` also where it names nobody."""
    found = identify_data_of(certificate_der)
    return found is not None and found.matches(number, random_number)


def check_number(number: Secret) -> None:
    """Return where it is a resident or a business number, as far as its digits tell. Raises ``Usage``."""
    digits_of(number)


def digits_of(number: Secret) -> bytes:
    """The digits of a resident or business number, however it is written. Raises ``Usage`` for what is none."""
    digits = number.reveal().replace(b"-", b"").replace(b" ", b"")
    if not _NUMBER.fullmatch(digits):
        raise Usage(problem=Phrase("a resident number has 13 digits, a business number has 10"))
    return digits


def _vid(value: Element) -> tuple[str, bytes]:
    algorithm, held = _two(expect(value, SEQUENCE))
    hash_name = _HASHES.get(read_oid(parts(expect(algorithm, SEQUENCE), 1, 2)[0]))
    if hash_name is None:
        raise MalformedDer("the VID is made with a hash nobody uses for it")
    (vid,) = parts(expect(held, _EXPLICIT_0), 1, 1)
    return hash_name, expect(vid, OCTET_STRING).content


def _two(sequence: Element) -> list[Element]:
    return parts(sequence, 2, 2)


def _text(name: Element) -> str:
    """realName; old certificates may have a BMPString."""
    try:
        return name.content.decode("utf-16-be" if name.tag == _BMP_STRING else "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedDer("the name is no text") from error
