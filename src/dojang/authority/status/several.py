"""One OCSP answer about several certificates, which ``cryptography`` builds for one only (RFC 6960 section 4.2.1).

Each part is made by its builder; here they are put under one signature.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponderEncoding, OCSPResponseBuilder

from dojang.der import BIT_STRING, OCTET_STRING, SEQUENCE, Element, children, oid, parse_shallowly, tlv
from dojang.x509.request import signature_algorithm, signature_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
_SUCCESSFUL: Final = bytes((0x0A, 1, 0))
_EXPLICIT, _BY_KEY = 0xA0, 0xA2


def join_answers(
    builders: Sequence[OCSPResponseBuilder], key: "PrivateKey", certificates: Sequence[x509.Certificate]
) -> bytes:
    """The answer that says what all the builders say, which differ in nothing but their certificate."""
    bodies = [_fields(builder) for builder in builders]
    at = next(at for at, part in enumerate(bodies[0]) if part.tag == SEQUENCE)  # the single answers
    singles = tlv(SEQUENCE, *(body[at].content for body in bodies))
    others = [part.der for part in bodies[0]]
    public_key = cast("PublicKey", key.public_key())
    tbs = tlv(SEQUENCE, _name_of(public_key), *others[1:at], singles, *others[at + 1 :])
    basic = [tbs, signature_algorithm(public_key), tlv(BIT_STRING, b"\0", signature_of(key, tbs))]
    if certificates:
        basic.append(tlv(_EXPLICIT, tlv(SEQUENCE, *(one.public_bytes(Encoding.DER) for one in certificates))))
    answer = tlv(SEQUENCE, oid(_BASIC), tlv(OCTET_STRING, tlv(SEQUENCE, *basic)))
    return tlv(SEQUENCE, _SUCCESSFUL, tlv(_EXPLICIT, answer))


def _fields(builder: OCSPResponseBuilder) -> list[Element]:
    """ResponderID, moment, single answers, extensions; as nobody says them yet."""
    certificate, key = _nobody()
    draft = builder.responder_id(OCSPResponderEncoding.HASH, certificate).sign(key, None)
    return children(parse_shallowly(draft.tbs_response_bytes, SEQUENCE))


@cache
def _nobody() -> tuple[x509.Certificate, ed25519.Ed25519PrivateKey]:
    """Who signs the parts before they are joined."""
    key, name, at = ed25519.Ed25519PrivateKey.generate(), x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, at, at)
    return builder.sign(key, None), key


def _name_of(public_key: "PublicKey") -> bytes:
    """ResponderID by key: the SHA-1 of its bits."""
    return tlv(_BY_KEY, tlv(OCTET_STRING, x509.SubjectKeyIdentifier.from_public_key(public_key).digest))
