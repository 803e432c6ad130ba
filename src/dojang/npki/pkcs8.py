"""A private key with what a CA's client keeps beside it: PrivateKeyInfo with its attributes, R above all.

R, the random number that proves whose the certificate is (VID), is an attribute of the key file. Libraries drop
attributes when they load a key; so the DER stays as it came and is what every path hands on.
"""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dojang.der import (
    BIT_STRING,
    CONSTRUCTED,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Element,
    MalformedDer,
    children,
    expect,
    oid,
    parse_shallowly,
    read_integer,
    set_of,
    span,
    tlv,
)
from dojang.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

R_BYTES: Final = 20
RANDOM_NUMBER: Final = "1.2.410.200004.10.1.1.3"
_RANDOM_NUMBER_DER: Final = oid(RANDOM_NUMBER)
_ATTRIBUTES, _PUBLIC_KEY = 0x80 | CONSTRUCTED, 0x81


@dataclass(frozen=True, slots=True)
class Pkcs8:
    """A PrivateKeyInfo (RFC 5208) or OneAsymmetricKey (RFC 5958), whole. Nothing of it shows in ``repr``."""

    der: bytes = field(repr=False)
    random_number: Secret | None = None

    @classmethod
    def from_der(cls, der: bytes) -> "Pkcs8":
        """``MalformedDer``, a ``ValueError``, for anything else."""
        return cls(der, _random_number(_split(der)[1]))

    @classmethod
    def from_key(cls, key: "PrivateKey", random_number: Secret | None = None) -> "Pkcs8":
        """A key in memory, with its R if it has one."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        plain = cls.from_der(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        return plain if random_number is None else plain.with_random_number(random_number)

    def with_random_number(self, random_number: Secret) -> "Pkcs8":
        """The same key with this R in place of any other; the other attributes stay as they are."""
        before, attributes, after = _split(self.der)
        kept = [one.der for one in attributes if not one.content.startswith(_RANDOM_NUMBER_DER)]
        value = tlv(SET, tlv(BIT_STRING, b"\0" + random_number.reveal()))
        held = set_of(*kept, tlv(SEQUENCE, _RANDOM_NUMBER_DER, value), tag=_ATTRIBUTES)
        return Pkcs8.from_der(tlv(SEQUENCE, *before, held, *after))

    def without_random_number(self) -> "Pkcs8":
        """The same key without R, for a place that cannot keep it; the other attributes stay as they are."""
        before, attributes, after = _split(self.der)
        kept = [one.der for one in attributes if not one.content.startswith(_RANDOM_NUMBER_DER)]
        held = [set_of(*kept, tag=_ATTRIBUTES)] if kept else []
        return Pkcs8.from_der(tlv(SEQUENCE, *before, *held, *after))

    def key(self) -> "PrivateKey":
        """The key itself. ``ValueError`` for a damaged one, ``UnsupportedAlgorithm`` for a kind nobody here knows."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_der_private_key

        key = load_der_private_key(self.der, None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, RSAPrivateKey):
            _check_rsa(key)
        return key  # type: ignore[return-value]


def new_random_number() -> Secret:
    """An R of 160 bits."""
    return Secret(os.urandom(R_BYTES))


def is_plain(der: bytes) -> bool:
    """PrivateKeyInfo begins with its version, an INTEGER; EncryptedPrivateKeyInfo with a SEQUENCE. ``MalformedDer``."""
    start, _ = span(der, 0, len(der))
    return der[0] == SEQUENCE and der[start : start + 1] == bytes((INTEGER,))


def _split(der: bytes) -> tuple[list[bytes], list[Element], list[bytes]]:
    """What stands before the attributes, the attributes, and what stands after them."""
    parts = children(parse_shallowly(der, SEQUENCE))
    if len(parts) < 3 or read_integer(parts[0]) not in (0, 1):
        raise MalformedDer("it is not a private key")
    expect(parts[1], SEQUENCE)
    expect(parts[2], OCTET_STRING)
    attributes, after = [], []
    for part in parts[3:]:
        if part.tag == _ATTRIBUTES:
            attributes += [expect(one, SEQUENCE) for one in children(part)]
        elif part.tag == _PUBLIC_KEY:
            after.append(part.der)
        else:
            raise MalformedDer("it has a part no private key has")
    return [part.der for part in parts[:3]], attributes, after


def _random_number(attributes: list[Element]) -> Secret | None:
    for attribute in attributes:
        parts = children(attribute)
        if len(parts) == 2 and parts[0].der == _RANDOM_NUMBER_DER:
            return read_random_number(parts[1])
    return None


def read_random_number(values: Element) -> Secret | None:
    """R from the values of its attribute; ``None`` when they are not whole octets in one BIT STRING."""
    found = children(expect(values, SET))
    if len(found) != 1 or found[0].tag != BIT_STRING or found[0].content[:1] != b"\0" or len(found[0].content) < 2:
        return None
    return Secret(found[0].content[1:])


def _check_rsa(key: "RSAPrivateKey") -> None:
    """Refuse parts that do not belong together: with one changed, a signature would give the key away.

    The library would test the primes too, which takes fifty times as long as opening the file; whoever could put
    others in knows the password.
    """
    numbers = key.private_numbers()
    p, q, d, e, n = numbers.p, numbers.q, numbers.d, numbers.public_numbers.e, numbers.public_numbers.n
    if p < 2 or q < 2:
        raise ValueError("there are no primes")
    inverse = numbers.dmp1 * e % (p - 1) == 1 and numbers.dmq1 * e % (q - 1) == 1
    reduced = numbers.dmp1 == d % (p - 1) and numbers.dmq1 == d % (q - 1)
    if not (p * q == n and inverse and reduced and numbers.iqmp * q % p == 1):
        raise ValueError("the parts of the key do not belong together")
