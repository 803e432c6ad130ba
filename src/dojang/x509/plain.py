"""Requests as nearly everybody sends them, read and proved in as little time as that takes.

A short name without escapes and a key of a usual kind, signed with a usual hash, and no other names. Whatever is not
quite so, or proves nothing, is ``None`` here: ``CertificateRequest`` has to read it, and says what is wrong with it.
What is read here means the same there (a test holds the two together).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dojang.der import SEQUENCE, MalformedDer, oid, tlv
from dojang.tbs import RequestFields, request_fields
from dojang.x509.keys import algorithm_of, is_strong, spki_of
from dojang.x509.name import settled_attributes
from dojang.x509.reading import LARGEST_CERTIFICATE, UNREADABLE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_NULL: Final = bytes.fromhex("0500")
_NO_ATTRIBUTES: Final = bytes.fromhex("a000")
_ECDSA: Final = {
    tlv(SEQUENCE, oid("1.2.840.10045.4.3.2")): ec.ECDSA(hashes.SHA256()),
    tlv(SEQUENCE, oid("1.2.840.10045.4.3.3")): ec.ECDSA(hashes.SHA384()),
    tlv(SEQUENCE, oid("1.2.840.10045.4.3.4")): ec.ECDSA(hashes.SHA512()),
}
_PKCS1: Final = {
    tlv(SEQUENCE, oid("1.2.840.113549.1.1.11"), _NULL): hashes.SHA256(),
    tlv(SEQUENCE, oid("1.2.840.113549.1.1.12"), _NULL): hashes.SHA384(),
    tlv(SEQUENCE, oid("1.2.840.113549.1.1.13"), _NULL): hashes.SHA512(),
}
_PADDING: Final = padding.PKCS1v15()
# A point on P-256 that is not compressed, as RFC 5480 has it, which is as a library writes it.
_P256: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_BYTES: Final = len(_P256) + 64


class PlainRequest(NamedTuple):
    """What is asked for, proved. ``subject`` is as ``format_name`` writes it; ``attributes`` are those of the subject.

    ``algorithm`` is a name of ``algorithm_of``; nothing bad is known of the key.
    """

    subject: str
    subject_der: bytes
    attributes: tuple[tuple[str, str], ...]
    spki: bytes
    algorithm: str


class _Read(NamedTuple):
    fields: RequestFields
    attributes: tuple[tuple[str, str], ...]


def plain_requests(requests_der: Iterable[bytes]) -> list[PlainRequest | None]:
    """Each request that is plain, strong and proved; ``None`` says nothing of what is wrong.

    All are read before the first is proved: a processor that does one thing after the other forgets both.
    """
    read = [_read(one) for one in requests_der]
    keys = [one and _proven(one.fields) for one in read]
    return [_as_asked(one, key) if one and key else None for one, key in zip(read, keys, strict=True)]


def _read(request_der: bytes) -> _Read | None:
    if len(request_der) > LARGEST_CERTIFICATE:
        return None
    try:
        fields = request_fields(request_der)
        attributes = settled_attributes(fields.subject_der)
        if attributes is None or not _asks_for_nothing_else(fields.attributes_der, request_der):
            return None
    except (MalformedDer, *UNREADABLE):
        return None
    return _Read(fields, attributes)


def _as_asked(one: _Read, key: "PublicKeyTypes") -> PlainRequest | None:
    fields = one.fields
    if not is_strong(key) or not _is_as_written(fields.spki, key):
        return None
    subject = ",".join([f"{kind}={value}" for kind, value in reversed(one.attributes)])
    return PlainRequest(subject, fields.subject_der, one.attributes, fields.spki, algorithm_of(key))


def _asks_for_nothing_else(attributes_der: bytes, request_der: bytes) -> bool:
    if attributes_der == _NO_ATTRIBUTES:
        return True
    asked = x509.load_der_x509_csr(request_der).extensions
    return not any(isinstance(one.value, x509.SubjectAlternativeName) for one in asked)


def _proven(fields: RequestFields) -> "PublicKeyTypes | None":
    """The key, when it made the signature."""
    try:
        key = load_der_public_key(fields.spki)
        if isinstance(key, ec.EllipticCurvePublicKey) and fields.algorithm_der in _ECDSA:
            key.verify(fields.signature, fields.signed, _ECDSA[fields.algorithm_der])
        elif isinstance(key, rsa.RSAPublicKey) and fields.algorithm_der in _PKCS1:
            key.verify(fields.signature, fields.signed, _PADDING, _PKCS1[fields.algorithm_der])
        else:
            return None
    except (InvalidSignature, *UNREADABLE):
        return None
    return key


def _is_as_written(spki: bytes, key: "PublicKeyTypes") -> bool:
    """Whether a certificate that has the key as it was loaded has these octets."""
    return (spki.startswith(_P256) and len(spki) == _P256_BYTES) or spki == spki_of(key)
