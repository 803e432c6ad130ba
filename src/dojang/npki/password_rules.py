"""What a new password must be, by the institution it is for, and how strong it is whatever they ask."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import log2
from pathlib import Path
from typing import Final

from dojang.errors import Phrase
from dojang.npki.passwords import text_of
from dojang.secret import Secret

DEFAULT: Final = "joint"

_KINDS: Final[dict[str, Callable[[str], bool]]] = {
    "letter": str.isalpha,
    "digit": str.isdigit,
    "special": lambda character: not character.isalnum() and not character.isspace(),
}


@dataclass(frozen=True, slots=True)
class PasswordRule:
    """One institution's rule; the fields are those of ``password_rules.toml``."""

    name: str
    titles: Mapping[str, str]
    least: int
    most: int
    kinds: tuple[str, ...]
    only: str | None
    forbidden: str
    source: str
    doubt: str | None
    remark: str | None

    def problems(self, password: Secret) -> list[Phrase]:
        """Everything that is wrong with a password, for a person to read; none of it repeats the password."""
        text = text_of(password)
        if text is None:
            return [Phrase("it is no text")]
        found = []
        if not self.least <= len(text) <= self.most:
            found.append(Phrase("it has to have {least} to {most} characters", least=self.least, most=self.most))
        found += [_MISSING[kind] for kind in self.kinds if not any(map(_KINDS[kind], text))]
        if self.only and not all(map(_KINDS[self.only], text)):
            found.append(Phrase("it may have digits only"))
        if any(character in self.forbidden for character in text):
            found.append(Phrase("these characters may not occur: {characters}", characters=" ".join(self.forbidden)))
        if any(unicodedata.category(character) == "Cc" for character in text):
            found.append(Phrase("it holds a character that cannot be typed"))
        return found


_MISSING: Final = {
    "letter": Phrase("a letter is missing"),
    "digit": Phrase("a digit is missing"),
    "special": Phrase("a special character is missing"),
}


def password_rules() -> dict[str, PasswordRule]:
    """Every rule by its name."""
    return dict(_rules())


@cache
def _rules() -> dict[str, PasswordRule]:
    import tomllib

    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {
        name: PasswordRule(
            name=name,
            titles=entry["title"],
            kinds=tuple(entry["kinds"]),
            only=entry.get("only"),
            forbidden=entry.get("forbidden", ""),
            doubt=entry.get("doubt"),
            remark=entry.get("remark"),
            **{field: entry[field] for field in ("least", "most", "source")},
        )
        for name, entry in table.items()
    }


@dataclass(frozen=True, slots=True)
class Strength:
    """How hard a password is to guess: about ``bits``, and a ``level`` from 0 to 4 with a word for it."""

    bits: int
    level: int
    word: Phrase


_LEVELS: Final = (
    (20, Phrase("very weak")),
    (35, Phrase("weak")),
    (50, Phrase("fair")),
    (70, Phrase("good")),
)
# How many different characters somebody chooses from who uses one of a kind.
_POOLS: Final = ((str.islower, 26), (str.isupper, 26), (str.isdigit, 10), (_KINDS["special"], 33))
_FIRST_JAMO: Final = "\u1100"
_HANGUL_POOL: Final = 2350  # the syllables of KS X 1001
_ROWS: Final = ("1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./")
# Begun with by everybody; also Korean words as they come out of a keyboard set to English.
_KNOWN: Final = re.compile(
    "password|passwd|letmein|welcome|iloveyou|monkey|dragon|admin|qwer1234|1q2w3e4r|1q2w3e|q1w2e3|abc123|asdf|qwer|"
    "dkssud|tkfkd|gksrnr|qlalfqjsgh|alfksek|rlaehs|zxcv|비밀번호|사랑해|안녕|대한민국|인증서"
)
_DATE: Final = re.compile(r"(?:19|20)?\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_BITS_OF_WORD, _BITS_OF_DATE, _BITS_OF_NEXT = 6, 12, 1


def strength_of(password: Secret) -> Strength:
    """An estimate that counts known words, dates, runs and repetitions for the little they add."""
    text = text_of(password)
    bits = 8.0 * len(set(password.reveal())) if text is None else _bits(text)
    for level, (limit, word) in enumerate(_LEVELS):
        if bits < limit:
            return Strength(int(bits), level, word)
    return Strength(int(bits), len(_LEVELS), Phrase("strong"))


def _bits(text: str) -> float:
    lowered = text.lower()
    rest, words = _KNOWN.subn("\0", lowered)
    rest, dates = _DATE.subn("\0", rest)
    # Capitals count for the characters that are left, wherever they stood.
    pool = sum(size for belongs, size in _POOLS if any(map(belongs, text)))
    each = log2(max(pool, 2))
    bits = float(_BITS_OF_WORD * words + _BITS_OF_DATE * dates)
    for before, character in pairwise(f"\0{rest}"):
        if character == "\0":
            continue
        new = log2(_HANGUL_POOL) if character > _FIRST_JAMO else each
        bits += _BITS_OF_NEXT if _follows(before, character) else new
    return bits


def _follows(before: str, character: str) -> bool:
    """The same again, the next in the alphabet, or the neighbour on the keyboard, in either direction."""
    if abs(ord(character) - ord(before)) <= 1:
        return True
    return any(before + character in row or character + before in row for row in _ROWS)
