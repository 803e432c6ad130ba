"""Distinguished names as people write them: leaf first, RFC 4514.

    parse_name("CN=홍길동,OU=개인,O=Example\\, Inc.,C=KR")

Read generously where no doubt arises (spaces around separators, lower-case types, ``O="Example, Inc."`` of RFC 2253)
and strictly where a certificate would come out wrong (lengths of RFC 5280 appendix A, the alphabet of a country).
"""

import re
import unicodedata
import warnings
from collections.abc import Iterator
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from dojang.der import OID, SEQUENCE, SET, Element, MalformedDer, read_oid
from dojang.errors import InvalidName, Phrase
from dojang.tbs import attributes_of, rdns_in

# X.520 counts 64 characters where cryptography counts 64 bytes of UTF-8 and warns about every Korean name beyond 21.
warnings.filterwarnings("ignore", message="Attribute's length must be")

LONGEST_TEXT = 8192
_SHOWN = 80
_TYPES = {
    "CN": NameOID.COMMON_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "STREET": NameOID.STREET_ADDRESS,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "title": NameOID.TITLE,
    "pseudonym": NameOID.PSEUDONYM,
    "dnQualifier": NameOID.DN_QUALIFIER,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "businessCategory": NameOID.BUSINESS_CATEGORY,
    "postalCode": NameOID.POSTAL_CODE,
}
_OTHER_SPELLINGS = {"e": "emailAddress", "email": "emailAddress", "s": "ST", "surname": "SN", "givenname": "GN"}
_BY_SPELLING = {name.lower(): oid for name, oid in _TYPES.items()} | {
    other: _TYPES[name] for other, name in _OTHER_SPELLINGS.items()
}
# Country, organisation and unit stand in many names; what is one person's need not be remembered.
_OF_MANY = frozenset(bytes((0x55, 4, number)) for number in (6, 10, 11))
_SHORT = {oid: name for name, oid in _TYPES.items()}
ATTRIBUTE_TYPES = frozenset(_TYPES)
_LIMITS = {
    NameOID.COMMON_NAME: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.ORGANIZATIONAL_UNIT_NAME: 64,
    NameOID.EMAIL_ADDRESS: 255,
    NameOID.SERIAL_NUMBER: 64,
    NameOID.TITLE: 64,
    NameOID.PSEUDONYM: 128,
    NameOID.POSTAL_CODE: 40,
}
_OTHER_LIMIT = 1024
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_PRINTABLE_ONLY = {NameOID.COUNTRY_NAME, NameOID.SERIAL_NUMBER, NameOID.DN_QUALIFIER}
_ASCII_ONLY = {NameOID.EMAIL_ADDRESS, NameOID.DOMAIN_COMPONENT}

_OID = re.compile(r"(?:OID\.)?([0-2](?:\.(?:0|[1-9][0-9]*))+)", re.IGNORECASE)
_TOKEN = re.compile(r'\\.|"(?:[^"\\]|\\.)*"|[",+]', re.DOTALL)
_ESCAPE = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)|\\", re.DOTALL)
_ESCAPABLE = frozenset(' "#+,;<=>\\')
_NEEDS_ESCAPE = frozenset('"+,;<>\\')
_PLAIN = r"A-Za-z0-9가-힣()\-_.:/@"
_AS_IT_STANDS = re.compile(rf"(?:[{_PLAIN}](?:[{_PLAIN} ]*[{_PLAIN}])?)?")
# Names of few short values are what is issued by the thousand: a number of X.520 (below 2.5.4), and how it is written.
_FEW, _SHORT_ENOUGH = 16, 40
_UTF8_STRING, _PRINTABLE_STRING = 0x0C, 0x13
_WRITTEN_AS = {
    3: ("CN", _UTF8_STRING, _AS_IT_STANDS),
    4: ("SN", _UTF8_STRING, _AS_IT_STANDS),
    5: ("serialNumber", _PRINTABLE_STRING, _PRINTABLE),
    6: ("C", _PRINTABLE_STRING, _COUNTRY),
    7: ("L", _UTF8_STRING, _AS_IT_STANDS),
    8: ("ST", _UTF8_STRING, _AS_IT_STANDS),
    10: ("O", _UTF8_STRING, _AS_IT_STANDS),
    11: ("OU", _UTF8_STRING, _AS_IT_STANDS),
    12: ("title", _UTF8_STRING, _AS_IT_STANDS),
    42: ("GN", _UTF8_STRING, _AS_IT_STANDS),
}
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x12: "ascii", 0x1A: "ascii", 0x1E: "utf-16-be"}


def parse_name(text: str) -> x509.Name:
    """The name that ``text`` writes, ready for a certificate. Raises ``InvalidName``."""
    try:
        return _parse(text)
    except ValueError as error:
        problem = error.args[0] if error.args and isinstance(error.args[0], Phrase) else Phrase("it cannot be encoded")
        raise InvalidName(name=_shown(text), problem=problem) from error


def format_name(name: x509.Name) -> str:
    """The name on one line, leaf first; ``parse_name`` reads it back. What nobody can see is shown as escapes."""
    return ",".join("+".join(_format_attribute(part) for part in rdn) for rdn in reversed(name.rdns))


def format_name_der(name_der: bytes) -> str:
    """The same from a Name's DER, many times as fast; ``MalformedDer`` where only ``format_name`` can tell."""
    rdns = rdns_in(name_der)[::-1]
    return ",".join([_format_known(rdn) if rdn[6:9] in _OF_MANY else _format_rdn(rdn) for rdn in rdns])


def settled_attributes(name_der: bytes) -> tuple[tuple[str, str], ...] | None:
    """Type and value of each attribute of a Name, in their order there, where it is what ``settled_name`` makes of it.

    ``None`` for whatever only that one can tell, and for names that are longer or odder than nearly all.
    """
    try:
        rdns = rdns_in(name_der)
        found = tuple([_settled_known(rdn) if rdn[6:9] in _OF_MANY else _settled(rdn) for rdn in rdns])
    except (MalformedDer, IndexError, KeyError, UnicodeDecodeError):
        return None
    return found if 0 < len(found) <= _FEW else None


def _settled(rdn_der: bytes) -> tuple[str, str]:
    """The only attribute of a relative name that is short, written as we would, and needs no escapes; or an error."""
    size = len(rdn_der)
    if rdn_der[:8] != bytes((SET, size - 2, SEQUENCE, size - 4, OID, 3, 0x55, 4)) or rdn_der[10] != size - 11:
        raise MalformedDer
    (kind, tag, looks), value = _WRITTEN_AS[rdn_der[8]], rdn_der[11:].decode()
    if rdn_der[9] != tag or len(value) > _SHORT_ENOUGH or not value:
        raise MalformedDer
    if not looks.fullmatch(value) or not _AS_IT_STANDS.fullmatch(value):
        raise MalformedDer
    return kind, value


_settled_known = lru_cache(maxsize=1024)(_settled)


def _format_rdn(rdn_der: bytes) -> str:
    return "+".join([f"{_kind_of(oid)}={_format_value(value)}" for oid, value in attributes_of(rdn_der)])


_format_known = lru_cache(maxsize=1024)(_format_rdn)


@lru_cache(maxsize=256)
def _kind_of(oid: bytes) -> str:
    dotted = read_oid(Element(OID, oid, b""))
    return _SHORT.get(x509.ObjectIdentifier(dotted), dotted)


def settled_name(name: x509.Name) -> x509.Name:
    """The same name in the string types we write, after the checks of ``parse_name``. Raises ``InvalidName``."""
    return parse_name(format_name(name))


def attribute_names(name: x509.Name) -> set[str]:
    """The short names (or dotted OIDs) of the attribute types that occur."""
    return {_SHORT.get(part.oid, part.oid.dotted_string) for part in name}


def attribute_values(name: x509.Name) -> list[tuple[str, str]]:
    """Every attribute: its type by short name (or dotted OID), and its value."""
    return [(_SHORT.get(part.oid, part.oid.dotted_string), str(part.value)) for part in name]


@lru_cache(maxsize=64)  # one name is read again within the same issuance
def _parse(text: str) -> x509.Name:
    if len(text) > LONGEST_TEXT:
        raise ValueError(Phrase("it is longer than {limit} characters", limit=LONGEST_TEXT))
    if not text.strip():
        raise ValueError(Phrase("it is empty"))
    rdns: list[list[x509.NameAttribute[str]]] = [[]]
    for piece, separator in _pieces(text):
        rdns[-1].append(_attribute(piece))
        if separator == ",":
            rdns.append([])
    if any(len(rdn) > 1 and len({part.oid for part in rdn}) != len(rdn) for rdn in rdns):
        raise ValueError(Phrase("one type stands twice in parts joined by +"))
    return x509.Name([x509.RelativeDistinguishedName(rdn) for rdn in reversed(rdns)])


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Every ``type=value`` with the separator behind it, the last one with an empty separator."""
    start = 0
    for found in _TOKEN.finditer(text):
        if found[0] == '"':
            raise ValueError(Phrase("a quotation mark is not closed"))
        if found[0] in (",", "+"):
            yield text[start : found.start()], found[0]
            start = found.end()
    yield text[start:], ""


@lru_cache(maxsize=256)  # the same country and organisation stand in everybody's name
def _attribute(piece: str) -> x509.NameAttribute[str]:
    written, equals, raw = piece.partition("=")
    if not equals:
        raise ValueError(Phrase("'{piece}' lacks a type such as CN=", piece=_shown(piece.strip())))
    oid = _type(written.strip())
    value = _value(raw)
    _check_value(oid, value)
    return x509.NameAttribute(oid, value, _validate=False)


def _type(written: str) -> x509.ObjectIdentifier:
    dotted = _OID.fullmatch(written)
    if dotted:
        return x509.ObjectIdentifier(dotted[1])
    oid = _BY_SPELLING.get(written.lower())
    if oid is None:
        raise ValueError(Phrase("'{type}' is not an attribute type", type=_shown(written)))
    return oid


def _value(raw: str) -> str:
    raw = raw.lstrip(" ")
    bare = raw.rstrip(" ")
    if bare.startswith("#"):
        return _hexadecimal(bare[1:])
    if bare.startswith('"'):
        if len(bare) < 2 or _TOKEN.match(bare)[0] != bare:  # type: ignore[index]  # balance was checked by _pieces
            raise ValueError(Phrase("a quotation mark stands in the middle of a value"))
        return _unescape(bare[1:-1], quoted=True)
    if _ends_in_escape(bare) and len(bare) < len(raw):
        bare += " "
    return _unescape(bare, quoted=False)


def _ends_in_escape(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _unescape(text: str, *, quoted: bool) -> str:
    plain = _ESCAPE.sub("", text)
    if not quoted and any(character in '";<>' for character in plain):
        raise ValueError(Phrase('one of " ; < > stands without a backslash before it'))
    try:
        return _ESCAPE.sub(_unescaped, text)
    except UnicodeDecodeError as error:
        raise ValueError(Phrase("an escape is not UTF-8")) from error


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return bytes.fromhex(found[1].replace("\\", "")).decode()
    if found[2] is None or found[2] not in _ESCAPABLE:
        raise ValueError(Phrase("a backslash stands before something that needs none"))
    return found[2]


def _hexadecimal(digits: str) -> str:
    """The text inside a BER string written as ``#0c03…`` (RFC 4514 section 2.4)."""
    try:
        ber = bytes.fromhex(digits)
        long_form = ber[1] & 0x7F if ber[1] & 0x80 else 0
        content = ber[2 + long_form :]
        stated = int.from_bytes(ber[2 : 2 + long_form], "big") if long_form else ber[1]
        if stated != len(content):
            raise ValueError
        return content.decode(_ENCODINGS[ber[0]])
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(Phrase("a value after # is not the hexadecimal form of a text")) from error


def _check_value(oid: x509.ObjectIdentifier, value: str) -> None:
    kind, limit = _SHORT.get(oid, oid.dotted_string), _LIMITS.get(oid, _OTHER_LIMIT)
    if not value:
        raise ValueError(Phrase("{type} has no value", type=kind))
    if not value.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError(Phrase("{type} contains a control character", type=kind))
    if len(value) > limit:
        raise ValueError(Phrase("{type} is longer than {limit} characters", type=kind, limit=limit))
    if oid == NameOID.COUNTRY_NAME and not _COUNTRY.fullmatch(value):
        raise ValueError(Phrase("C must be a country code of two letters such as KR"))
    if oid in _PRINTABLE_ONLY and not _PRINTABLE.fullmatch(value):
        raise ValueError(Phrase("{type} contains a character that it may not contain", type=kind))
    if oid in _ASCII_ONLY and not value.isascii():
        raise ValueError(Phrase("{type} contains a character that it may not contain", type=kind))


def _format_attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    kind = _SHORT.get(attribute.oid, attribute.oid.dotted_string)
    value = attribute.value
    return f"{kind}={_format_value(value)}" if isinstance(value, str) else f"{kind}=#{value.hex()}"


def _format_value(value: str) -> str:
    if _AS_IT_STANDS.fullmatch(value):
        return value
    last = len(value) - 1
    return "".join(
        _format_character(character, at_edge=index in (0, last), leading=index == 0)
        for index, character in enumerate(value)
    )


def _format_character(character: str, *, at_edge: bool, leading: bool) -> str:
    if character in _NEEDS_ESCAPE or (character == " " and at_edge) or (character == "#" and leading):
        return "\\" + character
    if unicodedata.category(character) in _INVISIBLE:
        return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
    return character


def _shown(text: str) -> str:
    visible = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:_SHOWN]
    )
    return visible if len(text) <= _SHOWN else visible + "…"
