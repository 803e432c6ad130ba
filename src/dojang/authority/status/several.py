"""One OCSP answer about several certificates, which ``cryptography`` builds for one only (RFC 6960 section 4.2.1).

Each part is made by its builder; here they are put under one signature.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponseBuilder

from dojang.der import BIT_STRING, NULL, OCTET_STRING, SEQUENCE, Element, children, oid, parse_shallowly, tlv
from dojang.x509.request import signature_hash_for, signature_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
_SUCCESSFUL: Final = bytes((0x0A, 1, 0))
_EXPLICIT: Final = 0xA0
_ECDSA: Final = {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3", "sha512": "1.2.840.10045.4.3.4"}
_RSA_SHA256, _ED25519 = "1.2.840.113549.1.1.11", "1.3.101.112"


def join_answers(builders: Sequence[OCSPResponseBuilder], key: "PrivateKey") -> bytes:
    """The answer that says what all the builders say, which differ in nothing but their certificate."""
    drafts = [builder.sign(_scratch_key(), None) for builder in builders]
    bodies = [_fields(draft.tbs_response_bytes) for draft in drafts]
    at = _singles_at(bodies[0])
    singles = tlv(SEQUENCE, *(body[at].content for body in bodies))
    tbs = tlv(SEQUENCE, *(part.der for part in bodies[0][:at]), singles, *(part.der for part in bodies[0][at + 1 :]))
    basic = [tbs, _algorithm_of(key.public_key()), tlv(BIT_STRING, b"\0", signature_of(key, tbs))]
    certificates = [one.public_bytes(Encoding.DER) for one in drafts[0].certificates]
    if certificates:
        basic.append(tlv(_EXPLICIT, tlv(SEQUENCE, *certificates)))
    answer = tlv(SEQUENCE, oid(_BASIC), tlv(OCTET_STRING, tlv(SEQUENCE, *basic)))
    return tlv(SEQUENCE, _SUCCESSFUL, tlv(_EXPLICIT, answer))


def _fields(tbs_der: bytes) -> list[Element]:
    return children(parse_shallowly(tbs_der, SEQUENCE))


def _singles_at(fields: list[Element]) -> int:
    """Where the single answers stand: the only plain SEQUENCE."""
    return next(at for at, part in enumerate(fields) if part.tag == SEQUENCE)


@cache
def _scratch_key() -> ed25519.Ed25519PrivateKey:
    """Signs what nobody sees: the parts before they are joined."""
    return ed25519.Ed25519PrivateKey.generate()


def _algorithm_of(public_key: "PublicKeyTypes") -> bytes:
    """The AlgorithmIdentifier of signatures as ``signature_of`` makes them."""
    used = signature_hash_for(public_key)
    if used is None:
        return tlv(SEQUENCE, oid(_ED25519))
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return tlv(SEQUENCE, oid(_ECDSA[used.name]))
    return tlv(SEQUENCE, oid(_RSA_SHA256), tlv(NULL))
