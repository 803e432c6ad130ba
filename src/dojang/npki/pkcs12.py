"""PKCS#12 files (``.pfx``, ``.p12``; RFC 7292): keys with R kept, their certificates, and the certificates above them.

R stands in the attributes of the PKCS#8 inside a key bag; some programs put it among the bag's own attributes. Either
way it is in the ``Pkcs8`` that comes out. Libraries drop it, so the file is taken apart here.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from dojang.der import (
    CONSTRUCTED,
    OCTET_STRING,
    SEQUENCE,
    Element,
    MalformedDer,
    children,
    expect,
    parse,
    parse_loosely,
    parts,
    read_integer,
    read_oid,
)
from dojang.errors import NotPermitted, PasswordIncorrect, Phrase, UnsupportedFormat
from dojang.npki import derivation
from dojang.npki.passwords import ENCODINGS, byte_forms, utf16_forms
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.pkcs12_bags import (
    CERTIFICATE_BAG,
    EXPLICIT_0,
    KEY_BAG,
    NESTED_BAG,
    SHROUDED_KEY_BAG,
    Bags,
    KeyBag,
    Pkcs12,
)
from dojang.npki.schemes import UnknownScheme, read_pbkdf2, read_scheme
from dojang.secret import Secret

MAX_FILE_BYTES: Final = 1 << 20
MAX_BAGS: Final = 1000
_MAX_NESTING: Final = 4
DATA, ENCRYPTED_DATA = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.6"
_PBMAC1: Final = "1.2.840.113549.1.5.14"  # RFC 9579
HASHES: Final = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_LONGEST_MAC_KEY = 128


def read_pkcs12(data: bytes, password: Secret, path: str, encodings: tuple[str, ...] = ENCODINGS) -> Pkcs12:
    """Everything in the file, checked against its MAC where it has one.

    ``PasswordIncorrect`` for a wrong password and for damage alike, ``NotPermitted`` when it asks for more work than
    an honest file does, ``UnsupportedFormat`` for ways of encryption that dojang lacks.
    """
    with _refusing(path):
        reader = _Reader(password, path, encodings)
        return reader.read(data).paired(reader.open_key)


def read_bags(data: bytes, password: Secret, path: str, encodings: tuple[str, ...] = ENCODINGS) -> Bags:
    """The same with the keys as they lie there; the password is known to be right when this returns."""
    with _refusing(path):
        reader = _Reader(password, path, encodings)
        bags = reader.read(data)
        if not reader.proven and bags.keys:
            reader.open_key(bags.keys[0])
        return bags


def open_key_bag(bag: KeyBag, password: Secret, path: str, encodings: tuple[str, ...] = ENCODINGS) -> Pkcs8:
    """The key in a bag that ``read_bags`` gave, R with it; fails as ``read_pkcs12`` does."""
    with _refusing(path):
        return _Reader(password, path, encodings).open_key(bag)


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        yield
    except (UnknownScheme, UnsupportedAlgorithm) as error:
        problem = Phrase("it is protected with {cipher}", cipher=error)
        raise UnsupportedFormat(what=path, problem=problem) from error
    except ValueError as error:
        raise PasswordIncorrect(path=path) from error


class _Reader:
    """One reading of one file: the forms its password may have, and the work left to spend on them.

    ``proven``: something in the file could be opened with that password only.
    """

    def __init__(self, password: Secret, path: str, encodings: tuple[str, ...]) -> None:
        self._texts, self._bytes = utf16_forms(password, encodings), byte_forms(password, encodings)
        self._path, self._work = path, derivation.MAX_ITERATIONS_PER_FILE
        self._legacy = self.proven = False

    def read(self, data: bytes) -> Bags:
        if len(data) > MAX_FILE_BYTES:
            raise MalformedDer("it is too large")
        version, content, *mac = parts(parse_loosely(data, SEQUENCE), 2, 3)
        if read_integer(version) != 3:
            raise MalformedDer("it is another version")
        safes = self._data_in(content)
        if mac:
            self._check_mac(expect(mac[0], SEQUENCE), safes)
        bags = Bags()
        for safe in children(parse_loosely(safes, SEQUENCE)):
            self._open_bags(self._data_in(safe), bags, _MAX_NESTING)
        bags.legacy = self._legacy
        return bags

    def open_key(self, bag: KeyBag) -> Pkcs8:
        """A ``ValueError`` for a wrong password and for damage."""
        der = bag.value
        if bag.sealed:
            algorithm, hidden = parts(parse_loosely(der, SEQUENCE), 2, 2)
            der = self._decrypted(algorithm, _octets(hidden), Pkcs8.from_der)
        return bag.with_random_number(Pkcs8.from_der(der))

    def _data_in(self, content: Element) -> bytes:
        """The octets of a ContentInfo, decrypted if need be."""
        kind, held = parts(expect(content, SEQUENCE), 2, 2)
        dotted, (value,) = read_oid(kind), parts(expect(held, EXPLICIT_0), 1, 1)
        if dotted == DATA:
            return expect(value, OCTET_STRING).content
        if dotted != ENCRYPTED_DATA:
            raise UnknownScheme(dotted)
        _, encrypted = parts(expect(value, SEQUENCE), 2, 3)[:2]
        _, algorithm, hidden = parts(expect(encrypted, SEQUENCE), 3, 3)
        return self._decrypted(algorithm, _octets(hidden))

    def _decrypted(self, algorithm: Element, hidden: bytes, check: Callable[[bytes], object] = parse) -> bytes:
        """Tried with each form of the password that the scheme may mean, until one gives DER."""
        scheme = read_scheme(algorithm)
        self._legacy = self._legacy or scheme.takes_text
        failure = ValueError("no form of the password")
        for form in self._texts if scheme.takes_text else self._bytes:
            self._spend(scheme.work)
            try:
                plain = scheme.decrypt(form, hidden)
                check(plain)
            except ValueError as error:
                failure = error
            else:
                self.proven = True
                return plain
        raise failure

    def _check_mac(self, mac: Element, data: bytes) -> None:
        """RFC 7292 5.1: the form of the password that gives the MAC is the only one left to try."""
        digest_info, salt, *count = parts(mac, 2, 3)
        algorithm, digest = parts(expect(digest_info, SEQUENCE), 2, 2)
        wanted = expect(digest, OCTET_STRING).content
        dotted, *parameters = parts(expect(algorithm, SEQUENCE), 1, 2)
        if read_oid(dotted) == _PBMAC1:
            forms, key_of, name = self._bytes, *self._pbmac1(parameters)
        else:
            name = _hash_name(read_oid(dotted))
            forms, key_of = self._texts, self._mac_key(name, salt, read_integer(count[0]) if count else 1)
        for form in forms:
            if hmac.compare_digest(hmac.digest(key_of(form), data, name), wanted):
                if forms is self._texts:
                    self._texts = [form]
                self.proven = True
                return
        raise ValueError("the MAC is another")

    def _mac_key(self, name: str, salt: Element, iterations: int) -> Callable[[bytes], bytes]:
        salt_octets, size = expect(salt, OCTET_STRING).content, hashlib.new(name, usedforsecurity=False).digest_size

        def key_of(text: bytes) -> bytes:
            self._spend(iterations * derivation.SLOWNESS)
            return derivation.pkcs12(name, text, salt_octets, iterations, 3, size)

        return key_of

    def _pbmac1(self, parameters: list[Element]) -> tuple[Callable[[bytes], bytes], str]:
        """RFC 9579: PBKDF2 makes the key, and the PRF's own hash the MAC."""
        if not parameters:
            raise MalformedDer("it does not say how its MAC is made")
        function, scheme = parts(expect(parameters[0], SEQUENCE), 2, 2)
        derived, length = read_pbkdf2(function)
        if length is None or not 1 <= length <= _LONGEST_MAC_KEY:
            raise MalformedDer("its MAC has a key of no length")
        name = derivation.PRFS.get(read_oid(parts(expect(scheme, SEQUENCE), 1, 2)[0]))
        if name is None:
            raise UnknownScheme(_PBMAC1)

        def key_of(password: bytes) -> bytes:
            self._spend(derived.work)
            return derived.derive(password, length)

        return key_of, name

    def _spend(self, work: int) -> None:
        self._work -= work
        if work < 1 or self._work < 0:
            raise NotPermitted(
                problem=Phrase("{path} asks for more work to open than any honest key file", path=self._path),
                remedy="Do not open this file; get the key from where it was made.",
            )

    def _open_bags(self, contents: bytes, bags: Bags, depth: int) -> None:
        """Every bag in SafeContents."""
        for bag in children(parse_loosely(contents, SEQUENCE)):
            bags.count += 1
            if bags.count > MAX_BAGS or depth == 0:
                raise MalformedDer("it holds more than anybody keeps in a file")
            kind, held, *attributes = parts(expect(bag, SEQUENCE), 2, 3)
            dotted, (value,) = read_oid(kind), parts(expect(held, EXPLICIT_0), 1, 1)
            if dotted == NESTED_BAG:
                self._open_bags(value.der, bags, depth - 1)
            elif dotted == CERTIFICATE_BAG:
                bags.add_certificate(bag, value, attributes)
            elif dotted in (KEY_BAG, SHROUDED_KEY_BAG):
                bags.add_key(value.der, dotted == SHROUDED_KEY_BAG, attributes)
            else:
                bags.others.append(bag.der)


def _octets(hidden: Element) -> bytes:
    """An OCTET STRING, also one tagged [0], also one in pieces."""
    if hidden.tag & CONSTRUCTED:
        return b"".join(expect(piece, OCTET_STRING).content for piece in children(hidden))
    return hidden.content


def _hash_name(dotted: str) -> str:
    if dotted not in HASHES:
        raise UnknownScheme(dotted)
    return HASHES[dotted]
