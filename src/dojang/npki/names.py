"""What NPKI folders are called: the root per system, the folder of a CA, the folder of a subject."""

import hashlib
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from dojang.der import SEQUENCE, SET, Element, MalformedDer, children, expect, parse, parts, read_oid
from dojang.errors import InvalidName

USER = "USER"
RETIRED = "RETIRED"

_CA_FOLDERS = ("yessign", "SignKorea", "KICA", "CrossCert", "TradeSign", "INIPASS", "NCASign")
_CA_COMMON_NAMES = {name.casefold(): name for name in _CA_FOLDERS} | {"signgate": "KICA"}

_ATTRIBUTE_TYPES = {
    "2.5.4.3": "cn",
    "2.5.4.4": "sn",
    "2.5.4.5": "serialnumber",
    "2.5.4.6": "c",
    "2.5.4.7": "l",
    "2.5.4.8": "st",
    "2.5.4.9": "street",
    "2.5.4.10": "o",
    "2.5.4.11": "ou",
    "2.5.4.12": "title",
    "2.5.4.42": "givenname",
    "0.9.2342.19200300.100.1.1": "uid",
    "0.9.2342.19200300.100.1.25": "dc",
    "1.2.840.113549.1.9.1": "e",
}

# DirectoryString and its kin (RFC 5280, appendix A): UTF8, Numeric, Printable, Teletex, IA5, Visible, Universal, BMP
_ENCODINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}

# Illegal in a file name on Windows or here, or with a meaning of its own in the folder string. How other programs write
# these is not known; percent-encoding keeps two subjects from ever sharing a folder.
_ESCAPED = frozenset('/\\:*?"<>|%')
_SEPARATORS = frozenset(",+")
_WINDOWS_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)))
)
_MAX_NAME_BYTES = 255
_ROOM_FOR_COUNT = 8


def comparable(name: str) -> str:
    """The form in which two file names are the same: NFC (macOS hands out NFD), case ignored."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@lru_cache(maxsize=16)
def ca_folder_name(issuer_der: bytes) -> str:
    """The folder of the CA with this name: the one its users know, else a safe form of its O or CN."""
    rdns = _rdns(issuer_der)
    organization, common_name = _first(rdns, "2.5.4.10"), _first(rdns, "2.5.4.3")
    name = _known_ca(organization, common_name) or safe_component(organization or common_name)
    if not name:
        raise InvalidName(name=subject_folder_name(issuer_der), problem="the issuer has neither O nor CN")
    return name


def _known_ca(organization: str, common_name: str) -> str | None:
    """``o=yessign`` or ``cn=yessignCA Class 2``, ``cn=signGATE CA6``; a name that only begins alike is another CA."""
    exact = next((name for name in _CA_FOLDERS if name.casefold() == organization.casefold()), None)
    return exact or next((name for prefix, name in _CA_COMMON_NAMES.items() if _names_ca(common_name, prefix)), None)


def _names_ca(common_name: str, prefix: str) -> bool:
    return common_name.casefold().replace(" ", "").startswith(f"{prefix}ca")


def subject_folder_name(subject_der: bytes) -> str:
    """``cn=홍길동()0004…,ou=KMB,o=yessign,c=kr``: leaf first, lower-case types, a comma without space."""
    parts = ["+".join(sorted(_attribute(dotted, value) for dotted, value in rdn)) for rdn in _rdns(subject_der)[::-1]]
    if not parts:
        raise InvalidName(name="", problem="the certificate has no subject, so its folder would have no name")
    return safe_component(",".join(parts), already_escaped=True)


def retired_folder_name(folder_name: str, serial_number: int) -> str:
    """Where the certificate ``serial_number`` of that folder goes when another takes its place."""
    serial = f" {serial_number:x}"
    return _shortened(folder_name + serial, keep=serial, at_most=_MAX_NAME_BYTES - _ROOM_FOR_COUNT)


def safe_component(text: str, *, already_escaped: bool = False) -> str:
    """``text`` as one file name that is legal everywhere and leads nowhere else; NFC, at most 255 bytes."""
    escaped = unicodedata.normalize("NFC", text if already_escaped else _escape(text, _ESCAPED))
    if escaped[-1:] in (".", " "):
        escaped = escaped[:-1] + f"%{ord(escaped[-1]):02X}"
    if escaped[:1] in (".", " "):
        escaped = f"%{ord(escaped[0]):02X}" + escaped[1:]
    if escaped.split(".")[0].casefold() in _WINDOWS_DEVICES:
        escaped = f"%{ord(escaped[0]):02X}" + escaped[1:]
    return _shortened(escaped)


def _rdns(name_der: bytes) -> list[list[tuple[str, str]]]:
    """The (dotted type, value) pairs of a Name, in the order of the DER; values that are no text become hex."""
    try:
        return [[_pair(pair) for pair in _some(expect(rdn, SET))] for rdn in children(parse(name_der, SEQUENCE))]
    except MalformedDer as error:
        raise InvalidName(name=name_der[:64].hex(), problem="it is not the DER of a name") from error


def _some(rdn: Element) -> list[Element]:
    """The attributes of a relative name; without any it would make a folder of no name, the folder of all."""
    return parts(rdn, 1, len(rdn.content))


def _pair(pair: Element) -> tuple[str, str]:
    kind, value = parts(expect(pair, SEQUENCE), 2, 2)
    return read_oid(kind), _text(value)


def _text(value: Element) -> str:
    try:
        return value.content.decode(_ENCODINGS.get(value.tag, "undefined"))
    except (UnicodeError, LookupError):
        return value.der.hex()


def _attribute(dotted: str, value: str) -> str:
    return f"{_ATTRIBUTE_TYPES.get(dotted, dotted)}={_escape(value, _ESCAPED | _SEPARATORS)}"


def _escape(text: str, characters: Iterable[str]) -> str:
    return "".join(
        "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        if character in characters or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else character
        for character in unicodedata.normalize("NFC", text)
    )


def _shortened(name: str, *, keep: str = "", at_most: int = _MAX_NAME_BYTES) -> str:
    encoded = name.encode()
    if len(encoded) <= at_most:
        return name
    # 16 hex digits of the whole name keep two long names apart.
    tail = f"~{hashlib.sha256(encoded).hexdigest()[:16]}{keep}"
    return encoded[: at_most - len(tail.encode())].decode(errors="ignore") + tail


def _first(rdns: list[list[tuple[str, str]]], wanted: str) -> str:
    return next((value.strip() for rdn in rdns for dotted, value in rdn if dotted == wanted), "")
