"""PKCS#11 URIs: the address of a token or of one object on it, read and written as RFC 7512 says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Self

from dojang.errors import InvalidUri, Phrase
from dojang.secret import Secret

SCHEME: Final = "pkcs11:"
OBJECT_TYPES: Final = ("public", "private", "cert", "secret-key", "data")
# These bound the work a hostile address can cause; LONGEST_TEXT holds every attribute at its longest, escaped.
LONGEST_TEXT: Final = 2**20
LONGEST_VALUE: Final = 1024
MOST_VENDOR_ATTRIBUTES: Final = 32
LARGEST_SLOT_ID: Final = 2**64 - 1  # CK_ULONG

_PATH_FIELDS: Final = {
    "token": "token",
    "manufacturer": "manufacturer",
    "model": "model",
    "serial": "serial",
    "library-manufacturer": "library_manufacturer",
    "library-description": "library_description",
    "library-version": "library_version",
    "slot-manufacturer": "slot_manufacturer",
    "slot-description": "slot_description",
    "slot-id": "slot_id",
    "object": "object",
    "id": "id",
    "type": "type",
}
_QUERY_FIELDS: Final = {
    "module-name": "module_name",
    "module-path": "module_path",
    "pin-source": "pin_source",
    "pin-value": "pin_value",
}
_TEXT_FIELDS: Final = tuple(
    attribute
    for attribute in (*_PATH_FIELDS.values(), *_QUERY_FIELDS.values())
    if attribute not in ("id", "slot_id", "pin_value", "library_version", "type")
)

# Unescaped characters of section 2.3: unreserved and pk11-path-res-avail or pk11-query-res-avail. Letters beyond ASCII
# are taken as RFC 3987 section 3.1 maps them (UTF-8), because people type labels such as 도장 as they read them.
_UNRESERVED: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PATH_TEXT: Final = frozenset(_UNRESERVED + ":[]@!$'()*+,=%" + "&")
_QUERY_TEXT: Final = frozenset(_UNRESERVED + ":[]@!$'()*+,=%" + "/?|")
_NAME_TEXT: Final = frozenset(_UNRESERVED) - frozenset(".~")
_HEXADECIMAL: Final = frozenset(b"0123456789ABCDEFabcdef")

# What is written unescaped is less than what is read: only what no shell, table or other program stumbles over.
_PATH_PLAIN: Final = _UNRESERVED.encode() + b":@+,"
_QUERY_PLAIN: Final = _UNRESERVED.encode() + b":@+,/"


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """One PKCS#11 URI, decoded; ``None`` means the attribute is absent, an empty value matches an empty value.

    ``id`` is raw CKA_ID bytes, ``library_version`` is ``"2"`` or ``"2.40"``, every other value is text. Whatever can be
    constructed can be written and read back; anything else is ``InvalidUri``. The PIN shows only in
    ``to_text(with_pin=True)``.
    """

    scheme: ClassVar[str] = SCHEME

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    library_manufacturer: str | None = None
    library_description: str | None = None
    library_version: str | None = None
    object: str | None = None
    type: str | None = None
    id: bytes | None = None
    slot_manufacturer: str | None = None
    slot_description: str | None = None
    slot_id: int | None = None
    pin_source: str | None = None
    pin_value: Secret | None = field(default=None, hash=False)
    module_name: str | None = None
    module_path: str | None = None
    vendor_path: tuple[tuple[str, str], ...] = ()
    vendor_query: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for attribute in _TEXT_FIELDS:
            value = getattr(self, attribute)
            if value is not None:
                _check_text(attribute.replace("_", "-"), value)
        if self.vendor_path or self.vendor_query:
            self._check_vendor_attributes()
        for key in ("id", "pin_value"):
            if getattr(self, key) is not None and len(getattr(self, key)) > LONGEST_VALUE:
                raise InvalidUri(
                    problem=Phrase(
                        "{name} is longer than {limit} bytes", name=key.replace("_", "-"), limit=LONGEST_VALUE
                    )
                )
        if self.type is not None and self.type not in OBJECT_TYPES:
            raise InvalidUri(problem=Phrase("type is one of {types}", types=", ".join(OBJECT_TYPES)))
        if self.library_version is not None:
            _version(self.library_version)
        if self.slot_id is not None and not 0 <= self.slot_id <= LARGEST_SLOT_ID:
            raise InvalidUri(problem="slot-id is larger than any slot number")
        if self.pin_source is not None and self.pin_value is not None:
            raise InvalidUri(problem="pin-source and pin-value exclude each other")

    def _check_vendor_attributes(self) -> None:
        if len(self.vendor_path) + len(self.vendor_query) > MOST_VENDOR_ATTRIBUTES:
            raise InvalidUri(problem="it has too many attributes")
        for name, value in (*self.vendor_path, *self.vendor_query):
            _check_vendor_name(name)
            _check_text(name, value)
        if len(dict(self.vendor_path)) != len(self.vendor_path):
            raise InvalidUri(problem="an attribute stands twice before the '?'")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a URI; ``InvalidUri`` for everything that is not one, without ever showing a PIN (section 2.3)."""
        if len(text) > LONGEST_TEXT:
            raise InvalidUri(problem=Phrase("it is longer than {limit} characters", limit=LONGEST_TEXT))
        if text[: len(SCHEME)].lower() != SCHEME:
            raise InvalidUri(problem=Phrase("it does not begin with {scheme}", scheme=SCHEME))
        path, question, query = text[len(SCHEME) :].partition("?")
        values: dict[str, object] = {}
        vendor_path = list(_read_path(path, values)) if path else []
        vendor_query = list(_read_query(query, values)) if question and query else []
        return cls(**values, vendor_path=tuple(vendor_path), vendor_query=tuple(vendor_query))  # type: ignore[arg-type]

    def to_text(self, *, with_pin: bool = False) -> str:
        """Write the URI so that it can be pasted anywhere; the PIN is left out unless asked for."""
        path = [f"{name}={_write(name, getattr(self, key))}" for name, key in _PATH_FIELDS.items() if self._has(key)]
        path += [f"{name}={_escape(value.encode(), _PATH_PLAIN)}" for name, value in self.vendor_path]
        query = [
            f"{name}={_write_query(getattr(self, key))}"
            for name, key in _QUERY_FIELDS.items()
            if self._has(key) and (with_pin or name != "pin-value")
        ]
        query += [f"{name}={_write_query(value)}" for name, value in self.vendor_query]
        return SCHEME + ";".join(path) + ("?" + "&".join(query) if query else "")

    def __str__(self) -> str:
        return self.to_text()

    def _has(self, key: str) -> bool:
        return getattr(self, key) is not None

    @property
    def names_object(self) -> bool:
        """Whether it names an object, not just a token."""
        return not (self.object is None and self.id is None and self.type is None)

    def token_part(self) -> Self:
        """The same without the object: token, slot, library and how to reach them."""
        return replace(self, object=None, id=None, type=None)

    # As the address of a location, whose names these are:

    @property
    def key_id(self) -> bytes | None:
        """The CKA_ID that it names."""
        return self.id

    @property
    def names_credential(self) -> bool:
        """Whether it names a certificate or key by label or CKA_ID."""
        return not (self.object is None and self.id is None)

    def location(self) -> Self:
        """The address of the token."""
        return self.token_part()

    def identity(self) -> str:
        """What tells this token from others, without how it is reached, which differs from run to run."""
        return self.token_part().to_text().partition("?")[0]

    def for_object(self, *, object: str | None = None, id: bytes | None = None, type: str | None = None) -> Self:  # noqa: A002
        """The address of one object on the same token.

        A label or id that no URI can carry (NUL, half a surrogate pair, absurd length) is left out, so that one odd
        object never spoils a list; the other attribute still names it.
        """
        return replace(
            self,
            object=object if object is not None and _writable(object) else None,
            id=id if id is not None and len(id) <= LONGEST_VALUE else None,
            type=type,
        )

    def matches_token(self, *, label: str, manufacturer: str, model: str, serial: str) -> bool:
        """Whether a token (CK_TOKEN_INFO, padding removed or not) is meant; an unknown attribute matches nothing."""
        return not self.vendor_path and all(
            wanted is None or wanted.rstrip(" ") == found.rstrip(" ")
            for wanted, found in (
                (self.token, label),
                (self.manufacturer, manufacturer),
                (self.model, model),
                (self.serial, serial),
            )
        )

    def matches_slot(self, *, description: str, manufacturer: str, slot_id: int) -> bool:
        """Whether a slot (CK_SLOT_INFO) is meant."""
        return (
            (self.slot_description is None or self.slot_description.rstrip(" ") == description.rstrip(" "))
            and (self.slot_manufacturer is None or self.slot_manufacturer.rstrip(" ") == manufacturer.rstrip(" "))
            and (self.slot_id is None or self.slot_id == slot_id)
        )

    def matches_library(self, *, description: str, manufacturer: str, version: tuple[int, int]) -> bool:
        """Whether a module (CK_INFO) is meant; a version without minor number means minor 0 (section 2.3)."""
        return (
            (self.library_description is None or self.library_description.rstrip(" ") == description.rstrip(" "))
            and (self.library_manufacturer is None or self.library_manufacturer.rstrip(" ") == manufacturer.rstrip(" "))
            and (self.library_version is None or _version(self.library_version) == version)
        )

    def matches_object(self, *, label: str, id: bytes, type: str) -> bool:  # noqa: A002
        """Whether an object is meant, by CKA_LABEL, CKA_ID octets and class as the URI names it."""
        return (
            (self.object is None or self.object == label)
            and (self.id is None or self.id == id)
            and (self.type is None or self.type == type)
        )


def _read_path(path: str, values: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, raw in _pairs(path, ";", _PATH_TEXT):
        if name in _PATH_FIELDS:
            if _PATH_FIELDS[name] in values:
                raise InvalidUri(problem=Phrase("{name} stands twice", name=name))
            values[_PATH_FIELDS[name]] = _READERS.get(name, _read_text)(name, raw)
        else:
            _check_vendor_name(name)
            yield name, _read_text(name, raw)


def _read_query(query: str, values: dict[str, object]) -> Iterator[tuple[str, str]]:
    for name, raw in _pairs(query, "&", _QUERY_TEXT):
        if name in _QUERY_FIELDS:
            if _QUERY_FIELDS[name] in values:
                raise InvalidUri(problem=Phrase("{name} stands twice", name=name))
            values[_QUERY_FIELDS[name]] = _READERS.get(name, _read_text)(name, raw)
        else:
            _check_vendor_name(name)
            yield name, _read_text(name, raw)


def _pairs(component: str, separator: str, allowed: frozenset[str]) -> Iterator[tuple[str, str]]:
    for part in component.split(separator):
        name, equals, raw = part.partition("=")
        # The part is not quoted: without its '=' it may be a PIN that lost its name.
        if not equals or not _is_name(name):
            raise InvalidUri(problem=Phrase("between '{separator}' there must be name=value", separator=separator))
        if any(not "\u00a0" <= odd < "\ud800" and not odd > "\udfff" for odd in set(raw) - allowed):
            problem = Phrase("{name} holds a character that must be written as %XX (a space is %20)", name=name[:40])
            raise InvalidUri(problem=problem)
        yield name, raw


def _is_name(text: str) -> bool:
    return bool(text) and not set(text) - _NAME_TEXT


def _unescape(name: str, raw: str) -> bytes:
    first, *escaped = raw.encode().split(b"%")
    octets = bytearray(first)
    for part in escaped:
        if len(part) < 2 or not _HEXADECIMAL.issuperset(part[:2]):
            raise InvalidUri(problem=Phrase("{name} holds a % without two hexadecimal digits", name=name[:40]))
        octets.append(int(part[:2], 16))
        octets += part[2:]
    return bytes(octets)


def _read_text(name: str, raw: str) -> str:
    octets = _unescape(name, raw)
    text = octets.decode("utf-8", "replace")
    if text.encode() != octets:
        raise InvalidUri(problem=Phrase("{name} is not UTF-8", name=name[:40]))
    return text


def _read_version(name: str, raw: str) -> str:
    text = _read_text(name, raw)
    _version(text)
    return text


def _read_slot_id(name: str, raw: str) -> int:
    text = _read_text(name, raw)
    # int() takes signs, blanks and other scripts' digits, and its time grows with the square of the length.
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > len(str(LARGEST_SLOT_ID)):
        raise InvalidUri(problem="slot-id is not a slot number")
    return int(text.lstrip("0") or "0")


def _read_pin(name: str, raw: str) -> Secret:
    pin = _read_text(name, raw)
    if "\0" in pin:
        raise InvalidUri(problem="pin-value holds a NUL")
    return Secret(pin)


_READERS: Final[dict[str, Callable[[str, str], object]]] = {
    "id": _unescape,
    "slot-id": _read_slot_id,
    "library-version": _read_version,
    "pin-value": _read_pin,
}


def _version(text: str) -> tuple[int, int]:
    major, dot, minor = text.partition(".")
    parts = (major, minor) if dot else (major, "0")
    # CK_VERSION holds two bytes; the length is looked at first because int() of a million digits takes its time.
    if any(not (part.isascii() and part.isdigit() and len(part) < 4 and int(part) < 256) for part in parts):
        raise InvalidUri(problem="library-version is not MAJOR or MAJOR.MINOR")
    return int(parts[0]), int(parts[1])


def _writable(text: str) -> bool:
    half_pairs = not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
    return len(text) <= LONGEST_VALUE and "\0" not in text and not half_pairs


def _check_text(name: str, text: str) -> None:
    if len(text) > LONGEST_VALUE:
        raise InvalidUri(
            problem=Phrase("{name} is longer than {limit} characters", name=name[:40], limit=LONGEST_VALUE)
        )
    if "\0" in text:
        raise InvalidUri(problem=Phrase("{name} holds a NUL", name=name[:40]))
    if not _writable(text):
        raise InvalidUri(problem=Phrase("{name} is not UTF-8", name=name[:40]))


def _check_vendor_name(name: str) -> None:
    if len(name) > LONGEST_VALUE or not _is_name(name):
        raise InvalidUri(problem="an attribute name has letters, digits, - and _ only")
    # Taken for a vendor's attribute, a misplaced or misspelt pin-value would be printed with every address.
    if name.lower() in _PATH_FIELDS:
        raise InvalidUri(
            problem=Phrase("{name} is written in small letters and stands before the '?'", name=name.lower())
        )
    if name.lower() in _QUERY_FIELDS:
        raise InvalidUri(
            problem=Phrase("{name} is written in small letters and stands after the '?'", name=name.lower())
        )


def _write(name: str, value: str | bytes | int) -> str:
    if isinstance(value, bytes):
        return "".join(f"%{octet:02X}" for octet in value)
    return _escape(str(value).encode(), _PATH_PLAIN)


def _write_query(value: str | Secret) -> str:
    return _escape(value.reveal() if isinstance(value, Secret) else value.encode(), _QUERY_PLAIN)


def _escape(octets: bytes, plain: bytes) -> str:
    if not octets.translate(None, plain):
        return octets.decode()
    return "".join(chr(octet) if octet in plain else f"%{octet:02X}" for octet in octets)
