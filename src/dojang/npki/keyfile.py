"""The encrypted private-key file (``signPri.key``): what it asks for, opening it, making one."""

import os
from typing import TYPE_CHECKING, cast

from dojang.errors import (
    FileMalformed,
    NotPermitted,
    PasswordIncorrect,
    Phrase,
    UnsupportedFormat,
    UnsupportedMechanism,
)

if TYPE_CHECKING:
    from asn1crypto import core, keys
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.secret import Secret

MAX_FILE_BYTES = 1 << 20
MAX_ITERATIONS = 10_000_000
SEAL_ITERATIONS = 600_000  # OWASP 2023 for PBKDF2-HMAC-SHA256
_MAX_KEY_BYTES = 64
_MAX_SCRYPT_BYTES = 256 << 20
_MAX_SCRYPT_LANES = 16

_PBES2 = "1.2.840.113549.1.5.13"
_SCRYPT = "1.3.6.1.4.1.11591.4.11"  # RFC 7914

# KCAC.TS.ENC and the ARIA arc; these have an issue of their own.
_KOREAN_SCHEMES = {
    "1.2.410.200004.1.15": "seedCBCWithSHA1",
    "1.2.410.200004.1.4": "seedCBC",
    "1.2.410.200046.1.1.2": "aria128-cbc",
    "1.2.410.200046.1.1.7": "aria192-cbc",
    "1.2.410.200046.1.1.12": "aria256-cbc",
}


def check_key_file(der: bytes, path: str) -> None:
    """Refuse a key file that could not or should not be opened, before anybody types a password.

    ``FileMalformed`` when it is not encrypted, ``UnsupportedFormat`` for ciphers dojang lacks, ``NotPermitted`` when
    it asks for more work than an honest file does, ``PasswordIncorrect`` when its frame is damaged.
    """
    try:
        plain = _is_plain(der)
        korean, excessive = (None, False) if plain else _demands(der)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise PasswordIncorrect(path=path) from error
    if plain:
        raise FileMalformed(path=path, expected="an encrypted private key", problem="its key is not encrypted")
    if excessive:
        raise NotPermitted(
            problem=Phrase("{path} asks for more work to open than any honest key file", path=path),
            remedy="Do not open this file; get the key from where it was made.",
        )
    if korean:
        raise UnsupportedFormat(what=path, problem=Phrase("its key is encrypted with {cipher}", cipher=korean))


def open_key(der: bytes, password: "Secret", path: str) -> "PrivateKey":
    """The private key in a key file; ``PasswordIncorrect`` for a wrong password and for a damaged file alike."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    check_key_file(der, path)
    try:
        return cast("PrivateKey", load_der_private_key(der, password.reveal()))
    except UnsupportedAlgorithm as error:
        raise UnsupportedFormat(what=path, problem="its encryption or its kind of key is unknown") from error
    except (ValueError, TypeError) as error:
        # cryptography answers an unknown cipher, bad padding and bad ASN.1 with ValueError; telling them apart would
        # help whoever guesses passwords, and nobody else.
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


def seal_key(key: "PrivateKey", password: "Secret", *, iterations: int = SEAL_ITERATIONS) -> bytes:
    """``key`` as EncryptedPrivateKeyInfo: PBES2, PBKDF2-HMAC-SHA256, AES-256-CBC (RFC 8018)."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return seal_pkcs8(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), password, iterations)


def seal_pkcs8(pkcs8_der: bytes, password: "Secret", iterations: int = SEAL_ITERATIONS) -> bytes:
    """A PKCS#8 encrypted as it stands, attributes (R) included.

    cryptography's own PBES2 output is fixed at 2048 iterations and drops attributes, so only its primitives are used.
    """
    from asn1crypto import core, keys

    if not password.reveal():
        raise NotPermitted(problem="the password is empty", remedy="Choose a password of ten characters or more.")
    salt, iv = os.urandom(16), os.urandom(16)
    encrypted = _encrypt(_derived_key(password.reveal(), salt, iterations), iv, pkcs8_der)
    parameters = {
        "key_derivation_func": {
            "algorithm": "pbkdf2",
            "parameters": {
                "salt": core.OctetString(salt),
                "iteration_count": iterations,
                "prf": {"algorithm": "sha256"},
            },
        },
        "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": iv},
    }
    envelope = keys.EncryptedPrivateKeyInfo(
        {"encryption_algorithm": {"algorithm": "pbes2", "parameters": parameters}, "encrypted_data": encrypted}
    )
    return cast(bytes, envelope.dump())


def _derived_key(password: bytes, salt: bytes, iterations: int) -> bytes:
    import hashlib

    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations, 32)


def _encrypt(key: bytes, iv: bytes, plain: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    fill = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(plain + bytes([fill]) * fill) + encryptor.finalize()


def _envelope(der: bytes) -> "keys.EncryptedPrivateKeyInfo":
    from asn1crypto import keys

    return keys.EncryptedPrivateKeyInfo.load(der, strict=True)


def _is_plain(der: bytes) -> bool:
    """PrivateKeyInfo begins with its version, an INTEGER; EncryptedPrivateKeyInfo with a SEQUENCE."""
    from asn1crypto import core

    contents = core.Sequence.load(der, strict=True).contents
    return bool(contents) and contents[0] == 0x02


def _demands(der: bytes) -> tuple[str | None, bool]:
    """The Korean cipher a key file is encrypted with, if any, and whether opening it would take excessive work."""
    algorithm = _envelope(der)["encryption_algorithm"]
    scheme, parameters = algorithm["algorithm"].dotted, algorithm["parameters"]
    if scheme != _PBES2:
        return _KOREAN_SCHEMES.get(scheme), _asks_too_much(_integers(parameters))
    function = parameters["key_derivation_func"]
    integers = _integers(function["parameters"])
    excessive = _scrypt_too_much(integers) if function["algorithm"].dotted == _SCRYPT else _asks_too_much(integers)
    return _KOREAN_SCHEMES.get(parameters["encryption_scheme"]["algorithm"].dotted), excessive


def _integers(parameters: "core.Asn1Value") -> list[int]:
    """The numbers in SEQUENCE { salt, numbers…, … }: iterations first in PBES1 and PBKDF2, N, r, p in scrypt."""
    from asn1crypto import core

    fields = core.SequenceOf.load(parameters.dump(), strict=True, spec=core.Any)
    parsed = [field.parse() for field in fields]
    return [int(value.native) for value in parsed if isinstance(value, core.Integer)]


def _asks_too_much(integers: list[int]) -> bool:
    """A hostile file can ask for 2^31 rounds or a key of gigabytes."""
    iterations, *key_length = integers or [0]
    return not 1 <= iterations <= MAX_ITERATIONS or any(not 1 <= length <= _MAX_KEY_BYTES for length in key_length)


def _scrypt_too_much(integers: list[int]) -> bool:
    n, r, p, *_ = integers
    return n * r * 128 > _MAX_SCRYPT_BYTES or p > _MAX_SCRYPT_LANES
