"""Proving that a certificate and a key belong together, before and after the one signature is made."""

from datetime import datetime

from dojang.errors import CertificateUnusable, Phrase
from dojang.signing.algorithms import SignatureAlgorithm
from dojang.signing.cms_seal import Seal
from dojang.signing.signature import signature_matches
from dojang.x509.keys import algorithm_of
from dojang.x509.name import format_name
from dojang.x509.reading import read_certificate


def check_certificate(certificate_der: bytes, key_algorithm: str, at: datetime) -> None:
    """``CertificateUnusable`` when the certificate is for another kind of key, or not valid at that moment."""
    certificate = read_certificate(certificate_der)
    algorithm = algorithm_of(certificate.public_key())
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if algorithm != key_algorithm:
        problem = Phrase("it is for {theirs}, the key is {ours}", theirs=algorithm, ours=key_algorithm)
    elif not begins <= at <= ends:
        problem = Phrase("it is valid from {begins} to {ends}", begins=begins, ends=ends)
    else:
        return
    raise CertificateUnusable(subject=format_name(certificate.subject), problem=problem)


def check_signature(seal: Seal, signature: bytes, *, digest: bytes, message: bytes) -> None:
    """``CertificateUnusable`` when the signature just made does not verify under the certificate it will carry."""
    certificate = read_certificate(seal.certificate_der)
    hash_name = seal.scheme.hash_name
    algorithm = SignatureAlgorithm(seal.scheme.padding, hash_name, mgf_hash=hash_name, salt_length=len(digest))
    key = certificate.public_key()
    if not signature_matches(key, algorithm, signature, hash_name=hash_name, digest=digest, message=message):
        problem = Phrase("it does not belong to the key that signed")
        raise CertificateUnusable(subject=format_name(certificate.subject), problem=problem)
