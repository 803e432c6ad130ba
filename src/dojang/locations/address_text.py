"""The text of addresses: what may stand in it, how names are escaped, and how one credential in a location is named."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from dojang.errors import InvalidAddress, Phrase

LONGEST_TEXT: Final = 65536
_SHOWN: Final = 60

# What is written as it stands: nothing that a shell, a table or a URI reader takes for something else. Letters and
# digits of other scripts stay readable.
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9\-._~/,=:@+가-힣]")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Control characters, and halves of characters; the rest of the surrogates stand for bytes of file names.
_NO_TEXT: Final = re.compile("[\0-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")
_HEX_ID: Final = re.compile(r"(?:[0-9a-f]{2})+")
_NEXT: Final = re.compile(r"&(?=(?:cn|id|key)=)")  # any other & is part of a name


@dataclass(frozen=True, slots=True)
class Selection:
    """At most one of ``?cn=…`` and ``?id=…`` (hexadecimal): which credential in a location is meant."""

    common_name: str | None = None
    key_id: bytes | None = None

    def to_text(self) -> str:
        """``cn=…``, ``id=…`` or nothing."""
        if self.common_name is not None:
            return f"cn={escaped(self.common_name)}"
        return "" if self.key_id is None else f"id={self.key_id.hex()}"


def checked(text: str) -> str:
    """``InvalidAddress`` for what could not be printed and pasted."""
    if len(text) > LONGEST_TEXT:
        raise invalid(text, Phrase("it is longer than {limit} characters", limit=LONGEST_TEXT))
    if _NO_TEXT.search(text):
        raise invalid(text, Phrase("it holds a character that is no text"))
    if _ESCAPE.search(text):
        raise invalid(text, Phrase("it holds a % without two hexadecimal digits; write %25"))
    return text


def read_query(text: str, query: str | None, also: Collection[str] = ()) -> tuple[Selection, dict[str, str]]:
    """What stands after the ``?``: the credential, and the values of the names in ``also``, each at most once."""
    found: dict[str, str] = {}
    for pair in () if query is None else _NEXT.split(query):
        name, _, raw = pair.partition("=")
        known = name in also or name == "cn" or (name == "id" and _HEX_ID.fullmatch(raw.lower()))
        if not known or name in found:
            raise invalid(text, Phrase("after '?' stands cn=NAME or id=HEXADECIMAL"))
        found[name] = unescaped_name(text, name, raw)
    if "cn" in found and "id" in found:
        raise invalid(text, Phrase("it names a credential twice, by cn and by id"))
    key_id = bytes.fromhex(found.pop("id")) if "id" in found else None
    return Selection(found.pop("cn", None), key_id), found


def absolute_path(text: str, path: str) -> str:
    """A path that stood in the address ``text``; ``~`` and what is relative count from this user and from here."""
    if path.startswith("//"):
        raise invalid(text, Phrase("a folder on another machine is no place for keys"))
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 – text in, text out


def unescaped_name(text: str, what: str, raw: str) -> str:
    """The same, and not empty."""
    if not raw:
        raise invalid(text, Phrase("{what} is empty", what=what))
    return unescaped(text, raw)


def unescaped(text: str, raw: str) -> str:
    """``raw``, a part of the address ``text``, with every %XX read."""
    decoded = unquote_to_bytes(raw.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    if "\0" in decoded:
        raise invalid(text, Phrase("it holds a NUL"))
    return decoded


def escaped(text: str) -> str:
    """Fit to stand in an address that is pasted into a shell."""
    return _NOT_PLAIN.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    character = found[0]
    if not character.isascii() and character.isalnum():
        return character
    return "".join(f"%{octet:02X}" for octet in character.encode("utf-8", "surrogateescape"))


def invalid(text: str, problem: Phrase) -> InvalidAddress:
    """The error, which repeats little of ``text`` and no PIN, not even one whose scheme is misspelt."""
    begin, pin, _ = text[:_SHOWN].partition("pin-value")
    shown = begin + ("…" if pin or len(text) > _SHOWN else "")
    return InvalidAddress(address=shown.encode("utf-8", "backslashreplace").decode(), problem=problem)
