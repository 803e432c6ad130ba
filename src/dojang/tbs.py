"""The fields of a certificate as they stand in its DER (RFC 5280 section 4.1): slices, and no objects made of them.

For lists of thousands, where making objects is all the time there is. Strict: for whatever is not as nearly every
certificate has it, ``MalformedDer`` is raised. That says nothing against the certificate; it has to be read by
``cryptography`` then, which these functions never contradict.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from dojang.der import (
    BIT_STRING,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    Element,
    MalformedDer,
    children,
    expect,
    parse,
    parse_shallowly,
    parts,
    span,
    unexpected_tag,
)

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CERTIFICATE_POLICIES: Final = bytes.fromhex("551d20")
KEY_USAGE: Final = bytes.fromhex("551d0f")
EXTENDED_KEY_USAGE: Final = bytes.fromhex("551d25")

LOOKED_AT: Final = frozenset((CERTIFICATE_POLICIES, KEY_USAGE, EXTENDED_KEY_USAGE))

_HEADERS: Final = frozenset(bytes((OID, len(kind))) + kind for kind in LOOKED_AT)
_COMMON_NAME: Final = bytes.fromhex("550403")
_RSA: Final = bytes.fromhex("300d06092a864886f70d0101010500")
_VERSION: Final = 0xA0
_VERSION_1: Final = bytes.fromhex("020100")
_EXTENSIONS: Final = 0xA3
_BOOLEAN: Final = b"\x01"
# UTF8String, NumericString, PrintableString, IA5String, VisibleString: all of them are UTF-8 as well.
_UTF_8: Final = frozenset((0x0C, 0x12, 0x13, 0x16, 0x1A))
_DIGITS: Final = {UTC_TIME: 12, GENERALIZED_TIME: 14}


class Tbs(NamedTuple):
    """``serial`` is a positive number's octets, ``extensions_der`` empty where there are none.

    ``rsa_key`` is the BIT STRING of an RSA key (RFC 8017, A.1.1) of 2048 bits or more, empty for other kinds.
    """

    serial: bytes
    issuer_der: bytes
    not_before_at: datetime
    not_after_at: datetime
    subject_der: bytes
    rsa_key: bytes
    extensions_der: bytes


def tbs_of(certificate_der: bytes) -> Tbs:
    """What a list says of a certificate; its signature and its key are not looked at."""
    der = certificate_der
    start, end = _inside(der, 0, len(der), SEQUENCE)
    position, end = _inside(der, start, end, SEQUENCE)
    if position < end and der[position] == _VERSION:
        position = span(der, position, end)[1]
    start, algorithm = _inside(der, position, end, INTEGER)
    if start == algorithm or der[start] & 0x80:
        raise MalformedDer
    issuer = _inside(der, algorithm, end, SEQUENCE)[1]
    validity = _inside(der, issuer, end, SEQUENCE)[1]
    subject = _inside(der, validity, end, SEQUENCE)[1]
    key = _inside(der, subject, end, SEQUENCE)[1]
    extensions = _inside(der, key, end, SEQUENCE)[1]
    moments = _validity(der[validity:subject])
    rsa_key, extensions_der = _rsa_key_at(der, key, extensions), _extensions_at(der, extensions, end)
    return Tbs(der[start:algorithm], der[issuer:validity], *moments, der[subject:key], rsa_key, extensions_der)


class RequestFields(NamedTuple):
    """Of a PKCS#10 request (RFC 2986 section 4): what is signed and its fields, with what, and the signature."""

    signed: bytes
    subject_der: bytes
    spki: bytes
    attributes_der: bytes
    algorithm_der: bytes
    signature: bytes


def request_fields(request_der: bytes) -> RequestFields:
    """The fields of a request of version 1; nothing in them is looked at."""
    der = request_der
    first, limit = _inside(der, 0, len(der), SEQUENCE)
    start, end = _inside(der, first, limit, SEQUENCE)
    if limit != len(der) or not der.startswith(_VERSION_1, start):
        raise MalformedDer
    subject = start + len(_VERSION_1)
    key = _inside(der, subject, end, SEQUENCE)[1]
    attributes = _inside(der, key, end, SEQUENCE)[1]
    signature = _inside(der, end, limit, SEQUENCE)[1]
    start, last = _inside(der, signature, limit, BIT_STRING)
    if last != limit or der[start : start + 1] != b"\0":
        raise MalformedDer
    cuts = der[first:end], der[subject:key], der[key:attributes], der[attributes:end], der[end:signature]
    return RequestFields(*cuts, der[start + 1 : last])


class Glance(NamedTuple):
    """A certificate that was loaded, and its fields where they are as usual: for whoever needs both once more."""

    certificate: "Certificate"
    tbs: Tbs | None


def glance_at(certificate_der: bytes) -> Glance:
    """Raises what loading it raises."""
    certificate = _loader()(certificate_der)
    try:
        return Glance(certificate, tbs_of(certificate_der))
    except MalformedDer:
        return Glance(certificate, None)


@cache
def _loader() -> "Callable[[bytes], Certificate]":
    from cryptography.x509 import load_der_x509_certificate

    return load_der_x509_certificate


@lru_cache(maxsize=4)
def extensions_in(extensions_der: bytes) -> Mapping[bytes, bytes]:
    """Of the extensions in ``LOOKED_AT`` those that are there, by the octets of the OID; one twice is malformed."""
    found: dict[bytes, bytes] = {}
    if not extensions_der:
        return found
    position, limit = _inside(extensions_der, 0, len(extensions_der), SEQUENCE)
    if limit != len(extensions_der):
        raise MalformedDer
    while position < limit:
        start, size = position + 2, extensions_der[position + 1] if position + 1 < limit else limit
        if size < 0x80 and extensions_der[position] == SEQUENCE and start + size <= limit:  # short, as most are
            position = start + size
        else:
            start, position = _inside(extensions_der, position, limit, SEQUENCE)
        kind = extensions_der[start : start + 5]
        if kind in _HEADERS:
            if kind[2:] in found:
                raise MalformedDer
            found[kind[2:]] = _value_at(extensions_der, start + 5, position)
    return found


def _value_at(der: bytes, position: int, limit: int) -> bytes:
    if der[position : position + 1] == _BOOLEAN:  # whether it is critical
        position = span(der, position, limit)[1]
    start, end = _inside(der, position, limit, OCTET_STRING)
    if end != limit:
        raise MalformedDer
    return der[start:end]


def rdns_in(name_der: bytes) -> list[bytes]:
    """The DER of each relative name in a Name, in their order there, the leaf last."""
    position, limit = _inside(name_der, 0, len(name_der), SEQUENCE)
    if limit != len(name_der):
        raise MalformedDer
    found = []
    while position < limit:
        start, position = position, position + 2 + name_der[position + 1] if position + 1 < limit else limit
        if name_der[start] != SET or position > limit or position > start + 0x81:  # a long one, or none at all
            position = _inside(name_der, start, limit, SET)[1]
        found.append(name_der[start:position])
    return found


def attributes_of(rdn_der: bytes) -> tuple[tuple[bytes, str], ...]:
    """The attributes in one relative name, as they stand: the octets of the type's OID, and the text."""
    size = len(rdn_der)
    # One attribute of a usual type, and short: what nearly every name is made of, seen at once.
    begins_so = 11 < size < 0x82 and rdn_der[:8] == bytes((SET, size - 2, SEQUENCE, size - 4, OID, 3, 0x55, 4))
    if begins_so and rdn_der[8] < 0x80 and rdn_der[9] in _UTF_8 and rdn_der[10] == size - 11:
        return ((rdn_der[6:9], _text(rdn_der[11:])),)
    return tuple(_attribute(*parts(expect(one, SEQUENCE), 2, 2)) for one in children(parse(rdn_der, SET)))


def common_name_in(name_der: bytes) -> str:
    """The common name nearest the leaf; empty where there is none."""
    for rdn in reversed(rdns_in(name_der)):
        if _COMMON_NAME in rdn:
            for oid, value in reversed(attributes_of(rdn)):
                if oid == _COMMON_NAME:
                    return value
    return ""


def _attribute(kind: Element, value: Element) -> tuple[bytes, str]:
    if value.tag not in _UTF_8:
        raise MalformedDer
    return expect(kind, OID).content, _text(value.content)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise MalformedDer from error


@lru_cache(maxsize=1024)
def _validity(validity_der: bytes) -> tuple[datetime, datetime]:
    not_before, not_after = parts(parse_shallowly(validity_der, SEQUENCE), 2, 2)
    return _moment(not_before), _moment(not_after)


def _moment(element: Element) -> datetime:
    """YYMMDDHHMMSSZ until 2049, YYYYMMDDHHMMSSZ after it (RFC 5280 section 4.1.2.5)."""
    digits = element.content[:-1]
    if len(digits) != _DIGITS.get(element.tag) or not digits.isdigit() or element.content[-1:] != b"Z":
        raise MalformedDer
    if element.tag == UTC_TIME:
        digits = (b"20" if digits < b"50" else b"19") + digits
    year, month, day, hour, minute, second = int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise MalformedDer from error


def _rsa_key_at(der: bytes, position: int, limit: int) -> bytes:
    start = position + 4  # after a header with a length of two octets
    if not der.startswith(_RSA, start):
        return b""
    start, end = _inside(der, start + len(_RSA), limit, BIT_STRING)
    if end != limit or der[start]:
        raise MalformedDer
    return der[start + 1 : end]


def _extensions_at(der: bytes, position: int, limit: int) -> bytes:
    """The SEQUENCE of extensions that stands there; unique identifiers before it are nobody's habit."""
    if position == limit:
        return b""
    start, end = _inside(der, position, limit, _EXTENSIONS)
    if end != limit:
        raise MalformedDer
    return der[start:end]


def _inside(der: bytes, position: int, limit: int, tag: int) -> tuple[int, int]:
    """Where the content of the value with that tag at ``position`` starts and ends."""
    if position + 4 <= limit and der[position] == tag:  # the usual lengths; span says what is wrong with others
        size = der[position + 1]
        if size < 0x80:
            if (end := position + 2 + size) <= limit:
                return position + 2, end
        elif (
            size == 0x82
            and (high := der[position + 2])
            and (end := position + 4 + (high << 8 | der[position + 3])) <= limit
        ):
            return position + 4, end
    start, end = span(der, position, limit)
    if der[position] != tag:
        raise unexpected_tag(tag, der[position])
    return start, end
