"""What security cards are like at one authority, as data: ``[cards]`` in its ``authority.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dojang.errors import Phrase

_RANGES: Final = {"entries": (30, 35), "tries": (3, 5)}


@dataclass(frozen=True, slots=True)
class CardPolicy:
    """What the table says, and what holds unless it is said."""

    entries: int = 35
    tries: int = 5


def policy_from(table: Mapping[str, Any]) -> CardPolicy:
    """``ValueError`` with a phrase for a key or a number that cannot be."""
    for key, value in table.items():
        if key not in _RANGES:
            raise ValueError(Phrase("unknown setting '{key}'", key=str(key)[:64]))
        low, high = _RANGES[key]
        if type(value) is not int or not low <= value <= high:
            raise ValueError(Phrase("'{key}' must be a whole number from {low} to {high}", key=key, low=low, high=high))
    return CardPolicy(**table)
