"""Certificate requests (PKCS#10, RFC 2986), signed by a key wherever it lives."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.x509.alternative_names import parse_alternative_names

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


def build_request(key: "PrivateKey", subject: x509.Name, alternative_names: Iterable[str] = ()) -> bytes:
    """A request in DER for ``subject``, signed by ``key``. ``alternative_names`` are ``dns:…``, ``ip:…``, ``email:…``.

    Raises ``Usage`` for an alternative name that is none; what the key's location raises passes through.
    """
    builder = x509.CertificateSigningRequestBuilder(subject_name=subject)
    names = parse_alternative_names(alternative_names)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, signature_hash_for(key.public_key())).public_bytes(Encoding.DER)


def signature_hash_for(public_key: "PublicKeyTypes") -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """The hash that a signature of this key uses: as strong as the curve, SHA-256 for RSA, none for Ed25519."""
    if isinstance(public_key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        return None
    return hash_for_curve(public_key.curve) if isinstance(public_key, ec.EllipticCurvePublicKey) else hashes.SHA256()


def signature_of(key: "PrivateKey", data: bytes) -> bytes:
    """A signature over ``data`` with that hash; PKCS#1 v1.5 for RSA. ``ValueError`` for another kind of key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hash_for_curve(key.curve)))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    raise ValueError("no signature is defined for this kind of key")


def hash_for_curve(curve: ec.EllipticCurve) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """The smallest hash of the SHA-2 family that is no weaker than the curve."""
    if curve.key_size > 384:
        return hashes.SHA512()
    return hashes.SHA384() if curve.key_size > 256 else hashes.SHA256()
