"""What security cards are like at one authority, as data.

[cards]             # in its ``authority.toml``
entries = 35        # codes on a card, 30 to 35
tries = 5           # a card is locked with this wrong answer, 3 to 5; an officer unlocks it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dojang.errors import Phrase

_RANGES: Final = {"entries": (30, 35), "tries": (3, 5)}


@dataclass(frozen=True, slots=True)
class CardPolicy:
    """See above."""

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
