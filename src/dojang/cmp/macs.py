"""MACs under a shared secret: the password-based MAC of CMP (RFC 4211 section 4.4) and PBMAC1 (RFC 9579, RFC 8018).

What a stranger asks for costs him something too: iterations are capped before anything is computed.
"""

import hashlib
import hmac
from secrets import token_bytes
from typing import Final

from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.schema import Algorithm, PasswordBasedMac, Pbkdf2, Pbmac1, decode, encode, oid_of, typed, value_of
from dojang.der import NULL, oid, tlv
from dojang.secret import Secret

PBM: Final = "1.2.840.113533.7.66.13"
PBMAC1: Final = "1.2.840.113549.1.5.14"
MOST_ITERATIONS: Final = 100_000
_LEAST_ITERATIONS = {PBM: 100, PBMAC1: 1}
_PBKDF2 = "1.2.840.113549.1.5.12"
_HMAC_SHA1 = "1.2.840.113549.2.7"
_NULL = tlv(NULL)
_SALT_BYTES = 16
_LONGEST_SALT = 1024
_LONGEST_KEY = 64
HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.8": "sha3_256",
    "2.16.840.1.101.3.4.2.9": "sha3_384",
    "2.16.840.1.101.3.4.2.10": "sha3_512",
}
_MACS = {
    "1.3.6.1.5.5.8.1.2": "sha1",
    _HMAC_SHA1: "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
_SHA256, _HMAC_SHA256 = "2.16.840.1.101.3.4.2.1", "1.2.840.113549.2.9"


def is_mac(algorithm: Algorithm) -> bool:
    """Whether this is one of the two MACs. Raises ``CmpFault`` with badDataFormat."""
    return oid_of(algorithm) in (PBM, PBMAC1)


def new_pbm(iterations: int = 1000) -> Algorithm:
    """SHA-256 and HMAC-SHA256 with a fresh salt."""
    owf, mac = typed(oid(_SHA256)), typed(oid(_HMAC_SHA256))
    parameters = PasswordBasedMac(salt=token_bytes(_SALT_BYTES), owf=owf, iterations=iterations, mac=mac)
    return typed(oid(PBM), encode(parameters))


def new_pbmac1(iterations: int = 10_000) -> Algorithm:
    """PBKDF2 and HMAC, both with SHA-256, with a fresh salt."""
    prf = typed(oid(_HMAC_SHA256), _NULL)
    derivation = Pbkdf2(salt=token_bytes(_SALT_BYTES), iterations=iterations, key_length=32, prf=prf)
    parameters = Pbmac1(derivation=typed(oid(_PBKDF2), encode(derivation)), mac=typed(oid(_HMAC_SHA256), _NULL))
    return typed(oid(PBMAC1), encode(parameters))


class Mac:
    """One algorithm with one secret: the key is derived once, however many messages it serves."""

    def __init__(self, secret: Secret, algorithm: Algorithm, *, most_iterations: int = MOST_ITERATIONS) -> None:
        """Raises ``CmpFault``: badAlg for what is unknown or asks for too much, badDataFormat for the unreadable."""
        self.algorithm = algorithm
        kind, parameters = oid_of(algorithm), value_of(algorithm)
        if kind not in _LEAST_ITERATIONS or parameters is None:
            raise _unknown(kind)
        derive = _pbm if kind == PBM else _pbmac1
        key, self._hash = derive(secret, parameters, most_iterations)
        self._key = bytearray(key)

    def protect(self, data: bytes) -> bytes:
        """The MAC over ``data``."""
        return hmac.digest(self._key, data, self._hash)

    def verify(self, protection: bytes, data: bytes) -> None:
        """In constant time. Raises ``CmpFault`` with badMessageCheck."""
        if not hmac.compare_digest(self.protect(data), protection):
            raise CmpFault(FailInfo.BAD_MESSAGE_CHECK, "the message's MAC is wrong")

    def wipe(self) -> None:
        """Forget the key; nothing is protected with it any more."""
        self._key[:] = bytes(len(self._key))

    def __repr__(self) -> str:
        return "Mac(…)"


def _pbm(secret: Secret, parameters: bytes, most: int) -> tuple[bytes, str]:
    asked = decode(PasswordBasedMac, parameters)
    hash_, mac = _named(HASHES, asked.owf), _named(_MACS, asked.mac)
    _check(PBM, asked.salt, asked.iterations, most)
    fresh, key = hashlib.new(hash_), secret.reveal() + asked.salt
    for _ in range(asked.iterations):
        once = fresh.copy()  # costs less than to choose the algorithm again
        once.update(key)
        key = once.digest()
    return key, mac


def _pbmac1(secret: Secret, parameters: bytes, most: int) -> tuple[bytes, str]:
    asked = decode(Pbmac1, parameters)
    inner = value_of(asked.derivation)
    if oid_of(asked.derivation) != _PBKDF2 or inner is None:
        raise _unknown(oid_of(asked.derivation))
    derivation, mac = decode(Pbkdf2, inner), _named(_MACS, asked.mac)
    prf = "sha1" if derivation.prf is None else _named(_MACS, derivation.prf)
    _check(PBMAC1, derivation.salt, derivation.iterations, most)
    length = hashlib.new(mac).digest_size if derivation.key_length is None else derivation.key_length
    if not 1 <= length <= _LONGEST_KEY:
        raise CmpFault(FailInfo.BAD_ALG, "the key of a MAC has 1 to {limit} bytes", limit=_LONGEST_KEY)
    return hashlib.pbkdf2_hmac(prf, secret.reveal(), derivation.salt, derivation.iterations, length), mac


def _named(known: dict[str, str], algorithm: Algorithm) -> str:
    kind = oid_of(algorithm)
    if kind not in known or value_of(algorithm) not in (None, _NULL):
        raise _unknown(kind)
    return known[kind]


def _check(kind: str, salt: bytes, iterations: int, most: int) -> None:
    least = _LEAST_ITERATIONS[kind]
    if not least <= iterations <= most:
        raise CmpFault(FailInfo.BAD_ALG, "a MAC has {least} to {most} iterations here", least=least, most=most)
    if len(salt) > _LONGEST_SALT:
        raise CmpFault(FailInfo.BAD_ALG, "the salt of a MAC is longer than {limit} bytes", limit=_LONGEST_SALT)


def _unknown(kind: str) -> CmpFault:
    return CmpFault(FailInfo.BAD_ALG, "the algorithm {algorithm} is not known here", algorithm=kind)
