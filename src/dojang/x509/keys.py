"""Public keys by the names that commands use: ``rsa-2048``, ``ec-p256``, ``ed25519`` …"""

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_CURVES = {"secp256r1": "ec-p256", "secp384r1": "ec-p384", "secp521r1": "ec-p521"}
# How the SEQUENCE of modulus and exponent begins, its length, and how it ends.
_RSA_SIZES = {
    (bytes.fromhex("3082010a0282010100"), 270): "rsa-2048",
    (bytes.fromhex("3082018a0282018100"), 398): "rsa-3072",
    (bytes.fromhex("3082020a0282020100"), 526): "rsa-4096",
}
_F4 = bytes.fromhex("0203010001")


def algorithm_of(public_key: "PublicKeyTypes") -> str:
    """The name of the algorithm with its size; for keys that dojang does not make, a name that tells what it is."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return f"rsa-{public_key.key_size}"
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return _CURVES.get(public_key.curve.name, f"ec-{public_key.curve.name}")
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return "ed25519"
    return type(public_key).__name__.removesuffix("PublicKey").lstrip("_").lower()


def usual_rsa(rsa_key: bytes) -> str | None:
    """The name of an RSA key as nearly all are, from its DER (RFC 8017, A.1.1): a usual size, and 65537."""
    algorithm = _RSA_SIZES.get((rsa_key[:9], len(rsa_key)))
    usual = algorithm is not None and rsa_key.endswith(_F4) and rsa_key[9] & 0x80 and rsa_key[-len(_F4) - 1] & 1
    return algorithm if usual else None


def is_strong(public_key: "PublicKeyTypes") -> bool:
    """Whether the key is large enough to be relied on today, and nothing bad is known of how it was made."""
    from dojang.x509.weak_keys import is_weak

    return not is_weak(public_key)


def same_key(one: "PublicKeyTypes", other: "PublicKeyTypes") -> bool:
    """Whether two public keys are the same, by their SubjectPublicKeyInfo; they may come from different libraries."""
    return spki_of(one) == spki_of(other)


def spki_of(public_key: "PublicKeyTypes") -> bytes:
    """The SubjectPublicKeyInfo in DER."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
