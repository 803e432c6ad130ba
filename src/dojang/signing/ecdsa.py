"""The two forms of an ECDSA signature: DER (RFC 3279, 2.2.3), and r and s side by side (IEEE P1363)."""

from dojang.der import SEQUENCE, MalformedDer, children, integer, parse, read_integer, tlv
from dojang.errors import Phrase

_COORDINATE_BYTES = {"ec-p256": 32, "ec-p384": 48, "ec-p521": 66}


def plain_from_der(signature_der: bytes, key_algorithm: str) -> bytes:
    """r and s side by side, each as long as the curve's order, from a DER ``Ecdsa-Sig-Value``."""
    size = _COORDINATE_BYTES[key_algorithm]
    first, second = children(parse(signature_der, SEQUENCE))
    return read_integer(first).to_bytes(size, "big") + read_integer(second).to_bytes(size, "big")


def der_from_plain(signature_plain: bytes, key_algorithm: str) -> bytes:
    """A DER ``Ecdsa-Sig-Value`` from r and s side by side; ``MalformedDer`` when the length is wrong."""
    size = _COORDINATE_BYTES.get(key_algorithm, -1)
    if len(signature_plain) != 2 * size:
        raise MalformedDer(Phrase("r and s do not have the length of the curve"))
    values = (int.from_bytes(part, "big") for part in (signature_plain[:size], signature_plain[size:]))
    return tlv(SEQUENCE, *(integer(value) for value in values))
