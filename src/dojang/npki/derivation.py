"""Keys from passwords: PBKDF2 and scrypt by cryptography, and the two older ways, which are loops in Python."""

import hashlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

    from cryptography.hazmat.primitives.hashes import HashAlgorithm

# Three seconds or so. GnuTLS writes files that ask for 600,000 in Python, several times in one file.
MAX_ITERATIONS = 10_000_000
MAX_ITERATIONS_PER_FILE = 2 * MAX_ITERATIONS
SLOWNESS = 2  # an iteration in Python takes as long as so many of PBKDF2
SCRYPT_BYTES_PER_ITERATION = 128  # about as long as one iteration
MAX_SCRYPT_BYTES = 128 << 20
MAX_SCRYPT_LANES = 16

# RFC 8018 B.1.2, and what absence of a prf means
PRFS = {
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
    "1.2.840.113549.2.12": "sha512_224",
    "1.2.840.113549.2.13": "sha512_256",
}
_BLOCK_OF_HASH = {"sha384": 128, "sha512": 128, "sha512_224": 128, "sha512_256": 128}


def pbkdf2(hash_name: str, password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """RFC 8018 5.2. By cryptography, whose OpenSSL is twice as fast at it as the one below hashlib."""
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    return PBKDF2HMAC(_algorithm(hash_name), length, salt, iterations).derive(password)


@cache
def _algorithm(hash_name: str) -> "HashAlgorithm":
    from cryptography.hazmat.primitives import hashes

    return cast("HashAlgorithm", getattr(hashes, hash_name.upper())())


def scrypt(password: bytes, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    """RFC 7914."""
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * MAX_SCRYPT_BYTES, dklen=length)


def pbkdf1_sha1(password: bytes, salt: bytes, iterations: int) -> bytes:
    """RFC 8018 5.1 with all of its 20 bytes, which the Korean schemes use."""
    sha1 = hashlib.sha1
    derived = password + salt
    for _ in range(iterations):
        derived = sha1(derived).digest()
    return derived


def pkcs12(hash_name: str, text: bytes, salt: bytes, iterations: int, purpose: int, length: int) -> bytes:
    """RFC 7292 appendix B.2; ``text`` is UTF-16 with its two zero bytes, ``purpose`` 1 key, 2 IV, 3 MAC."""
    new: Callable[[bytes], Hash] = getattr(hashlib, hash_name)
    block = _BLOCK_OF_HASH.get(hash_name, 64)
    filled = bytearray(_filled(salt, block) + _filled(text, block))
    made = b""
    while True:
        digest = new(bytes([purpose]) * block + filled).digest()
        for _ in range(iterations - 1):
            digest = new(digest).digest()
        made += digest
        if len(made) >= length:
            return made[:length]
        step = int.from_bytes(_filled(digest, block)[:block]) + 1
        for start in range(0, len(filled), block):
            piece = int.from_bytes(filled[start : start + block]) + step
            filled[start : start + block] = (piece & (1 << 8 * block) - 1).to_bytes(block)


def _filled(data: bytes, block: int) -> bytes:
    """``data`` again and again up to a multiple of ``block``; of nothing, nothing."""
    size = -(-len(data) // block) * block
    return (data * (size // len(data) + 1))[:size] if data else b""
