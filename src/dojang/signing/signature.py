"""Whether a signature over a digest or a message was made by a public key."""

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from dojang.signing.algorithms import SignatureAlgorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey

HASH_CLASSES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def hash_is_allowed(hash_name: str | None) -> bool:
    """MD5, SHA-1 and what we do not know are not."""
    return hash_name in HASH_CLASSES


def signature_matches(
    key: "PublicKey",
    algorithm: SignatureAlgorithm,
    signature: bytes,
    *,
    hash_name: str,
    digest: bytes | None,
    message: bytes | None,
) -> bool:
    """Whether ``signature`` is that of ``key`` over ``digest``, or for Ed25519 over ``message``.

    A key of another kind than the algorithm, and a hash we refuse, simply do not match.
    """
    try:
        if isinstance(key, Ed25519PublicKey):
            if algorithm.padding != "ed25519" or message is None:
                return False
            key.verify(signature, message)
            return True
        if digest is None or hash_name not in HASH_CLASSES:
            return False
        return _verify_digest(key, algorithm, signature, digest, HASH_CLASSES[hash_name]())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False


def _verify_digest(
    key: "PublicKey", algorithm: SignatureAlgorithm, signature: bytes, digest: bytes, hashed: hashes.HashAlgorithm
) -> bool:
    if isinstance(key, rsa.RSAPublicKey) and algorithm.padding == "pkcs1v15":
        key.verify(signature, digest, padding.PKCS1v15(), Prehashed(hashed))
    elif isinstance(key, rsa.RSAPublicKey) and algorithm.padding == "pss":
        mask = HASH_CLASSES.get(algorithm.mgf_hash or "")
        if mask is None:
            return False
        salt = padding.PSS.AUTO if algorithm.salt_length is None else algorithm.salt_length
        pss = padding.PSS(padding.MGF1(mask()), salt)
        key.verify(signature, digest, pss, Prehashed(hashed))
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm.padding == "ecdsa":
        key.verify(signature, digest, ec.ECDSA(Prehashed(hashed)))
    else:
        return False
    return True
