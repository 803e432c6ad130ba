"""Certificates, requests and revocation lists from bytes that anybody may have written.

What is not one raises ``FileMalformed``; ``path`` names the file, or says what the bytes were.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from dojang.errors import FileMalformed, Phrase

T = TypeVar("T")

# What cryptography raises, now or when a lazy part is read, for bytes that are not what they should be.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

LARGEST_CERTIFICATE = 1 << 20
LARGEST_CRL = 1 << 27
LARGEST_BUNDLE = 1 << 25
_USUAL_BYTES = 1 << 14


def read_certificate(der: bytes, path: object = "certificate") -> x509.Certificate:
    """The certificate, with names and dates known to be readable; its extensions are read where they are needed."""
    load = _kept_certificate if len(der) <= _USUAL_BYTES else _certificate
    return _read(der, path, Phrase("a certificate"), LARGEST_CERTIFICATE, load)


def read_request(der: bytes, path: object = "request") -> x509.CertificateSigningRequest:
    """The PKCS#10 request (RFC 2986), with its subject and extensions known to be readable."""
    load = _kept_request if len(der) <= _USUAL_BYTES else _request
    return _read(der, path, Phrase("a certificate request"), LARGEST_CERTIFICATE, load)


def read_crl(der: bytes, path: object = "CRL") -> x509.CertificateRevocationList:
    """The revocation list, from DER or PEM, with issuer and dates known to be readable."""
    return _read(der, path, Phrase("a certificate revocation list"), LARGEST_CRL, _crl)


def certificates_in(data: bytes, path: object = "certificate") -> list[bytes]:
    """The certificates in a file, each in DER: one in DER, or any number in PEM."""
    if b"-----BEGIN CERTIFICATE-----" not in data:
        read_certificate(data, path)
        return [data]
    from cryptography.hazmat.primitives.serialization import Encoding

    found = _read(data, path, Phrase("a certificate"), LARGEST_BUNDLE, x509.load_pem_x509_certificates)
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def _read(der: bytes, path: object, expected: Phrase, largest: int, load: Callable[[bytes], T]) -> T:
    if len(der) > largest:
        raise FileMalformed(
            path=path, expected=expected, problem=Phrase("it is larger than {limit} bytes", limit=largest)
        )
    try:
        return load(der)
    except UNREADABLE as error:
        raise FileMalformed(path=path, expected=expected, problem=Phrase("it cannot be decoded")) from error


def _certificate(der: bytes) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(der)
    _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


_kept_certificate = lru_cache(maxsize=64)(_certificate)  # a verb looks at the same few again and again


def _request(der: bytes) -> x509.CertificateSigningRequest:
    request = x509.load_der_x509_csr(der)
    _ = request.subject, request.extensions
    return request


_kept_request = lru_cache(maxsize=16)(_request)  # who asks an authority here reads it as well


def _crl(der: bytes) -> x509.CertificateRevocationList:
    pem = der[:64].lstrip().startswith(b"-----BEGIN ")
    crl = x509.load_pem_x509_crl(der) if pem else x509.load_der_x509_crl(der)
    _ = crl.issuer, crl.last_update_utc, crl.next_update_utc, crl.extensions
    return crl
