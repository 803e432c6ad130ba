"""A TOML table whose values are checked as they are taken, and which knows what nobody took."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from dojang.errors import Phrase

_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,39})){1,40}")


class Table:
    """Every method takes one key and raises ``ValueError`` with a phrase that names it."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._taken: set[str] = set()

    def table(self, key: str) -> "Table":
        """A table inside, empty when it is not there."""
        value = self._take(key, {})
        return Table(value if isinstance(value, dict) else self._refuse(key))

    def text(self, key: str) -> str:
        value = self._take(key, None)
        return value if isinstance(value, str) and value.strip() else str(self._refuse(key))

    def switch(self, key: str, *, usual: bool = False) -> bool:
        value = self._take(key, usual)
        return value if isinstance(value, bool) else bool(self._refuse(key))

    def number(self, key: str, smallest: int, largest: int, usual: int | None = None) -> int:
        value = self._take(key, usual)
        if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
            self._refuse(key)
        return int(value)

    def words(self, key: str, known: Collection[str] = (), *, some: bool = False) -> tuple[str, ...]:
        """A list of different words, all of them ``known`` unless anything goes."""
        value = self._take(key, [])
        fits = isinstance(value, list) and all(isinstance(word, str) and word for word in value)
        if not fits or len(set(value)) != len(value) or (some and not value):
            self._refuse(key)
        for word in value:
            if known and word not in known:
                raise ValueError(Phrase("'{word}' is not a value for '{key}'", word=word, key=key))
        return tuple(value)

    def oid(self, word: str, names: Mapping[str, str]) -> str:
        """A dotted OID, by its name or as it stands."""
        if word not in names and not _OID.fullmatch(word):
            raise ValueError(Phrase("'{word}' is neither a known name nor a dotted OID", word=word))
        return names.get(word, word)

    def refuse_unread(self) -> None:
        for key in self._data:
            if key not in self._taken:
                raise ValueError(Phrase("'{key}' is not a setting of a profile", key=key))

    def _take(self, key: str, usual: Any) -> Any:
        self._taken.add(key)
        return self._data.get(key, usual)

    def _refuse(self, key: str) -> Any:
        raise ValueError(Phrase("'{key}' is missing or has an unusable value", key=key))
