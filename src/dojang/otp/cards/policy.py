"""What security cards are like at one authority, as data."""

from dataclasses import dataclass
from typing import Final

MOST_ENTRIES: Final = 35
FEWEST_ENTRIES: Final = 30
MOST_TRIES: Final = 5
FEWEST_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class CardPolicy:
    """How many codes a card has, and with which wrong answer it is locked. ``ValueError`` for what is not usual."""

    entries: int = 35
    tries: int = 5

    def __post_init__(self) -> None:
        if not FEWEST_ENTRIES <= self.entries <= MOST_ENTRIES:
            raise ValueError(f"a security card has {FEWEST_ENTRIES} to {MOST_ENTRIES} codes")
        if not FEWEST_TRIES <= self.tries <= MOST_TRIES:
            raise ValueError(f"a security card is locked after {FEWEST_TRIES} to {MOST_TRIES} wrong answers")
