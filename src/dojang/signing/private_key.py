"""Any ``cryptography`` private key as a ``DigestSigner``: keys from disk, and token keys already held as such."""

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from dojang.errors import UnsupportedMechanism
from dojang.signing.signature import HASH_CLASSES
from dojang.x509.keys import algorithm_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes as PrivateKey

_OTHERS = ("ec-p256", "ec-p384", "ec-p521", "ed25519")


class PrivateKeySigner:
    """Signs with ``key``; ``UnsupportedMechanism`` for a kind of key no format here takes."""

    def __init__(self, key: "PrivateKey") -> None:
        """Hold the key; nothing is signed yet."""
        algorithm = algorithm_of(key.public_key())
        if not (algorithm.startswith("rsa-") or algorithm in _OTHERS):
            raise UnsupportedMechanism(where="dojang", mechanism=algorithm)
        self._key = key
        self.algorithm = algorithm
        self.at_once: int = getattr(getattr(key, "signer", None), "at_once", 1)  # a key on a token has a signer

    def sign_digest(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        """Sign a digest by ``pkcs1v15``, ``pss`` or ``ecdsa`` (DER)."""
        hashed = HASH_CLASSES[hash_name]()
        if isinstance(self._key, rsa.RSAPrivateKey) and scheme == "pkcs1v15":
            return self._key.sign(digest, padding.PKCS1v15(), Prehashed(hashed))
        if isinstance(self._key, rsa.RSAPrivateKey) and scheme == "pss":
            pss = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
            return self._key.sign(digest, pss, Prehashed(hashed))
        if isinstance(self._key, ec.EllipticCurvePrivateKey) and scheme == "ecdsa":
            return self._key.sign(digest, ec.ECDSA(Prehashed(hashed)))
        raise UnsupportedMechanism(where=self.algorithm, mechanism=scheme)

    def sign_message(self, message: bytes) -> bytes:
        """Sign a whole message; Ed25519 only."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        raise UnsupportedMechanism(where=self.algorithm, mechanism="ed25519")
