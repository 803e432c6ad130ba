"""What lies in a PKCS#12 file: the bags it is made of, and the pairs of key and certificate that come out of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dojang.der import CONSTRUCTED, OCTET_STRING, SEQUENCE, SET, Element, children, expect, parts, read_oid
from dojang.npki.certificates import load_certificate
from dojang.npki.pkcs8 import RANDOM_NUMBER, Pkcs8, read_random_number
from dojang.secret import Secret

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


@dataclass(frozen=True, slots=True)
class KeyBag:
    """A key as it lies in the file: ``value`` is a PrivateKeyInfo, or an EncryptedPrivateKeyInfo when ``sealed``.

    ``attributes`` are those beside the name and the id, in DER.
    """

    value: bytes = field(repr=False)
    sealed: bool
    name: str | None = None
    key_id: bytes | None = None
    attributes: tuple[bytes, ...] = field(default=(), repr=False)
    random_number: Secret | None = None

    def with_random_number(self, pkcs8: Pkcs8) -> Pkcs8:
        """The key from inside, with the R that stands among the bag's own attributes where it has none itself."""
        if self.random_number is None or pkcs8.random_number is not None:
            return pkcs8
        return pkcs8.with_random_number(self.random_number)


@dataclass(frozen=True, slots=True)
class CertificateBag:
    """A certificate with its friendlyName, its localKeyID and its other attributes in DER."""

    der: bytes
    name: str | None = None
    key_id: bytes | None = None
    attributes: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Bags:
    """What lies in a file, its keys unopened; ``others`` are bags of kinds that nobody here reads, in DER.

    ``legacy``: something in it is protected in a way that programs of before 2020 read.
    """

    keys: list[KeyBag] = field(default_factory=list)
    certificates: list[CertificateBag] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    legacy: bool = False
    count: int = 0

    def add_key(self, value: bytes, sealed: bool, attributes: list[Element]) -> None:
        """A key with its R, wherever that stands."""
        known = read_attributes(attributes)
        beside = read_random_number(known[RANDOM_NUMBER]) if RANDOM_NUMBER in known else None
        others = _others(attributes, RANDOM_NUMBER)
        self.keys.append(KeyBag(value, sealed, _name(known), _local_key_id(known), others, beside))

    def add_certificate(self, bag: Element, value: Element, attributes: list[Element]) -> None:
        """A CertBag, if it holds an X.509 certificate; another kind stays as it is."""
        kind, held = parts(expect(value, SEQUENCE), 2, 2)
        if read_oid(kind) != X509:
            self.others.append(bag.der)
            return
        (octets,) = parts(expect(held, EXPLICIT_0), 1, 1)
        known, der = read_attributes(attributes), expect(octets, OCTET_STRING).content
        self.certificates.append(CertificateBag(der, _name(known), _local_key_id(known), _others(attributes)))

    def paired(self, opened: Callable[[KeyBag], Pkcs8]) -> Pkcs12:
        """Keys with the certificates of their public keys; of a kind of key nobody here knows, by localKeyID."""
        left, entries = list(self.certificates), []
        for bag in self.keys:
            pkcs8 = opened(bag)
            public_key = _public_half(pkcs8)
            for one in left:
                same_id = bag.key_id is not None and one.key_id == bag.key_id
                if _public_key_in(one.der) == public_key if public_key else same_id:
                    left.remove(one)
                    entries.append(Pkcs12Entry(pkcs8, one.der, bag.name))
                    break
            else:
                entries.append(Pkcs12Entry(pkcs8, None, bag.name))
        return Pkcs12(tuple(entries), tuple(one.der for one in left))


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


def _name(attributes: dict[str, Element]) -> str | None:
    value = _value(attributes, FRIENDLY_NAME)
    return None if value is None else value.content.decode("utf-16-be", "replace")


def _others(sets: list[Element], *but: str) -> tuple[bytes, ...]:
    """The attributes that are kept as they are."""
    known = (FRIENDLY_NAME, LOCAL_KEY_ID, *but)
    return tuple(one.der for one in children(sets[0]) if read_oid(children(one)[0]) not in known) if sets else ()


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
