"""Who may answer for an authority (RFC 6960 section 4.2.2.2): itself, or whom it certified for that."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponse
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from dojang.errors import Phrase
from dojang.x509.keys import is_strong
from dojang.x509.path import check_path
from dojang.x509.path_checks import WEAK_HASHES, extension_of
from dojang.x509.reading import UNREADABLE

_MOST_CERTIFICATES = 8
_PKCS1 = {
    SignatureAlgorithmOID.RSA_WITH_SHA224,
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
}
_PSS_HASHES = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


def why_not_authorized(
    response: OCSPResponse, issuer: x509.Certificate, at: datetime, crls_der: Iterable[bytes] = ()
) -> Phrase | None:
    """Why an answer does not count for what ``issuer`` issued; ``None`` where it does.

    Whom the authority certified must be named for exactly this (id-kp-OCSPSigning), hold at the moment ``at``, and not
    be revoked in a list of ``crls_der``.
    """
    found: Phrase | None = None
    for candidate in _named(response, issuer):
        problem = None if candidate == issuer else _why_no_delegate(candidate, issuer, at, crls_der)
        if problem is None and not _signed(response, candidate):
            problem = Phrase("its signature does not verify")
        if problem is None:
            return None
        found = found or problem
    return found or Phrase("neither the authority nor anybody that it certified signed it")


def _named(response: OCSPResponse, issuer: x509.Certificate) -> list[x509.Certificate]:
    """The certificates that the answer names as its signer's."""
    candidates = [issuer, *islice(response.certificates, _MOST_CERTIFICATES)]
    return [one for one in dict.fromkeys(candidates) if _is_named(response, one)]


def _is_named(response: OCSPResponse, certificate: x509.Certificate) -> bool:
    if response.responder_name is not None:
        return certificate.subject == response.responder_name
    return _key_hash(certificate) == response.responder_key_hash


def _key_hash(certificate: x509.Certificate) -> bytes:
    """The SHA-1 of the public key's bits, as OCSP names a key."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def _why_no_delegate(
    certificate: x509.Certificate, issuer: x509.Certificate, at: datetime, crls_der: Iterable[bytes]
) -> Phrase | None:
    usage = extension_of(certificate, x509.KeyUsage)
    extended = extension_of(certificate, x509.ExtendedKeyUsage)
    if extended is None or ExtendedKeyUsageOID.OCSP_SIGNING not in extended:
        return Phrase("its signer's certificate is not for answering (OCSPSigning)")
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        return Phrase("its signer's certificate is not for answering (OCSPSigning)")
    # id-pkix-ocsp-nocheck asks for no look; without it, a list that is there is looked into.
    unchecked = extension_of(certificate, x509.OCSPNoCheck) is not None
    report = check_path(
        certificate.public_bytes(Encoding.DER),
        intermediates_der=(),
        anchors_der=[issuer.public_bytes(Encoding.DER)],
        crls_der=() if unchecked else crls_der,
        at=at,
    )
    if report.ok:
        return None
    return Phrase("its signer's certificate does not hold: {problem}", problem=report.problems[0])


def _signed(response: OCSPResponse, signer: x509.Certificate) -> bool:
    try:
        key = signer.public_key()
        return is_strong(key) and any(_verifies(key, response, way) for way in _ways(key, response))
    except UNREADABLE:
        return False


def _verifies(key: Any, response: OCSPResponse, way: tuple[object, ...]) -> bool:
    try:
        key.verify(response.signature, response.tbs_response_bytes, *way)
    except InvalidSignature:
        return False
    return True


def _ways(key: object, response: OCSPResponse) -> list[tuple[object, ...]]:
    """What may be given to the key's ``verify`` after signature and data; nothing where no way is good enough."""
    named = response.signature_algorithm_oid
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return [()]
    if isinstance(key, rsa.RSAPublicKey) and named == SignatureAlgorithmOID.RSASSA_PSS:
        # The parameters that name the hash are not signed themselves, so any strong one is as good.
        return [(padding.PSS(padding.MGF1(one), padding.PSS.AUTO), one) for one in _PSS_HASHES]
    used = response.signature_hash_algorithm
    if used is None or used.name in WEAK_HASHES:
        return []
    if isinstance(key, rsa.RSAPublicKey) and named in _PKCS1:
        return [(padding.PKCS1v15(), used)]
    return [(ec.ECDSA(used),)] if isinstance(key, ec.EllipticCurvePublicKey) else []
