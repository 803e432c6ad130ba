"""Addresses of locations and of credentials in them, read from text and written so that they can be pasted back."""

import os
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote_to_bytes

from dojang.errors import InvalidAddress, Phrase, UnsupportedOperation
from dojang.npki.roots import default_root
from dojang.pkcs11.uri import Pkcs11Uri

LONGEST_TEXT: Final = 65536
_NPKI: Final = "npki:"
_PLANNED: Final = ("removable:", "pkcs12:", "phone:", "cloud:")
_SHOWN: Final = 60

# What is written as it stands: nothing that a shell, a table or a URI reader takes for something else. Letters and
# digits of other scripts stay readable.
_PLAIN: Final = re.compile(r"[A-Za-z0-9\-._~/,=:@+]")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HALF: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # the rest of the surrogates stand for bytes of file names
_HEX_ID: Final = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True, slots=True)
class DiskAddress:
    """``npki:/path/NPKI``, and at most one of ``?cn=…``, ``?id=…`` (hexadecimal) and ``#<folder>`` for one credential.

    ``root`` is absolute. ``folder`` is the path below it (``yessign/USER/cn=…``) or the subject's folder alone; it is
    compared with what is there, never joined to the root.
    """

    root: str
    common_name: str | None = None
    key_id: bytes | None = None
    folder: str | None = None

    @classmethod
    def from_text(cls, text: str) -> "DiskAddress":
        """``InvalidAddress`` for what is not an ``npki:`` address."""
        rest, mark, fragment = _checked(text)[len(_NPKI) :].partition("#")
        path, question, query = rest.partition("?")
        chosen = _selector(text, query) if question else {}
        if mark:
            if chosen:
                raise _invalid(text, Phrase("it names a credential twice, after '?' and after '#'"))
            chosen = {"folder": _named(text, Phrase("the folder"), fragment)}
        return cls(root=_root(text, path), **chosen)  # type: ignore[arg-type]

    def to_text(self) -> str:
        """The address, fit to be pasted."""
        text = _NPKI + _escaped(self.root)
        if self.common_name is not None:
            return f"{text}?cn={_escaped(self.common_name)}"
        if self.key_id is not None:
            return f"{text}?id={self.key_id.hex()}"
        return text if self.folder is None else f"{text}#{_escaped(self.folder)}"

    def __str__(self) -> str:
        return self.to_text()

    @property
    def names_credential(self) -> bool:
        """Whether it names one credential, not just the folder."""
        return not (self.common_name is None and self.key_id is None and self.folder is None)

    def location(self) -> "DiskAddress":
        """The same without the credential."""
        return DiskAddress(self.root)

    def for_folder(self, folder: str) -> "DiskAddress":
        """The address of the credential in that folder below the same root."""
        return replace(self.location(), folder=folder)


Address = Pkcs11Uri | DiskAddress


def parse_address(text: str) -> Address:
    """What ``text`` addresses. ``InvalidUri``, ``InvalidAddress``, or ``UnsupportedOperation`` for kinds yet to come.

    An ``@alias`` is resolved by whoever holds the settings, before this.
    """
    scheme = text[: text.find(":") + 1].lower()
    if scheme == "pkcs11:":
        return Pkcs11Uri.from_text(text)
    if scheme == _NPKI:
        return DiskAddress.from_text(text)
    if scheme in _PLANNED:
        raise UnsupportedOperation(
            where="This version of dojang",
            operation=Phrase("open {scheme} addresses", scheme=scheme),
            next_step="Use pkcs11:token=LABEL or npki:/folder.",
        )
    if text.startswith("@"):
        raise _invalid(text, Phrase("no such alias is saved"))
    raise _invalid(text, Phrase("it begins with no known kind of location"))


def _checked(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise _invalid(text, Phrase("it is longer than {limit} characters", limit=LONGEST_TEXT))
    if any(character < " " or character == "\x7f" or _HALF.fullmatch(character) for character in text):
        raise _invalid(text, Phrase("it holds a character that is no text"))
    if _ESCAPE.search(text):
        raise _invalid(text, Phrase("it holds a % without two hexadecimal digits; write %25"))
    return text


def _root(text: str, path: str) -> str:
    decoded = _unescaped(text, path)
    if decoded.startswith("//"):
        raise _invalid(text, Phrase("a folder on another machine is not an NPKI folder here"))
    return os.path.abspath(os.path.expanduser(decoded)) if decoded else str(default_root())  # noqa: PTH100, PTH111 – text in, text out


def _selector(text: str, query: str) -> dict[str, object]:
    name, equals, raw = query.partition("=")
    if name == "cn" and equals:
        return {"common_name": _named(text, "cn", raw)}
    if name == "id" and equals and _HEX_ID.fullmatch(raw.lower()):
        return {"key_id": bytes.fromhex(raw)}
    raise _invalid(text, Phrase("after '?' stands cn=NAME or id=HEXADECIMAL"))


def _named(text: str, what: str, raw: str) -> str:
    if not raw:
        raise _invalid(text, Phrase("{what} is empty", what=what))
    return _unescaped(text, raw)


def _unescaped(text: str, raw: str) -> str:
    decoded = unquote_to_bytes(raw.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    if "\0" in decoded:
        raise _invalid(text, Phrase("it holds a NUL"))
    return decoded


def _escaped(text: str) -> str:
    return "".join(
        character
        if _PLAIN.fullmatch(character) or (not character.isascii() and character.isalnum())
        else "".join(f"%{octet:02X}" for octet in character.encode("utf-8", "surrogateescape"))
        for character in text
    )


def _invalid(text: str, problem: Phrase) -> InvalidAddress:
    # A PIN in an address whose scheme is misspelt is not repeated either.
    begin, pin, _ = text[:_SHOWN].partition("pin-value")
    shown = begin + ("…" if pin or len(text) > _SHOWN else "")
    return InvalidAddress(address=shown.encode("utf-8", "backslashreplace").decode(), problem=problem)
