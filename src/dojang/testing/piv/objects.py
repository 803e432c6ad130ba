"""What is stored on the card and read with GET DATA (NIST SP 800-73-4, part 1, tables 3 and 9 to 42)."""

import os
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.testing.piv.keys import CardKey
from dojang.testing.piv.tlv import tlv

AID: Final = bytes.fromhex("A000000308000010000100")
SHORTEST_AID: Final = 5  # SELECT may leave out all but the issuer (ISO/IEC 7816-4, 8.2.1.2); Yubico's library does
CHUID: Final = 0x5FC102
DISCOVERY: Final = 0x7E
CERTIFICATE: Final = {0x9A: 0x5FC105, 0x9C: 0x5FC10A, 0x9D: 0x5FC10B, 0x9E: 0x5FC101}
SLOT_NAMES: Final = {
    0x9A: "PIV Authentication",
    0x9C: "Digital Signature",
    0x9D: "Key Management",
    0x9E: "Card Authentication",
}

APPLICATION_TEMPLATE: Final = tlv(0x61, tlv(0x4F, AID[5:]) + tlv(0x79, tlv(0x4F, AID[:5])) + tlv(0x50, b"dojang PIV"))
_PIN_ONLY: Final = bytes.fromhex("4000")
_NO_FASC_N: Final = bytes.fromhex("D4E739DA739CED39CE739DA1685A1082108CE73984108CA3FC")  # 9999 9999 999999, from NIST's


def discovery() -> bytes:
    """The Discovery Object: the application PIN alone, no global PIN, no on-card comparison."""
    return tlv(DISCOVERY, tlv(0x4F, AID) + tlv(0x5F2F, _PIN_ONLY))


def chuid(guid: bytes) -> bytes:
    """The Card Holder Unique Identifier; the GUID makes the card's serial number."""
    return tlv(0x30, _NO_FASC_N) + tlv(0x34, guid) + tlv(0x35, b"20991231") + tlv(0x3E, b"") + tlv(0xFE, b"")


def new_guid() -> bytes:
    return os.urandom(16)


def certificate_object(der: bytes) -> bytes:
    """A certificate, not compressed (table 10)."""
    return tlv(0x70, der) + tlv(0x71, b"\0") + tlv(0xFE, b"")


def self_signed(key: CardKey, holder: str, purpose: str) -> bytes:
    """A certificate for a slot's key, DER."""
    unit = x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, purpose)
    name = x509.Name([unit, x509.NameAttribute(x509.NameOID.COMMON_NAME, holder)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
    )
    return builder.sign(key.private, hashes.SHA256()).public_bytes(Encoding.DER)
