"""From an HMAC to the digits that a person types (RFC 4226, 5.3)."""

from collections.abc import Callable
from typing import Final

Hmac = Callable[[bytes], bytes]
"""HMAC under a seed and with a hash that are settled already; whoever holds the seed computes, nobody here sees it."""

HASHES: Final = {"sha1": 20, "sha256": 32, "sha512": 64}
"""The hashes of RFC 6238 and RFC 6287 by the names of ``pkcs11.mechanisms.HMAC``, and how many bytes each gives."""

BLOCKS: Final = {"sha1": 64, "sha256": 64, "sha512": 128}
"""The block of each hash in bytes. HMAC fills a shorter key with zeros to it (RFC 2104, 2), so a seed and the same
seed with zeros behind it are one key."""


def truncated(mac: bytes, digits: int) -> str:
    """The code of ``digits`` digits; the last four bits of an HMAC say where in it the 31 bits begin."""
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number)[-digits:].zfill(digits)


def same(code: str, other: str) -> bool:
    """Whether two codes are the same, in a time that does not tell how far they are."""
    from hmac import compare_digest

    return compare_digest(code.encode(), other.encode())
