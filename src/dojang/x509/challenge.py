"""Proof that a private key and a certificate belong together: sign something unforeseeable, verify it."""

from secrets import token_bytes
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from dojang.errors import CertificateUnusable, Phrase, VerificationFailed
from dojang.x509.keys import same_key
from dojang.x509.name import format_name
from dojang.x509.reading import read_certificate
from dojang.x509.request import hash_for_curve, signature_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_PREFIX = b"dojang proof of possession\x00"


def prove_possession(private_key: "PrivateKey", certificate_der: bytes) -> None:
    """Return when a fresh signature by ``private_key`` verifies with the certificate's public key.

    Raises ``CertificateUnusable`` otherwise; what the key's location raises passes through.
    """
    certificate = read_certificate(certificate_der)
    # The prefix keeps the signature from ever standing for anything else that this key might be asked to sign.
    challenge = _PREFIX + token_bytes(32)
    try:
        public_key = certificate.public_key()
        if not same_key(public_key, private_key.public_key()):
            raise InvalidSignature
        signature = signature_of(private_key, challenge)
        _verify(public_key, signature, challenge)
    except (InvalidSignature, ValueError) as error:
        problem = Phrase("the private key does not belong to it")
        raise CertificateUnusable(subject=format_name(certificate.subject), problem=problem) from error


def prove_key(private_key: "PrivateKey") -> None:
    """Return when a fresh signature by ``private_key`` verifies with the public key that its location gives.

    For keys without a certificate. Raises ``VerificationFailed`` otherwise.
    """
    challenge = _PREFIX + token_bytes(32)
    try:
        _verify(private_key.public_key(), signature_of(private_key, challenge), challenge)
    except (InvalidSignature, ValueError) as error:
        problem = Phrase("a signature by the key does not verify with its own public key")
        raise VerificationFailed(problems=(problem,)) from error


def _verify(public_key: "PublicKeyTypes", signature: bytes, challenge: bytes) -> None:
    if isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(signature, challenge, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, challenge, _ecdsa(public_key.curve))
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        public_key.verify(signature, challenge)
    else:
        raise InvalidSignature


def _ecdsa(curve: ec.EllipticCurve) -> ec.ECDSA:
    return ec.ECDSA(hash_for_curve(curve))
