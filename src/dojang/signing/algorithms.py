"""AlgorithmIdentifiers of signatures: written for what we sign, read from what others signed."""

from dataclasses import dataclass

from dojang.der import (
    INTEGER,
    OID,
    SEQUENCE,
    Element,
    MalformedDer,
    children,
    expect,
    integer,
    read_integer,
    tlv,
)
from dojang.errors import Phrase
from dojang.signing import oids
from dojang.signing.digest import Scheme

_NULL = b"\x05\x00"
_SALT_LIMIT = 1024
_DIGEST_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """How a signature was made. Names are ``None`` where the identifier leaves them open or names none we know.

    A salt length of ``None`` stands for any.
    """

    padding: str | None
    hash_name: str | None
    mgf_hash: str | None = None
    salt_length: int | None = 0


def digest_identifier(hash_name: str) -> bytes:
    """The AlgorithmIdentifier of a hash, without parameters (RFC 5754 section 2)."""
    return tlv(SEQUENCE, oids.DIGESTS[hash_name])


def signature_identifier(scheme: Scheme) -> bytes:
    """The AlgorithmIdentifier of a signature (RFC 5754 section 3, RFC 4056, RFC 8419 section 2.1)."""
    if scheme.padding == "pss":
        return tlv(SEQUENCE, oids.RSA_PSS, _pss_parameters(scheme.hash_name))
    if scheme.padding == "pkcs1v15":
        return tlv(SEQUENCE, oids.RSA_WITH[scheme.hash_name], _NULL)
    return tlv(SEQUENCE, oids.ED25519 if scheme.padding == "ed25519" else oids.ECDSA_WITH[scheme.hash_name])


def read_digest_identifier(element: Element) -> str | None:
    """The name of a hash, or ``None`` when we do not know it; its parameters must be absent or NULL."""
    identifier, parameters = _split(element)
    if parameters is not None and parameters.der != _NULL:
        raise MalformedDer(Phrase("a hash has parameters"))
    return oids.DIGEST_NAMES.get(identifier)


def read_signature_identifier(element: Element) -> SignatureAlgorithm:
    """The algorithm of a signature, told apart by its identifier alone."""
    identifier, parameters = _split(element)
    if identifier == oids.RSA_PSS:
        return _read_pss(parameters)
    if identifier == oids.RSA:
        return SignatureAlgorithm("pkcs1v15", None)
    if identifier == oids.ED25519:
        return SignatureAlgorithm("ed25519", None)
    padding, hash_name = oids.WITH_HASH.get(identifier, (None, None))
    return SignatureAlgorithm(padding, hash_name)


def _pss_parameters(hash_name: str) -> bytes:
    digest = tlv(SEQUENCE, oids.DIGESTS[hash_name], _NULL)
    mask = tlv(SEQUENCE, oids.MGF1, digest)
    return tlv(SEQUENCE, tlv(0xA0, digest), tlv(0xA1, mask), tlv(0xA2, integer(_DIGEST_BYTES[hash_name])))


def _split(element: Element) -> tuple[bytes, Element | None]:
    inside = children(expect(element, SEQUENCE))
    if not 1 <= len(inside) <= 2:
        raise MalformedDer(Phrase("an AlgorithmIdentifier has no identifier or too much after it"))
    return expect(inside[0], OID).der, inside[1] if len(inside) == 2 else None


def _read_pss(parameters: Element | None) -> SignatureAlgorithm:
    # RFC 4055 section 3.1: what is absent means SHA-1, MGF1 with SHA-1 and a salt of 20 bytes.
    given = {field.tag: field for field in children(expect(parameters, SEQUENCE))} if parameters else {}
    if set(given) - {0xA0, 0xA1, 0xA2, 0xA3}:
        raise MalformedDer(Phrase("RSASSA-PSS parameters hold something unknown"))
    salt = read_integer(_only(given[0xA2], INTEGER)) if 0xA2 in given else 20
    trailer = read_integer(_only(given[0xA3], INTEGER)) if 0xA3 in given else 1
    if trailer != 1 or not 0 <= salt <= _SALT_LIMIT:
        raise MalformedDer(Phrase("RSASSA-PSS parameters are out of range"))
    hash_name = read_digest_identifier(_only(given[0xA0], SEQUENCE)) if 0xA0 in given else "sha1"
    mgf_hash = _read_mask(_only(given[0xA1], SEQUENCE)) if 0xA1 in given else "sha1"
    return SignatureAlgorithm("pss", hash_name or "unknown", mgf_hash or "unknown", salt)


def _read_mask(element: Element) -> str | None:
    identifier, parameters = _split(element)
    if identifier != oids.MGF1:
        return None
    return read_digest_identifier(parameters) if parameters is not None else "sha1"


def _only(field: Element, tag: int) -> Element:
    inside = children(field)
    if len(inside) != 1:
        raise MalformedDer(Phrase("RSASSA-PSS parameters hold a field that is empty or double"))
    return expect(inside[0], tag)
