"""Writing PKCS#12 files: AES-256 and HMAC-SHA-256, or as programs of before 2020 want them; R always goes along."""

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from dojang.der import NULL, OCTET_STRING, SEQUENCE, SET, integer, oid, set_of, tlv
from dojang.errors import NotPermitted
from dojang.npki import ciphers, derivation
from dojang.npki.passwords import byte_forms, utf16_forms
from dojang.npki.pkcs12 import DATA, ENCRYPTED_DATA, HASHES, open_key_bag
from dojang.npki.pkcs12_bags import (
    CERTIFICATE_BAG,
    EXPLICIT_0,
    FRIENDLY_NAME,
    LOCAL_KEY_ID,
    SHROUDED_KEY_BAG,
    X509,
    Bags,
    CertificateBag,
    KeyBag,
    Pkcs12,
)
from dojang.npki.schemes import Pbes2, Pbkdf2, Pkcs12Pbe, Scheme

if TYPE_CHECKING:
    from dojang.secret import Secret

PROFILES: Final = ("aes256", "legacy-3des")
"""What a file can be written with; the second is for programs that read nothing else."""

_IMPLICIT_OCTETS_0, _BMP_STRING = 0x80, 0x1E


class _Counts(NamedTuple):
    """How often password and MAC key are hashed. Who guesses passwords tries the MAC, so that counts."""

    encryption: int
    mac: int
    mac_hash: str


_COUNTS: Final = {"aes256": _Counts(100_000, 10_000, "sha256"), "legacy-3des": _Counts(2048, 2048, "sha1")}


def write_pkcs12(
    contents: Pkcs12, password: "Secret", *, profile: str = PROFILES[0], iterations: int | None = None
) -> bytes:
    """One file with all keys, their certificates and the others; ``iterations`` replaces both counts."""
    bags = Bags()
    for entry in contents.entries:
        key_id = None if entry.certificate_der is None else _fingerprint(entry.certificate_der)
        bags.keys.append(KeyBag(entry.pkcs8.der, sealed=False, name=entry.name, key_id=key_id))
        if entry.certificate_der is not None:
            bags.certificates.append(CertificateBag(entry.certificate_der, entry.name, key_id))
    bags.certificates += [CertificateBag(der) for der in contents.others_der]
    return write_bags(bags, password, profile=profile, iterations=iterations)


def write_bags(bags: Bags, password: "Secret", *, profile: str = PROFILES[0], iterations: int | None = None) -> bytes:
    """One file with these bags, in their order. A key that is sealed, with the same password, stays as it is."""
    if not len(password):
        raise NotPermitted(problem="the password is empty", remedy="Choose a password of ten characters or more.")
    counts = _COUNTS[profile]
    if iterations is not None:
        counts = counts._replace(encryption=iterations, mac=iterations)
    writer = _Writer(password, profile, counts)
    safes = tlv(SEQUENCE, writer.certificates(bags), writer.keys(bags.keys))
    content = _content(DATA, tlv(OCTET_STRING, safes))
    return tlv(SEQUENCE, integer(3), content, writer.mac(safes))


class _Writer:
    """One writing of one file."""

    def __init__(self, password: "Secret", profile: str, counts: _Counts) -> None:
        self._password = password
        self._text, self._bytes = utf16_forms(password)[0], byte_forms(password)[0]
        self._profile, self._counts = profile, counts

    def certificates(self, contents: Bags) -> bytes:
        """All certificates, and what else there is, encrypted together."""
        bags = [_certificate_bag(one) for one in contents.certificates] + contents.others
        scheme = self._scheme()
        hidden = tlv(_IMPLICIT_OCTETS_0, self._encrypt(scheme, tlv(SEQUENCE, *bags)))
        encrypted = tlv(SEQUENCE, oid(DATA), scheme.algorithm(), hidden)
        return _content(ENCRYPTED_DATA, tlv(SEQUENCE, integer(0), encrypted))

    def keys(self, keys: Sequence[KeyBag]) -> bytes:
        """Each key encrypted by itself."""
        bags = [_bag(SHROUDED_KEY_BAG, self._shrouded(one), _attributes(one)) for one in keys]
        return _content(DATA, tlv(OCTET_STRING, tlv(SEQUENCE, *bags)))

    def _shrouded(self, key: KeyBag) -> bytes:
        if key.sealed and key.random_number is None:
            return key.value
        scheme, pkcs8 = self._scheme(), open_key_bag(key, self._password, "")
        return tlv(SEQUENCE, scheme.algorithm(), tlv(OCTET_STRING, self._encrypt(scheme, pkcs8.der)))

    def mac(self, data: bytes) -> bytes:
        """MacData of RFC 7292 5.1; the newer PBMAC1 is not read by OpenSSL before 3.4."""
        salt, name, count = os.urandom(16), self._counts.mac_hash, self._counts.mac
        key = derivation.pkcs12(name, self._text, salt, count, 3, hashlib.new(name, usedforsecurity=False).digest_size)
        dotted = next(dotted for dotted, known in HASHES.items() if known == name)
        algorithm = tlv(SEQUENCE, oid(dotted), tlv(NULL))
        digest_info = tlv(SEQUENCE, algorithm, tlv(OCTET_STRING, hmac.digest(key, data, name)))
        return tlv(SEQUENCE, digest_info, tlv(OCTET_STRING, salt), integer(count))

    def _scheme(self) -> Scheme:
        if self._profile == "legacy-3des":
            return Pkcs12Pbe(ciphers.TRIPLE_DES, os.urandom(8), self._counts.encryption)
        derived = Pbkdf2(os.urandom(16), self._counts.encryption, "sha256")
        return Pbes2(derived, ciphers.AES_256, os.urandom(16))

    def _encrypt(self, scheme: Scheme, plain: bytes) -> bytes:
        return scheme.encrypt(self._text if scheme.takes_text else self._bytes, plain)


def _content(dotted: str, value: bytes) -> bytes:
    return tlv(SEQUENCE, oid(dotted), tlv(EXPLICIT_0, value))


def _bag(dotted: str, value: bytes, attributes: bytes) -> bytes:
    return tlv(SEQUENCE, oid(dotted), tlv(EXPLICIT_0, value), attributes)


def _certificate_bag(bag: CertificateBag) -> bytes:
    value = tlv(SEQUENCE, oid(X509), tlv(EXPLICIT_0, tlv(OCTET_STRING, bag.der)))
    return _bag(CERTIFICATE_BAG, value, _attributes(bag))


def _attributes(bag: KeyBag | CertificateBag) -> bytes:
    """The name, what ties a key to its certificate, and what else other programs wrote there."""
    made = list(bag.attributes)
    if bag.name is not None:
        made.append(_attribute(FRIENDLY_NAME, tlv(_BMP_STRING, bag.name.encode("utf-16-be", "replace"))))
    if bag.key_id is not None:
        made.append(_attribute(LOCAL_KEY_ID, tlv(OCTET_STRING, bag.key_id)))
    return set_of(*made) if made else b""


def _fingerprint(certificate_der: bytes) -> bytes:
    """The certificate's SHA-1, which is the localKeyID that most programs write."""
    return hashlib.sha1(certificate_der, usedforsecurity=False).digest()


def _attribute(dotted: str, value: bytes) -> bytes:
    return tlv(SEQUENCE, oid(dotted), tlv(SET, value))
