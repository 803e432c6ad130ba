"""Signatures under the algorithm identifiers of X.509 (RFC 9481 section 3), by any key object."""

from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.schema import Algorithm, oid_of, typed, value_of
from dojang.der import NULL, oid, tlv
from dojang.x509.request import signature_hash_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey

_NULL = tlv(NULL)
_RSA = {
    "1.2.840.113549.1.1.11": hashes.SHA256(),
    "1.2.840.113549.1.1.12": hashes.SHA384(),
    "1.2.840.113549.1.1.13": hashes.SHA512(),
}
_ECDSA = {
    "1.2.840.10045.4.3.2": hashes.SHA256(),
    "1.2.840.10045.4.3.3": hashes.SHA384(),
    "1.2.840.10045.4.3.4": hashes.SHA512(),
}
_EDDSA = {"1.3.101.112": ed25519.Ed25519PublicKey, "1.3.101.113": ed448.Ed448PublicKey}
# The hash that fits a signature algorithm which names none (RFC 9481 section 3.3): for certHash.
_HASH_BESIDE = {"1.3.101.112": hashes.SHA512(), "1.3.101.113": hashes.SHAKE256(64)}
ALGORITHMS = (*_RSA, *_ECDSA, *_EDDSA)
_RSA_OIDS = {hash_.name: kind for kind, hash_ in _RSA.items()}
_ECDSA_OIDS = {hash_.name: kind for kind, hash_ in _ECDSA.items()}


def algorithm_for(public_key: "PublicKey") -> Algorithm:
    """The AlgorithmIdentifier of what ``sign`` makes with such a key."""
    used = signature_hash_for(public_key)
    if isinstance(public_key, rsa.RSAPublicKey) and used is not None:
        return typed(oid(_RSA_OIDS[used.name]), _NULL)
    if isinstance(public_key, ec.EllipticCurvePublicKey) and used is not None:
        return typed(oid(_ECDSA_OIDS[used.name]))
    return typed(oid(next(kind for kind, family in _EDDSA.items() if isinstance(public_key, family))))


def sign(key: "PrivateKey", data: bytes) -> tuple[Algorithm, bytes]:
    """The algorithm and the signature over ``data``; what the key's location raises passes through."""
    public_key = key.public_key()
    used, algorithm = signature_hash_for(public_key), algorithm_for(public_key)
    if isinstance(key, rsa.RSAPrivateKey) and used is not None:
        return algorithm, key.sign(data, padding.PKCS1v15(), used)
    if isinstance(key, ec.EllipticCurvePrivateKey) and used is not None:
        return algorithm, key.sign(data, ec.ECDSA(used))
    assert isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey))
    return algorithm, key.sign(data)


def verify(public_key: "PublicKey", algorithm: Algorithm, signature: bytes, data: bytes, *, failure: FailInfo) -> None:
    """Raises ``CmpFault``: badAlg for an algorithm that is unknown, weak or of another kind of key, ``failure`` for a
    signature that is not right.
    """
    kind = oid_of(algorithm)
    if kind in ALGORITHMS and value_of(algorithm) not in ((None, _NULL) if kind in _RSA else (None,)):
        raise CmpFault(
            FailInfo.BAD_ALG, "the algorithm {algorithm} has parameters that it may not have", algorithm=kind
        )
    try:
        _verify(public_key, kind, signature, data)
    except InvalidSignature as error:
        raise CmpFault(failure, "the signature is wrong") from error
    except (UnsupportedAlgorithm, ValueError) as error:
        raise CmpFault(FailInfo.BAD_ALG, "the signature cannot be checked") from error


def _verify(public_key: "PublicKey", kind: str, signature: bytes, data: bytes) -> None:
    if isinstance(public_key, rsa.RSAPublicKey) and kind in _RSA:
        public_key.verify(signature, data, padding.PKCS1v15(), _RSA[kind])
    elif isinstance(public_key, ec.EllipticCurvePublicKey) and kind in _ECDSA:
        public_key.verify(signature, data, ec.ECDSA(_ECDSA[kind]))
    elif isinstance(public_key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)) and isinstance(
        public_key, _EDDSA.get(kind, ())
    ):
        public_key.verify(signature, data)
    else:
        raise CmpFault(
            FailInfo.BAD_ALG, "the signature algorithm {algorithm} is not accepted with this key", algorithm=kind
        )


def hash_beside(kind: str) -> hashes.HashAlgorithm | None:
    """The hash for certHash beside a signature algorithm (RFC 9481 section 2); ``None`` for an unknown one."""
    return _RSA.get(kind) or _ECDSA.get(kind) or _HASH_BESIDE.get(kind)


loaded = lru_cache(maxsize=64)(x509.load_der_x509_certificate)
"""A certificate that several look at on its way."""


def certificate_hash(certificate_der: bytes) -> bytes:
    """certHash: by the hash of the certificate's own signature, or the one that fits it (RFC 9481 section 2)."""
    algorithm = loaded(certificate_der).signature_algorithm_oid
    digest = hashes.Hash(hash_beside(algorithm.dotted_string) or hashes.SHA256())
    digest.update(certificate_der)
    return digest.finalize()
