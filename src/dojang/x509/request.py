"""Certificate requests: PKCS#10 (RFC 2986), signed by a key wherever it lives, and what any request asks for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.der import NULL, SEQUENCE, oid, tlv
from dojang.errors import DojangError, FileMalformed, Phrase
from dojang.x509.alternative_names import alternative_names_of, parse_alternative_names
from dojang.x509.reading import UNREADABLE, read_request

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

_ECDSA = {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"}
_WEAK_HASHES = ("md5", "sha1")


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What is asked for, whatever form it came in, once the asker has proved that he holds the key.

    The ``subject`` is empty where the asker leaves it to the authority.
    """

    subject: x509.Name
    public_key: "CertificatePublicKeyTypes"
    alternative_names: tuple[x509.GeneralName, ...] = ()

    @classmethod
    def from_pkcs10(cls, request_der: bytes) -> Self:
        """The request, its signature checked. Raises ``FileMalformed``."""
        return cls.proven(read_request(request_der))

    @classmethod
    def proven(cls, request: x509.CertificateSigningRequest) -> Self:
        """The same of a request that was read. Raises ``FileMalformed`` unless its signature proves its key."""
        try:
            used, proven = request.signature_hash_algorithm, request.is_signature_valid
        except UNREADABLE as error:
            raise _unacceptable(Phrase("its key or signature is of an unknown kind")) from error
        if not proven or (used is not None and used.name in _WEAK_HASHES):
            raise _unacceptable(Phrase("its signature does not prove possession of the key"))
        return cls.unproven(request)

    @classmethod
    def unproven(cls, request: x509.CertificateSigningRequest) -> Self:
        """The same of a request whose key was proved in another way. Raises ``FileMalformed``."""
        try:
            return cls(request.subject, request.public_key(), alternative_names_of(request))
        except UNREADABLE as error:
            raise _unacceptable(Phrase("its key or signature is of an unknown kind")) from error


def _unacceptable(problem: Phrase) -> FileMalformed:
    return FileMalformed(path="request", expected=Phrase("a certificate request"), problem=problem)


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
    return signs_with(key)(data)


def signs_with(key: "PrivateKey") -> Callable[[bytes], bytes]:
    """The same for many: what makes such signatures with ``key``."""
    if isinstance(key, rsa.RSAPrivateKey):
        padded, hashed = padding.PKCS1v15(), hashes.SHA256()
        return lambda data: key.sign(data, padded, hashed)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        scheme = ec.ECDSA(hash_for_curve(key.curve))
        return lambda data: key.sign(data, scheme)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    raise ValueError("no signature is defined for this kind of key")


def signs_all_with(key: "PrivateKey") -> Callable[[Sequence[bytes]], list[bytes | DojangError]]:
    """The same for several at once: each signature, or the error that making it raised."""
    together = getattr(key, "sign_all", None)
    if together is not None:
        hashed = signature_hash_for(key.public_key())
        return lambda messages: list(together(messages, hashed.name if hashed else ""))
    sign = signs_with(key)
    return lambda messages: [_attempted(sign, one) for one in messages]


def _attempted(sign: Callable[[bytes], bytes], message: bytes) -> bytes | DojangError:
    try:
        return sign(message)
    except DojangError as error:
        return error


def signature_algorithm(public_key: "PublicKeyTypes") -> bytes:
    """The AlgorithmIdentifier of such signatures, in DER. ``ValueError`` for another kind of key.

    RFC 4055 section 5, RFC 5758 section 3.2 and RFC 8410 section 3.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        return tlv(SEQUENCE, oid("1.2.840.113549.1.1.11"), tlv(NULL))
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return tlv(SEQUENCE, oid(_ECDSA[hash_for_curve(public_key.curve).name]))
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return tlv(SEQUENCE, oid("1.3.101.112"))
    raise ValueError("no signature is defined for this kind of key")


def hash_for_curve(curve: ec.EllipticCurve) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """The smallest hash of the SHA-2 family that is no weaker than the curve."""
    if curve.key_size > 384:
        return hashes.SHA512()
    return hashes.SHA384() if curve.key_size > 256 else hashes.SHA256()
