"""A TOML table whose values are checked as they are taken, and which knows what nobody took."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from dojang.errors import Phrase

_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,39})){1,40}")


class Table:
    """Every method takes one key and raises ``ValueError`` with a phrase that names it."""

    def __init__(self, data: Mapping[str, Any], name: str = "") -> None:
        """``name`` is what the table is called in its file."""
        self._data = data
        self._name = name
        self._taken: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def table(self, key: str) -> "Table":
        """A table inside, empty when it is not there."""
        value = self._take(key, {})
        return Table(value if isinstance(value, dict) else self._refuse(key), self.called(key))

    def tables(self, known: Collection[str]) -> dict[str, "Table"]:
        """Every table inside that nobody took, by its key, which is one of those ``known`` or a dotted OID."""
        found = {key: value for key, value in self._data.items() if key not in self._taken and isinstance(value, dict)}
        for key in found:
            if key not in known and not _OID.fullmatch(key):
                raise ValueError(Phrase("'{key}' is not a setting of a profile", key=self.called(key)))
        return {key: self.table(key) for key in found}

    def text(self, key: str) -> str:
        value = self._take(key, None)
        return value if isinstance(value, str) and value.strip() else str(self._refuse(key))

    def maybe_text(self, key: str) -> str | None:
        return self.text(key) if key in self._data else None

    def one_of(self, key: str, known: Collection[str], usual: str | None = None) -> str | None:
        """One of a few words."""
        value = self._take(key, usual)
        if value is not None and not isinstance(value, str):
            self._refuse(key)
        return value if value is None else self._known(key, value, known)

    def switch(self, key: str, *, usual: bool = False) -> bool:
        value = self._take(key, usual)
        return value if isinstance(value, bool) else bool(self._refuse(key))

    def number(self, key: str, smallest: int, largest: int, usual: int | None = None) -> int:
        value = self._take(key, usual)
        if not _is_number(value, smallest, largest):
            raise ValueError(
                Phrase(
                    "'{key}' must be a whole number from {smallest} to {largest}",
                    key=self.called(key),
                    smallest=smallest,
                    largest=largest,
                )
            )
        return int(value)

    def numbers(self, key: str, smallest: int, largest: int) -> tuple[int, ...]:
        """A list of different numbers that grow, empty when it is not there."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(_is_number(one, smallest, largest) for one in value):
            self._refuse(key)
        if value != sorted(set(value)) or (key in self._data and not value):
            self._refuse(key)
        return tuple(value)

    def words(
        self, key: str, known: Collection[str] = (), *, some: bool = False, usual: Collection[str] = ()
    ) -> tuple[str, ...]:
        """A list of different words, all of them ``known`` unless anything goes."""
        value = self._take(key, list(usual))
        fits = isinstance(value, list) and all(isinstance(word, str) and word for word in value)
        if not fits or len(set(value)) != len(value) or (some and not value):
            self._refuse(key)
        return tuple(self._known(key, word, known) for word in value)

    def oid(self, word: str, names: Mapping[str, str]) -> str:
        """A dotted OID, by its name or as it stands."""
        if word not in names and not _OID.fullmatch(word):
            raise ValueError(Phrase("'{word}' is neither a known name nor a dotted OID", word=word))
        return names.get(word, word)

    def off(self, key: str) -> bool:
        """Whether it says ``false`` in place of its value."""
        return self._data.get(key) is False and self._take(key, None) is False

    def anything(self, key: str) -> Any:
        """The value as it stands, for whoever checks it; ``False`` when it is not there."""
        return self._take(key, False)

    def called(self, key: str) -> str:
        """What a person calls this setting: with the table it stands in."""
        return f"{self._name}.{key}" if self._name else key

    def refuse_unread(self) -> None:
        for key in self._data:
            if key not in self._taken:
                raise ValueError(Phrase("'{key}' is not a setting of a profile", key=self.called(key)))

    def _known(self, key: str, word: str, known: Collection[str]) -> str:
        if known and word not in known:
            raise ValueError(Phrase("'{word}' is not a value for '{key}'", word=word, key=self.called(key)))
        return word

    def _take(self, key: str, usual: Any) -> Any:
        self._taken.add(key)
        return self._data.get(key, usual)

    def _refuse(self, key: str) -> Any:
        raise ValueError(Phrase("'{key}' is missing or has an unusable value", key=self.called(key)))


def _is_number(value: object, smallest: int, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= largest
