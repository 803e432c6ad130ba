"""The table of one sender in ``authority.toml``, each of whose keys is checked as it is taken."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dojang.errors import DojangError, Phrase
from dojang.pkcs11.pin import FD, PINPAD, PROMPT, PinSource

LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_SECONDS: Final = 10
_MOST_SECONDS: Final = 25
_FRAMING: Final = frozenset(("host", "content-length", "transfer-encoding", "connection"))
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class SenderTable:
    """Every method takes one key and raises ``ValueError`` with a phrase that names it."""

    def __init__(self, data: Mapping[str, Any], name: str, folder: Path) -> None:
        """``name`` is what the table is called in its file; ``folder`` where files are named from."""
        self._data, self._name, self._folder = data, name, folder
        self._taken: set[str] = set()

    def text(self, key: str) -> str:
        found = self.maybe_text(key)
        return self.refuse(key) if found is None else found

    def maybe_text(self, key: str) -> str | None:
        value = self._take(key)
        if value is None or (isinstance(value, str) and value and value.isprintable()):
            return value
        return str(self.refuse(key))

    def word(self, key: str, known: Collection[str], usual: str | None = None) -> str:
        value = self.maybe_text(key) or usual
        if value not in known:
            raise ValueError(
                Phrase("'{key}' must be one of {choices}", key=self._called(key), choices=", ".join(known))
            )
        return str(value)

    def number(self, key: str, smallest: int, largest: int, usual: int) -> int:
        value = self._take(key, usual)
        if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
            self.refuse(key)
        return int(value)

    def seconds(self) -> int:
        """How long a delivery may take."""
        return self.number("seconds", 1, _MOST_SECONDS, _SECONDS)

    def table(self, key: str) -> dict[str, Any]:
        """Whatever it holds; empty when it is not there."""
        value = self._take(key, {})
        return value if isinstance(value, dict) else self.refuse(key)

    def texts(self, key: str) -> dict[str, str]:
        """A table of texts."""
        found = self.table(key)
        if not all(isinstance(value, str) and value.isprintable() for value in found.values()):
            self.refuse(key)
        return found

    def headers(self, key: str) -> dict[str, str]:
        """A table of header fields, each once; not those that say where a request ends or goes."""
        found = self.texts(key)
        names = [name.lower() for name in found]
        if not all(_HEADER.fullmatch(name) and name not in _FRAMING for name in names) or len({*names}) != len(names):
            self.refuse(key)
        return found

    def numbers(self, key: str, smallest: int, largest: int) -> tuple[int, ...]:
        """A list of numbers, empty when it is not there."""
        value = self._take(key, [])
        if not isinstance(value, list):
            self.refuse(key)
        if not all(isinstance(one, int) and not isinstance(one, bool) and smallest <= one <= largest for one in value):
            self.refuse(key)
        return tuple(value)

    def value(self, key: str) -> Any:
        """Anything but a table or a list; ``None`` when it is not there."""
        value = self._take(key)
        return self.refuse(key) if isinstance(value, dict | list) else value

    def url(self, key: str) -> str:
        """``https:``, or ``http:`` to this machine; without user, password or fragment."""
        address = self.text(key)
        try:
            parts, _port = urlsplit(address), urlsplit(address).port
        except ValueError:
            self.refuse(key)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.hostname or not (parts.scheme == "https" or local) or parts.username is not None:
            raise ValueError(Phrase("'{key}' must be https:, or http: to this machine", key=self._called(key)))
        if parts.fragment or not address.isascii() or " " in address:
            self.refuse(key)
        return address

    def file(self, key: str) -> Path | None:
        """A file that is there, named from the folder of the authority."""
        name = self.maybe_text(key)
        path = None if name is None else self._folder / name
        if path is not None and not path.is_file():
            raise ValueError(Phrase("'{key}': there is no such file", key=self._called(key)))
        return path

    def source(self, key: str) -> PinSource:
        found = self.maybe_source(key)
        return self.refuse(key) if found is None else found

    def maybe_source(self, key: str) -> PinSource | None:
        """Where a secret is read from when it is needed; nobody is there to be asked."""
        return self._source(key, self.maybe_text(key))

    def sources(self, key: str) -> dict[str, PinSource]:
        """A table of them."""
        found = {name: self._source(f"{key}.{name}", text) for name, text in self.texts(key).items()}
        return {name: source for name, source in found.items() if source is not None}

    def login(self) -> tuple[str, PinSource] | None:
        """A user and where the password is, or neither."""
        user, source = self.maybe_text("user"), self.maybe_source("password-source")
        if user is None and source is None:
            return None
        if user is None or source is None or ":" in user:
            self.refuse("password-source" if source is None else "user")
        assert user is not None
        assert source is not None
        return user, source

    def _source(self, key: str, text: str | None) -> PinSource | None:
        if text is None:
            return None
        try:
            source = PinSource.parse(text)
        except DojangError:  # it repeats nothing of what was given, and neither does this
            self.refuse(key)
        if source.kind in (PROMPT, PINPAD, FD):
            raise ValueError(Phrase("'{key}' must be a source that asks nobody", key=self._called(key)))
        return source

    def refuse_unknown(self) -> None:
        for key in self._data.keys() - self._taken:
            raise ValueError(Phrase("unknown setting '{key}'", key=self._called(key)[:128]))

    def refuse(self, key: str) -> Any:
        raise ValueError(Phrase("'{key}' is missing or has an unusable value", key=self._called(key)))

    def _called(self, key: str) -> str:
        return f"{self._name}.{key}"

    def _take(self, key: str, usual: Any = None) -> Any:
        self._taken.add(key)
        return self._data.get(key, usual)
