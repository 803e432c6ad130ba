"""The private-key file (``signPri.key``, ``kmPri.key``): what it asks for, opening it, making one.

What is inside stays as it is, byte for byte: a PKCS#8 with its attributes, so that R is never lost.
"""

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dojang.der import OCTET_STRING, SEQUENCE, MalformedDer, expect, parse_shallowly, parts, tlv, to_der
from dojang.errors import NotPermitted, PasswordIncorrect, Phrase, UnsupportedFormat, UnsupportedMechanism
from dojang.npki import ciphers
from dojang.npki.derivation import MAX_ITERATIONS
from dojang.npki.passwords import ENCODINGS, byte_forms, utf16_forms
from dojang.npki.pkcs8 import Pkcs8, is_plain
from dojang.npki.schemes import Pbes2, Pbkdf2, Scheme, SeedPbe, UnknownScheme, read_scheme

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.secret import Secret

MAX_FILE_BYTES: Final = 1 << 20
SEAL_ITERATIONS: Final = 600_000  # OWASP 2023 for PBKDF2-HMAC-SHA256
_KOREAN_ITERATIONS: Final = 2048  # what other programs write, and what some are said to insist on

SCHEMES: Final = ("pbes2-aes256", "pbes2-seed", "seed-cbc-sha1")
"""What a key file can be written with: ours, scheme C for any NPKI client of today, scheme A for older ones."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """The key that a password gave for one file, to seal that file's successor with under the same password.

    The derivation is most of the work of a key file. Who guesses the password of the one has that of the other in any
    case, so that they share its salt tells nothing; the IV is new each time.
    """

    scheme: Pbes2
    key: bytes = field(repr=False)

    @property
    def strong(self) -> bool:
        """Whether it is what a new file would get."""
        made, asked = self.scheme.derivation, SEAL_ITERATIONS
        strong = isinstance(made, Pbkdf2) and made.prf == "sha256" and made.iterations >= asked and len(made.salt) >= 16
        return strong and self.scheme.cipher == ciphers.AES_256

    def seal(self, pkcs8_der: bytes) -> bytes:
        """The key file of a successor."""
        scheme = replace(self.scheme, iv=os.urandom(16))
        return _framed_as(scheme, ciphers.encrypt(scheme.cipher, self.key, scheme.iv, pkcs8_der))


@dataclass(frozen=True, slots=True)
class KeyFileForm:
    """How key files are written: by which of ``SCHEMES``, and in which encoding a password beyond ASCII goes in.

    Without a scheme, a file that takes another's place is written as that one was, so that the programs that read it
    still do; any other by the first of them. On reading, every scheme is known; the password is tried in this encoding
    first, then in the others.

    ``in_pem`` is how keys in PEM files are written, where not as OpenSSL reads them.
    """

    scheme: str | None = None
    encoding: str = ENCODINGS[0]
    in_pem: "KeyFileForm | None" = None

    @property
    def encodings(self) -> tuple[str, ...]:
        return (self.encoding, *(one for one in ENCODINGS if one != self.encoding))

    def seal(
        self, pkcs8: Pkcs8, password: "Secret", replaced_der: bytes = b"", sealing: Sealing | None = None
    ) -> bytes:
        """The key file, which takes the place of ``replaced_der`` if there is one; see ``seal_pkcs8``.

        ``sealing`` is what opened that one with the same password, and is used where it is as strong as a new one.
        """
        scheme = self.scheme or scheme_of(replaced_der) or SCHEMES[0]
        if scheme == SCHEMES[0] and sealing is not None and sealing.strong:
            return sealing.seal(pkcs8.der)
        return seal_pkcs8(pkcs8.der, password, scheme=scheme, encoding=self.encoding)

    def open(self, der: bytes, password: "Secret | None", path: str) -> tuple[Pkcs8, Sealing | None]:
        """What a key file holds, see ``open_pkcs8``, and what its successor can be sealed with."""
        return open_sealed(der, password, path, self.encodings)


def check_key_file(der: bytes, path: str) -> None:
    """Refuse a key file that could not or should not be opened, before anybody types a password.

    ``UnsupportedFormat`` for ciphers dojang lacks, ``NotPermitted`` when it asks for more work than an honest file
    does, ``PasswordIncorrect`` when its frame is damaged. A key that is not encrypted passes.
    """
    if not is_unencrypted(der):
        _read(der, path)


def scheme_of(der: bytes) -> str | None:
    """By which of ``SCHEMES`` a key file was written, or the one that the same programs read; ``None`` for others."""
    try:
        scheme, _ = _framed(to_der(der))
    except (ValueError, UnknownScheme):
        return None
    if isinstance(scheme, SeedPbe):
        return "seed-cbc-sha1"
    return "pbes2-seed" if isinstance(scheme, Pbes2) and scheme.cipher == ciphers.SEED else None


def is_unencrypted(der: bytes) -> bool:
    """Whether it is a PKCS#8 that anybody can read."""
    try:
        return is_plain(der)
    except MalformedDer:
        return False


def open_pkcs8(der: bytes, password: "Secret | None", path: str, encodings: tuple[str, ...] = ENCODINGS) -> Pkcs8:
    """What a key file holds, attributes included; ``PasswordIncorrect`` for a wrong password and for damage alike.

    The password is tried as the bytes of each encoding in turn; a file that is not encrypted needs none.
    """
    return open_sealed(der, password, path, encodings)[0]


def open_sealed(
    der: bytes, password: "Secret | None", path: str, encodings: tuple[str, ...] = ENCODINGS
) -> tuple[Pkcs8, Sealing | None]:
    """The same, and what a successor can be sealed with: where the first encoding opened a file by PBES2."""
    from cryptography.exceptions import UnsupportedAlgorithm

    if is_unencrypted(der):
        return _plain(der, path), None
    scheme, hidden = _read(der, path)
    if password is None:
        raise PasswordIncorrect(path=path)
    forms = utf16_forms(password, encodings) if scheme.takes_text else byte_forms(password, encodings)
    failure: Exception | None = None
    for form in forms:
        try:
            return _opened(scheme, form, hidden, first=form == forms[0])
        except UnsupportedAlgorithm as error:
            raise UnsupportedFormat(what=path, problem="its encryption or its kind of key is unknown") from error
        except ValueError as error:
            # Bad padding and bad ASN.1 are not told apart: that would help whoever guesses passwords, and nobody else.
            failure = error
    raise PasswordIncorrect(path=path) from failure


def _opened(scheme: Scheme, form: bytes, hidden: bytes, *, first: bool) -> tuple[Pkcs8, Sealing | None]:
    if not isinstance(scheme, Pbes2):
        return Pkcs8.from_der(scheme.decrypt(form, hidden)), None
    sealing = Sealing(scheme, scheme.key(form))
    pkcs8 = Pkcs8.from_der(ciphers.decrypt(scheme.cipher, sealing.key, scheme.iv, hidden))
    return pkcs8, sealing if first else None


def _plain(der: bytes, path: str) -> Pkcs8:
    try:
        return Pkcs8.from_der(der)
    except MalformedDer as error:
        raise PasswordIncorrect(path=path) from error


def open_key(der: bytes, password: "Secret | None", path: str, encodings: tuple[str, ...] = ENCODINGS) -> "PrivateKey":
    """The private key in a key file, by the same rules."""
    return load_key(open_pkcs8(der, password, path, encodings), path)


def load_key(pkcs8: Pkcs8, path: str) -> "PrivateKey":
    """The key of an opened file; one whose parts do not fit counts as damage of the file at ``path``."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return pkcs8.key()
    except UnsupportedAlgorithm as error:
        raise UnsupportedFormat(what=path, problem="its encryption or its kind of key is unknown") from error
    except (ValueError, TypeError) as error:
        raise PasswordIncorrect(path=path) from error


def generate_key(algorithm: str, *, where: str) -> "PrivateKey":
    """A new key in memory; ``UnsupportedMechanism`` for an algorithm not in the list every location shares."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves = {"ec-p256": ec.SECP256R1(), "ec-p384": ec.SECP384R1(), "ec-p521": ec.SECP521R1()}
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm])
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in ("rsa-2048", "rsa-3072", "rsa-4096"):
        return rsa.generate_private_key(65537, int(algorithm.removeprefix("rsa-")))
    raise UnsupportedMechanism(where=where, mechanism=algorithm)


def seal_key(
    key: "PrivateKey", password: "Secret", *, iterations: int | None = None, scheme: str = SCHEMES[0]
) -> bytes:
    """``key`` as EncryptedPrivateKeyInfo; see ``seal_pkcs8``."""
    return seal_pkcs8(Pkcs8.from_key(key).der, password, iterations, scheme=scheme)


def seal_pkcs8(
    pkcs8_der: bytes,
    password: "Secret",
    iterations: int | None = None,
    *,
    scheme: str = SCHEMES[0],
    encoding: str = ENCODINGS[0],
) -> bytes:
    """A PKCS#8 encrypted as it stands, attributes (R) included, by one of ``SCHEMES``.

    ``encoding`` is for programs that take a password beyond ASCII in another way. ``iterations`` are 600,000 for AES
    and otherwise what other programs write.
    """
    if not len(password):
        raise NotPermitted(problem="the password is empty", remedy="Choose a password of ten characters or more.")
    chosen = _new_scheme(scheme, iterations)
    return _framed_as(chosen, chosen.encrypt(_bytes_in(password, encoding), pkcs8_der))


def _framed_as(scheme: Scheme, hidden: bytes) -> bytes:
    """EncryptedPrivateKeyInfo."""
    return tlv(SEQUENCE, scheme.algorithm(), tlv(OCTET_STRING, hidden))


def _new_scheme(name: str, iterations: int | None) -> Scheme:
    if name == "seed-cbc-sha1":
        return SeedPbe(os.urandom(8), iterations or _KOREAN_ITERATIONS)
    if name == "pbes2-seed":
        return Pbes2(Pbkdf2(os.urandom(8), iterations or _KOREAN_ITERATIONS), ciphers.SEED, os.urandom(16))
    assert name == "pbes2-aes256"
    return Pbes2(Pbkdf2(os.urandom(16), iterations or SEAL_ITERATIONS, "sha256"), ciphers.AES_256, os.urandom(16))


def _bytes_in(password: "Secret", encoding: str) -> bytes:
    forms = byte_forms(password, (encoding,))
    if not forms:
        raise NotPermitted(
            problem=Phrase("the password cannot be written in {encoding}", encoding=encoding),
            remedy="Choose one of letters, digits and signs that every keyboard has.",
        )
    return forms[0]


def _read(der: bytes, path: str) -> tuple[Scheme, bytes]:
    """The scheme and the hidden part of an EncryptedPrivateKeyInfo that may be opened."""
    try:
        try:
            scheme, data = _framed(der)
        except MalformedDer:
            scheme, data = _framed(to_der(der))
    except UnknownScheme as error:
        problem = Phrase("its key is encrypted with {cipher}", cipher=error)
        raise UnsupportedFormat(what=path, problem=problem) from error
    except ValueError as error:
        raise PasswordIncorrect(path=path) from error
    if not 1 <= scheme.work <= MAX_ITERATIONS:
        raise NotPermitted(
            problem=Phrase("{path} asks for more work to open than any honest key file", path=path),
            remedy="Do not open this file; get the key from where it was made.",
        )
    return scheme, data


def _framed(der: bytes) -> tuple[Scheme, bytes]:
    algorithm, hidden = parts(parse_shallowly(der, SEQUENCE), 2, 2)
    return read_scheme(algorithm), expect(hidden, OCTET_STRING).content
