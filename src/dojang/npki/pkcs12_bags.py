"""What lies in a PKCS#12 file: the bags it is made of, and the pairs of key and certificate that come out of them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dojang.der import CONSTRUCTED, OCTET_STRING, SEQUENCE, SET, Element, children, expect, parts, read_oid
from dojang.npki.certificates import load_certificate
from dojang.npki.pkcs8 import RANDOM_NUMBER, Pkcs8, read_random_number

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey

EXPLICIT_0: Final = 0x80 | CONSTRUCTED
KEY_BAG, SHROUDED_KEY_BAG, CERTIFICATE_BAG, NESTED_BAG = (
    f"1.2.840.113549.1.12.10.1.{number}" for number in (1, 2, 3, 6)
)
X509, FRIENDLY_NAME, LOCAL_KEY_ID = (f"1.2.840.113549.1.9.{end}" for end in ("22.1", "20", "21"))


@dataclass(frozen=True, slots=True)
class Pkcs12Entry:
    """A key and the certificate that belongs to it, if the file has it. ``name`` is its friendlyName."""

    pkcs8: Pkcs8
    certificate_der: bytes | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Pkcs12:
    """What a file holds: its keys in their order (a signing pair, perhaps a km pair), and the other certificates."""

    entries: tuple[Pkcs12Entry, ...]
    others_der: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Bags:
    """What has been taken out so far."""

    keys: list[tuple[Pkcs8, str | None, bytes | None]] = field(default_factory=list)
    certificates: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    count: int = 0

    def add_key(self, der: bytes, attributes: dict[str, Element]) -> None:
        """A key with its R, wherever that stands. ``ValueError`` for what is none."""
        self.keys.append(_key_in(der, attributes))

    def add_certificate(self, value: Element, attributes: dict[str, Element]) -> None:
        """A CertBag, if it holds an X.509 certificate."""
        kind, held = parts(expect(value, SEQUENCE), 2, 2)
        if read_oid(kind) == X509:
            (octets,) = parts(expect(held, EXPLICIT_0), 1, 1)
            self.certificates.append((expect(octets, OCTET_STRING).content, _local_key_id(attributes)))

    def paired(self) -> Pkcs12:
        """Keys with the certificates of their public keys; of a kind of key nobody here knows, by localKeyID."""
        left, entries = list(self.certificates), []
        for pkcs8, name, key_id in self.keys:
            public_key = _public_half(pkcs8)
            for one in left:
                if _public_key_in(one[0]) == public_key if public_key else key_id is not None and one[1] == key_id:
                    left.remove(one)
                    entries.append(Pkcs12Entry(pkcs8, one[0], name))
                    break
            else:
                entries.append(Pkcs12Entry(pkcs8, None, name))
        return Pkcs12(tuple(entries), tuple(der for der, _ in left))


def read_attributes(sets: list[Element]) -> dict[str, Element]:
    """The SET of values of each attribute by its type."""
    found = {}
    for one in children(expect(sets[0], SET)) if sets else ():
        kind, values = parts(expect(one, SEQUENCE), 2, 2)
        found[read_oid(kind)] = expect(values, SET)
    return found


def _value(attributes: dict[str, Element], dotted: str) -> Element | None:
    values = children(attributes[dotted]) if dotted in attributes else []
    return values[0] if values else None


def _local_key_id(attributes: dict[str, Element]) -> bytes | None:
    value = _value(attributes, LOCAL_KEY_ID)
    return None if value is None else value.content


def _key_in(der: bytes, attributes: dict[str, Element]) -> tuple[Pkcs8, str | None, bytes | None]:
    pkcs8 = Pkcs8.from_der(der)
    if pkcs8.random_number is None and RANDOM_NUMBER in attributes:
        beside = read_random_number(attributes[RANDOM_NUMBER])
        pkcs8 = pkcs8 if beside is None else pkcs8.with_random_number(beside)
    name = _value(attributes, FRIENDLY_NAME)
    return pkcs8, None if name is None else name.content.decode("utf-16-be", "replace"), _local_key_id(attributes)


def _public_half(pkcs8: Pkcs8) -> bytes | None:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _spki(pkcs8.key().public_key())
    except UnsupportedAlgorithm:
        return None


def _public_key_in(certificate_der: bytes) -> bytes | None:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _spki(load_certificate(certificate_der).public_key())
    except (UnsupportedAlgorithm, ValueError):
        return None


def _spki(public_key: "PublicKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
