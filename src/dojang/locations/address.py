"""Addresses of locations and of credentials in them, read from text and written so that they can be pasted back.

One class a kind. All have the same properties, so that nobody needs to ask which kind an address is of.
"""

import os
import re
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Protocol, Self

from dojang.errors import Phrase
from dojang.locations.address_text import (
    Selection,
    absolute_path,
    checked,
    escaped,
    invalid,
    read_query,
    unescaped,
    unescaped_name,
)
from dojang.npki.roots import default_root
from dojang.pkcs11.uri import Pkcs11Uri


class Address(Protocol):
    """What every address can be asked, whatever kind it is of."""

    scheme: ClassVar[str]

    @property
    def key_id(self) -> bytes | None:
        """The id of the credential that it names, if it does so by id."""
        ...

    @property
    def names_credential(self) -> bool:
        """Whether it names one credential, not just the place where it lies."""
        ...

    def location(self) -> Self:
        """The same without the credential."""
        ...

    def identity(self) -> str:
        """One text for one location, without the hints for opening it and however many links lead to it."""
        ...

    def to_text(self) -> str:
        """The address, fit to be pasted; it never holds a PIN."""
        ...


@dataclass(frozen=True, slots=True)
class _Chosen:
    """An address that may name a credential by ``?cn=…`` or ``?id=…``."""

    common_name: str | None = field(default=None, kw_only=True)
    key_id: bytes | None = field(default=None, kw_only=True)

    @property
    def names_credential(self) -> bool:
        return not (self.common_name is None and self.key_id is None)

    def location(self) -> Self:
        return replace(self, common_name=None, key_id=None)

    def to_text(self) -> str:
        chosen = Selection(self.common_name, self.key_id).to_text()
        return f"{self._place()}?{chosen}" if chosen else self._place()

    def __str__(self) -> str:
        return self.to_text()

    def _place(self) -> str:
        """The address of the location."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _InFolders(_Chosen):
    """The same, or by ``#<folder>``: the path below the root (``yessign/USER/cn=…``) or the subject's folder alone.

    It is compared with what is there, and joined to the root only where it is three plain names.
    """

    folder: str | None = field(default=None, kw_only=True)

    @property
    def names_credential(self) -> bool:
        return not (self.common_name is None and self.key_id is None and self.folder is None)

    def location(self) -> Self:
        return replace(self, common_name=None, key_id=None, folder=None)

    def for_folder(self, folder: str) -> Self:
        """The address of the credential in that folder of the same place."""
        return replace(self, common_name=None, key_id=None, folder=folder)

    def to_text(self) -> str:
        return _Chosen.to_text(self) if self.folder is None else self.folder_text(self._place(), self.folder)

    @staticmethod
    def folder_text(location: str, folder: str) -> str:
        """What ``for_folder(folder).to_text()`` gives for the place whose address is ``location``, many at a time."""
        return f"{location}#{escaped(folder)}"


@dataclass(frozen=True, slots=True)
class DiskAddress(_InFolders):
    """``npki:/path/NPKI``; ``root`` is absolute."""

    scheme: ClassVar[str] = "npki:"
    root: str

    @classmethod
    def from_text(cls, text: str) -> "DiskAddress":
        """``InvalidAddress`` for what is not an ``npki:`` address."""
        path, chosen = _folder_parts(text, cls.scheme)
        return cls(absolute_path(text, path) if path else str(default_root()), **chosen)  # type: ignore[arg-type]

    def identity(self) -> str:
        return DiskAddress(os.path.realpath(self.root)).to_text()

    def _place(self) -> str:
        return self.scheme + escaped(self.root)


@dataclass(frozen=True, slots=True)
class RemovableAddress(_InFolders):
    """``removable:NAME``: the NPKI folder on the mounted disk that has this label or UUID."""

    scheme: ClassVar[str] = "removable:"
    name: str

    @classmethod
    def from_text(cls, text: str) -> "RemovableAddress":
        """``InvalidAddress`` for what is not a ``removable:`` address."""
        name, chosen = _folder_parts(text, cls.scheme)
        if not cls.can_name(name):
            raise invalid(text, Phrase("a disk is named by its label or its UUID, without a path"))
        return cls(name, **chosen)  # type: ignore[arg-type]

    @staticmethod
    def can_name(name: str) -> bool:
        """Whether a disk may go by that name in an address; a label can be anything."""
        return bool(name) and "/" not in name and "\0" not in name and name not in (".", "..")

    def identity(self) -> str:
        return self._place()

    def _place(self) -> str:
        return self.scheme + escaped(self.name)


@dataclass(frozen=True, slots=True)
class Pkcs12Address(_Chosen):
    """``pkcs12:/path/file.p12``; ``path`` is absolute."""

    scheme: ClassVar[str] = "pkcs12:"
    path: str

    @classmethod
    def from_text(cls, text: str) -> "Pkcs12Address":
        """``InvalidAddress`` for what is not a ``pkcs12:`` address."""
        path, query = _file_parts(text, cls.scheme)
        selection, _ = read_query(text, query)
        return cls(path, common_name=selection.common_name, key_id=selection.key_id)

    def for_key(self, key_id: bytes) -> "Pkcs12Address":
        """The address of the credential under that id in the same file."""
        return Pkcs12Address(self.path, key_id=key_id)

    def identity(self) -> str:
        return Pkcs12Address(os.path.realpath(self.path)).to_text()

    def _place(self) -> str:
        return self.scheme + escaped(self.path)


@dataclass(frozen=True, slots=True)
class PemAddress(_Chosen):
    """``pem:/path/cert.pem``, with ``?key=/path/key.pem`` where the key is in a file of its own; both absolute."""

    scheme: ClassVar[str] = "pem:"
    path: str
    key_path: str | None = None

    @classmethod
    def from_text(cls, text: str) -> "PemAddress":
        """``InvalidAddress`` for what is not a ``pem:`` address."""
        path, query = _file_parts(text, cls.scheme)
        selection, others = read_query(text, query, also=("key",))
        key_path = absolute_path(text, others["key"]) if "key" in others else None
        if key_path == path:
            key_path = None
        return cls(path, key_path, common_name=selection.common_name, key_id=selection.key_id)

    def for_key(self, key_id: bytes) -> "PemAddress":
        """The address of the credential under that id in the same files."""
        return PemAddress(self.path, self.key_path, key_id=key_id)

    def identity(self) -> str:
        key_path = None if self.key_path is None else os.path.realpath(self.key_path)
        return PemAddress(os.path.realpath(self.path), key_path).to_text()

    def to_text(self) -> str:
        chosen = Selection(self.common_name, self.key_id).to_text()
        return self._place() + (f"{'?' if self.key_path is None else '&'}{chosen}" if chosen else "")

    def _place(self) -> str:
        beside = "" if self.key_path is None else f"?key={escaped(self.key_path)}"
        return self.scheme + escaped(self.path) + beside


@dataclass(frozen=True, slots=True)
class PhoneAddress(_Chosen):
    """``phone:``: the phone that is paired with this machine."""

    scheme: ClassVar[str] = "phone:"

    @classmethod
    def from_text(cls, text: str) -> "PhoneAddress":
        """``InvalidAddress`` for what is not a ``phone:`` address."""
        rest, query = _parts(text, cls.scheme)
        if rest:
            raise invalid(text, Phrase("nothing but cn or id stands after phone:"))
        selection, _ = read_query(text, query)
        return cls(common_name=selection.common_name, key_id=selection.key_id)

    def identity(self) -> str:
        return self.scheme

    def _place(self) -> str:
        return self.scheme


_SERVICE: Final = re.compile(
    r"https://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%/,=:@+-]*)?"
)


@dataclass(frozen=True, slots=True)
class CloudAddress(_Chosen):
    """``cloud:https://host/…``: keys that a signing service holds; ``service`` is the URL it is reached by."""

    scheme: ClassVar[str] = "cloud:"
    service: str

    @classmethod
    def from_text(cls, text: str) -> "CloudAddress":
        """``InvalidAddress`` for what is not a ``cloud:`` address; passwords and plain http have no place in one."""
        service, query = _parts(text, cls.scheme)
        if not _SERVICE.fullmatch(service):
            raise invalid(text, Phrase("after cloud: stands https://HOST/PATH"))
        selection, _ = read_query(text, query)
        return cls(service, common_name=selection.common_name, key_id=selection.key_id)

    def identity(self) -> str:
        https, _, rest = self.service.partition("://")
        host, slash, path = rest.partition("/")
        return f"{self.scheme}{https}://{host.lower()}{slash}{path}"

    def _place(self) -> str:
        return self.scheme + self.service


ADDRESSES: Final = (
    Pkcs11Uri,
    DiskAddress,
    RemovableAddress,
    Pkcs12Address,
    PemAddress,
    PhoneAddress,
    CloudAddress,
)


def parse_address(text: str) -> Address:
    """What ``text`` addresses. ``InvalidUri`` or ``InvalidAddress`` for what addresses nothing.

    An ``@alias`` is resolved by whoever holds the settings, before this.
    """
    scheme = text[: text.find(":") + 1].lower()
    for one in ADDRESSES:
        if one.scheme == scheme:
            return one.from_text(text)
    if text.startswith("@"):
        raise invalid(text, Phrase("no such alias is saved"))
    raise invalid(text, Phrase("it begins with no known kind of location"))


def address_of_key(location: str, key_id: bytes) -> str:
    """The address of what lies under ``key_id`` in the location of that address."""
    place = parse_address(location).location()
    chosen = replace(place, id=key_id) if isinstance(place, Pkcs11Uri) else replace(place, key_id=key_id)  # type: ignore[type-var]
    return chosen.to_text()


def _parts(text: str, scheme: str) -> tuple[str, str | None]:
    """What stands between the scheme and the ``?``, and what stands after it."""
    if text[: len(scheme)].lower() != scheme:
        raise invalid(text, Phrase("it does not begin with {scheme}", scheme=scheme))
    rest, question, query = checked(text)[len(scheme) :].partition("?")
    return rest, query if question else None


def _file_parts(text: str, scheme: str) -> tuple[str, str | None]:
    raw, query = _parts(text, scheme)
    if not raw or raw.endswith("/"):
        raise invalid(text, Phrase("it names no file"))
    return absolute_path(text, unescaped(text, raw)), query


def _folder_parts(text: str, scheme: str) -> tuple[str, dict[str, object]]:
    before, mark, fragment = checked(text).partition("#")
    rest, query = _parts(before, scheme)
    selection, _ = read_query(text, query)
    if not mark:
        return unescaped(text, rest), {"common_name": selection.common_name, "key_id": selection.key_id}
    if query is not None:
        raise invalid(text, Phrase("it names a credential twice, after '?' and after '#'"))
    return unescaped(text, rest), {"folder": unescaped_name(text, Phrase("the folder"), fragment)}
