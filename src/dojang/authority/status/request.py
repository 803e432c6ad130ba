"""What an OCSP request asks for (RFC 6960 section 4.1), from bytes that anybody may have sent.

Strict DER. A signature and the name of the asker are read over, since the state of a certificate is no secret; what
asks for something that is critical and not known here is refused, as are a nonce of no octets and one of more than 128
(RFC 9654 section 2.1).
"""

from dataclasses import dataclass
from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes

from dojang.der import OCTET_STRING, SEQUENCE, MalformedDer, children, parse, parse_shallowly, parts, tlv

LARGEST_REQUEST: Final = 1 << 16
MOST_CERTIFICATES: Final = 64
LONGEST_NONCE: Final = 128
_LONGEST_SERIAL_BITS: Final = 160
_NONCE: Final = x509.OCSPNonce.oid
_REQUESTOR_NAME: Final = 0xA1
_UNDERSTOOD: Final = {
    _NONCE,
    x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.4"),  # which forms of an answer are read: there is one
    x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.7"),  # where else the answer may be had
    x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.8"),  # preferred signature algorithms: the key has one
}
HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "1.3.14.3.2.26": hashes.SHA1(),  # noqa: S303
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
"""By which a certificate's issuer may be named. SHA-1 names it and protects nothing (RFC 5019 section 2.1.1)."""


class RequestMalformed(ValueError):
    """Not a request, or one that asks for what nobody can answer; its text says why."""


@dataclass(frozen=True, slots=True)
class CertId:
    """One certificate, as RFC 6960 names it: hashes of its issuer's name and key, and its serial."""

    algorithm: str
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class Asked:
    """The certificates asked for in their order, and the nonce to be repeated."""

    certificates: tuple[CertId, ...]
    nonce: bytes | None


@asn1.sequence
class _Algorithm:
    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _CertId:
    hash_algorithm: _Algorithm
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial_number: int


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(False)]
    value: bytes


@asn1.sequence
class _Single:
    certificate: _CertId
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(0)]


@asn1.sequence
class _Tbs:
    version: Annotated[int | None, asn1.Explicit(0)]
    requests: list[_Single]
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(2)]


@asn1.sequence
class _Request:
    tbs: _Tbs


def read_request(der: bytes) -> Asked:
    """The request in these bytes. Raises ``RequestMalformed``, and nothing else."""
    if len(der) > LARGEST_REQUEST:
        raise RequestMalformed(f"it is larger than {LARGEST_REQUEST} bytes")
    tbs = _decoded(der).tbs
    if tbs.version:
        raise RequestMalformed("its version is not 1")
    if not 0 < len(tbs.requests) <= MOST_CERTIFICATES:
        raise RequestMalformed(f"it asks for no certificate, or for more than {MOST_CERTIFICATES}")
    for single in tbs.requests:
        _check_understood(single.extensions or ())
    extensions = tbs.extensions or ()
    _check_understood(extensions)
    return Asked(tuple(_cert_id(single.certificate) for single in tbs.requests), _nonce_in(extensions))


def _decoded(der: bytes) -> _Request:
    try:
        return asn1.decode_der(_Request, der)
    except ValueError:
        pass
    try:
        return asn1.decode_der(_Request, _without_asker(der))
    except ValueError as error:
        raise RequestMalformed("it cannot be decoded") from error


def _without_asker(der: bytes) -> bytes:
    """The same request without the name and the signature of who asks."""
    tbs = parts(parse(der, SEQUENCE), 1, 2)[0]
    if tbs.tag != SEQUENCE:
        raise MalformedDer
    return tlv(SEQUENCE, tlv(SEQUENCE, *(part.der for part in children(tbs) if part.tag != _REQUESTOR_NAME)))


def _cert_id(named: _CertId) -> CertId:
    algorithm = named.hash_algorithm.algorithm.dotted_string
    known = HASHES.get(algorithm)
    if known is not None and {len(named.issuer_name_hash), len(named.issuer_key_hash)} != {known.digest_size}:
        raise RequestMalformed("a hash is not as long as its algorithm makes it")
    if named.serial_number < 0 or named.serial_number.bit_length() > _LONGEST_SERIAL_BITS:
        raise RequestMalformed("a serial number is negative, or longer than 20 octets")
    return CertId(algorithm, named.issuer_name_hash, named.issuer_key_hash, named.serial_number)


def _check_understood(extensions: "list[_Extension] | tuple[()]") -> None:
    kinds = [one.oid for one in extensions]
    if len(set(kinds)) != len(kinds):
        raise RequestMalformed("an extension is there twice")
    if any(one.critical and one.oid not in _UNDERSTOOD for one in extensions):
        raise RequestMalformed("a critical extension is not understood")


def _nonce_in(extensions: "list[_Extension] | tuple[()]") -> bytes | None:
    for one in extensions:
        if one.oid == _NONCE:
            try:
                nonce = parse_shallowly(one.value, OCTET_STRING).content
            except MalformedDer as error:
                raise RequestMalformed("its nonce is not an OCTET STRING") from error
            if not 0 < len(nonce) <= LONGEST_NONCE:
                raise RequestMalformed(f"its nonce does not have 1 to {LONGEST_NONCE} octets")
            return nonce
    return None
