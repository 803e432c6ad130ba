"""How bytes are encrypted under a password: the schemes of key files and PKCS#12, as a file says them of itself.

    seedCBCWithSHA1  A  PBKDF1 with SHA-1, the IV from the rest of what it derives (KCAC.TS.ENC)
    seedCBC          B  the same key, a constant IV
    PBES2            C  PBKDF2 or scrypt, then SEED, AES, 3DES or RC2 (RFC 8018)
    PKCS#12 PBE         RFC 7292 appendix B with SHA-1, then 3DES or RC2

Reading a scheme does no work; ``work`` says how much there would be, so that a hostile file costs nothing.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from dojang.der import (
    NULL,
    OCTET_STRING,
    SEQUENCE,
    Element,
    MalformedDer,
    expect,
    integer,
    oid,
    parts,
    read_integer,
    read_oid,
    tlv,
)
from dojang.npki import ciphers, derivation
from dojang.npki.ciphers import CipherKind, decrypt, encrypt

_SEED_CBC_WITH_SHA1, _SEED_CBC = "1.2.410.200004.1.15", "1.2.410.200004.1.4"
_PBES2, _PBKDF2, _SCRYPT = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11"
_RC2_CBC = "1.2.840.113549.3.2"
_CIPHERS = {
    _SEED_CBC: ciphers.SEED,
    "2.16.840.1.101.3.4.1.2": ciphers.AES_128,
    "2.16.840.1.101.3.4.1.22": ciphers.AES_192,
    "2.16.840.1.101.3.4.1.42": ciphers.AES_256,
    "1.2.840.113549.3.7": ciphers.TRIPLE_DES,
}
_CIPHER_OIDS = {kind: dotted for dotted, kind in _CIPHERS.items()}
_PKCS12_PBES = {
    "1.2.840.113549.1.12.1.3": ciphers.TRIPLE_DES,
    "1.2.840.113549.1.12.1.4": ciphers.DOUBLE_DES,
    "1.2.840.113549.1.12.1.5": ciphers.RC2_128,
    "1.2.840.113549.1.12.1.6": ciphers.RC2_40,
}
# Known by name only, so that a person is told what the file is made with.
_FOREIGN = {
    "1.2.410.200046.1.1.2": "aria128-cbc",
    "1.2.410.200046.1.1.7": "aria192-cbc",
    "1.2.410.200046.1.1.12": "aria256-cbc",
    "1.2.410.200004.1.3": "seed-ecb",
    "1.2.410.200004.1.5": "seed-cfb",
    "1.2.410.200004.1.6": "seed-ofb",
    "1.2.840.113549.1.5.3": "pbeWithMD5AndDES-CBC",
    "1.2.840.113549.1.5.10": "pbeWithSHA1AndDES-CBC",
    "1.2.840.113549.1.12.1.1": "pbeWithSHA1And128BitRC4",
    "1.2.840.113549.1.12.1.2": "pbeWithSHA1And40BitRC4",
    "1.3.14.3.2.7": "des-cbc",
}
_CONSTANT_IV = b"0123456789012345"
_SHA1, _SHA1_BYTES = "1.2.840.113549.2.7", 20
# RFC 8018 B.2.3: the version that stands for so many effective bits
_RC2_BITS = {160: 40, 120: 64, 58: 128}
_MOST_KEY_BYTES = 64


class UnknownScheme(Exception):
    """The file is encrypted in a way dojang does not read; its text names the way."""


class Scheme(Protocol):
    """One way, with its salt and its count. ``takes_text``: the password goes in as UTF-16, not as bytes."""

    @property
    def takes_text(self) -> bool: ...

    @property
    def work(self) -> int:
        """In iterations of PBKDF2; nothing honest asks for more than ``derivation.MAX_ITERATIONS``, or for none."""
        ...

    def decrypt(self, password: bytes, hidden: bytes) -> bytes:
        """``ValueError`` for a wrong password and for damage alike; ``UnsupportedAlgorithm`` without the cipher."""
        ...

    def encrypt(self, password: bytes, plain: bytes) -> bytes: ...

    def algorithm(self) -> bytes:
        """The AlgorithmIdentifier that reads as this scheme."""
        ...


@dataclass(frozen=True, slots=True)
class SeedPbe:
    """Schemes A and B."""

    salt: bytes
    iterations: int
    constant_iv: bool = False

    @property
    def takes_text(self) -> bool:
        return False

    @property
    def work(self) -> int:
        return self.iterations * derivation.SLOWNESS

    def decrypt(self, password: bytes, hidden: bytes) -> bytes:
        return decrypt(ciphers.SEED, *self.key_and_iv(password), hidden)

    def encrypt(self, password: bytes, plain: bytes) -> bytes:
        return encrypt(ciphers.SEED, *self.key_and_iv(password), plain)

    def key_and_iv(self, password: bytes) -> tuple[bytes, bytes]:
        derived = derivation.pbkdf1_sha1(password, self.salt, self.iterations)
        if self.constant_iv:
            return derived[:16], _CONSTANT_IV
        return derived[:16], hashlib.sha1(derived[16:], usedforsecurity=False).digest()[:16]

    def algorithm(self) -> bytes:
        dotted = _SEED_CBC if self.constant_iv else _SEED_CBC_WITH_SHA1
        return tlv(SEQUENCE, oid(dotted), tlv(SEQUENCE, tlv(OCTET_STRING, self.salt), integer(self.iterations)))


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """PBKDF2-params; ``prf`` is the name of the hash in its HMAC."""

    salt: bytes
    iterations: int
    prf: str = "sha1"

    def derive(self, password: bytes, length: int) -> bytes:
        return derivation.pbkdf2(self.prf, password, self.salt, self.iterations, length)

    @property
    def work(self) -> int:
        return self.iterations

    def algorithm(self) -> bytes:
        # HMAC-SHA1 is the DEFAULT, so DER leaves it out
        prf = [tlv(SEQUENCE, oid(_oid_of_prf(self.prf)), tlv(NULL))] if self.prf != "sha1" else []
        parameters = tlv(SEQUENCE, tlv(OCTET_STRING, self.salt), integer(self.iterations), *prf)
        return tlv(SEQUENCE, oid(_PBKDF2), parameters)


@dataclass(frozen=True, slots=True)
class Scrypt:
    """scrypt-params of RFC 7914; read, never written."""

    salt: bytes
    n: int
    r: int
    p: int

    def derive(self, password: bytes, length: int) -> bytes:
        return derivation.scrypt(password, self.salt, self.n, self.r, self.p, length)

    @property
    def work(self) -> int:
        memory = self.n * self.r * 128
        if not 0 < memory <= derivation.MAX_SCRYPT_BYTES or not 1 <= self.p <= derivation.MAX_SCRYPT_LANES:
            return derivation.MAX_ITERATIONS + 1
        return memory * self.p // derivation.SCRYPT_BYTES_PER_ITERATION + 1

    def algorithm(self) -> bytes:
        numbers = (integer(number) for number in (self.n, self.r, self.p))
        return tlv(SEQUENCE, oid(_SCRYPT), tlv(SEQUENCE, tlv(OCTET_STRING, self.salt), *numbers))


@dataclass(frozen=True, slots=True)
class Pbes2:
    """Scheme C, and the same with other ciphers."""

    derivation: Pbkdf2 | Scrypt
    cipher: CipherKind
    iv: bytes

    @property
    def takes_text(self) -> bool:
        return False

    @property
    def work(self) -> int:
        return self.derivation.work

    def key(self, password: bytes) -> bytes:
        return self.derivation.derive(password, self.cipher.key_bytes)

    def decrypt(self, password: bytes, hidden: bytes) -> bytes:
        return decrypt(self.cipher, self.key(password), self.iv, hidden)

    def encrypt(self, password: bytes, plain: bytes) -> bytes:
        return encrypt(self.cipher, self.key(password), self.iv, plain)

    def algorithm(self) -> bytes:
        cipher = tlv(SEQUENCE, oid(_CIPHER_OIDS[self.cipher]), tlv(OCTET_STRING, self.iv))
        return tlv(SEQUENCE, oid(_PBES2), tlv(SEQUENCE, self.derivation.algorithm(), cipher))


@dataclass(frozen=True, slots=True)
class Pkcs12Pbe:
    """pbeWithSHAAnd… of RFC 7292 appendix C."""

    cipher: CipherKind
    salt: bytes
    iterations: int

    @property
    def takes_text(self) -> bool:
        return True

    @property
    def work(self) -> int:
        runs = -(-self.cipher.key_bytes // _SHA1_BYTES) + 1  # for the key, and for the IV
        return runs * self.iterations * derivation.SLOWNESS

    def decrypt(self, password: bytes, hidden: bytes) -> bytes:
        return decrypt(self.cipher, *self._key_and_iv(password), hidden)

    def encrypt(self, password: bytes, plain: bytes) -> bytes:
        return encrypt(self.cipher, *self._key_and_iv(password), plain)

    def _key_and_iv(self, text: bytes) -> tuple[bytes, bytes]:
        key, iv = (
            derivation.pkcs12("sha1", text, self.salt, self.iterations, purpose, length)
            for purpose, length in ((1, self.cipher.key_bytes), (2, self.cipher.block))
        )
        return key, iv

    def algorithm(self) -> bytes:
        dotted = next(dotted for dotted, kind in _PKCS12_PBES.items() if kind is self.cipher)
        return tlv(SEQUENCE, oid(dotted), tlv(SEQUENCE, tlv(OCTET_STRING, self.salt), integer(self.iterations)))


def read_scheme(algorithm: Element) -> Scheme:
    """The scheme an AlgorithmIdentifier names. ``MalformedDer``, and ``UnknownScheme`` for a way dojang lacks."""
    dotted, parameters = _named(algorithm)
    if dotted == _PBES2:
        return _pbes2(parameters)
    if dotted in (_SEED_CBC_WITH_SHA1, _SEED_CBC):
        salt, iterations = _salt_and_count(parameters)
        return SeedPbe(salt, iterations, constant_iv=dotted == _SEED_CBC)
    if dotted in _PKCS12_PBES:
        return Pkcs12Pbe(_PKCS12_PBES[dotted], *_salt_and_count(parameters))
    raise UnknownScheme(_FOREIGN.get(dotted, dotted))


def read_pbkdf2(algorithm: Element) -> tuple[Pbkdf2, int | None]:
    """The derivation that an AlgorithmIdentifier names, and the length of key it says."""
    derived, length = _derivation(algorithm)
    if not isinstance(derived, Pbkdf2):
        raise UnknownScheme(_SCRYPT)
    return derived, length


def _derivation(algorithm: Element) -> tuple[Pbkdf2 | Scrypt, int | None]:
    dotted, parameters = _named(algorithm)
    if dotted == _SCRYPT:
        return _scrypt(parameters)
    if dotted != _PBKDF2:
        raise UnknownScheme(dotted)
    salt, count, *rest = _in(parameters, 2, 4)
    length = read_integer(rest.pop(0)) if rest and rest[0].tag == integer(0)[0] else None
    prf = read_oid(_in(rest[0], 1, 2)[0]) if rest else _SHA1
    if prf not in derivation.PRFS:
        raise UnknownScheme(prf)
    return Pbkdf2(expect(salt, OCTET_STRING).content, read_integer(count), derivation.PRFS[prf]), length


def _pbes2(parameters: Element) -> Pbes2:
    function, encryption = _in(parameters, 2, 2)
    dotted, cipher_parameters = _named(encryption)
    kind, iv = _rc2(function, cipher_parameters) if dotted == _RC2_CBC else (_CIPHERS.get(dotted), cipher_parameters)
    if kind is None:
        raise UnknownScheme(_FOREIGN.get(dotted, dotted))
    derived, length = _derivation(function)
    if length not in (None, kind.key_bytes):
        raise MalformedDer("the key has another length than the cipher takes")
    return Pbes2(derived, kind, expect(iv, OCTET_STRING).content)


def _rc2(function: Element, parameters: Element) -> tuple[CipherKind, Element]:
    version, iv = _in(parameters, 2, 2)
    bits, (_, length) = _RC2_BITS.get(read_integer(version)), read_pbkdf2(function)
    if bits is None:
        raise UnknownScheme("rc2-cbc")
    if not 1 <= (length or bits // 8) <= _MOST_KEY_BYTES:
        raise MalformedDer("the key has a length RC2 does not take")
    return CipherKind("rc2-cbc", length or bits // 8, 8, bits), iv


def _scrypt(parameters: Element) -> tuple[Scrypt, int | None]:
    salt, *numbers = _in(parameters, 4, 5)
    n, r, p, *length = (read_integer(number) for number in numbers)
    return Scrypt(expect(salt, OCTET_STRING).content, n, r, p), length[0] if length else None


def _named(algorithm: Element) -> tuple[str, Element]:
    """An AlgorithmIdentifier taken apart; absent parameters read as NULL."""
    dotted, *parameters = _in(algorithm, 1, 2)
    return read_oid(dotted), parameters[0] if parameters else Element(NULL, b"", tlv(NULL))


def _salt_and_count(parameters: Element) -> tuple[bytes, int]:
    salt, count = _in(parameters, 2, 2)
    return expect(salt, OCTET_STRING).content, read_integer(count)


def _in(sequence: Element, least: int, most: int) -> list[Element]:
    return parts(expect(sequence, SEQUENCE), least, most)


def _oid_of_prf(name: str) -> str:
    return next(dotted for dotted, known in derivation.PRFS.items() if known == name)
