"""Korean particles after words known only at run time: ``토큰 Hong을(를)`` becomes ``토큰 Hong을``."""

import re

_PAIRS = {
    "을(를)": ("을", "를"),
    "이(가)": ("이", "가"),
    "은(는)": ("은", "는"),
    "과(와)": ("과", "와"),
    "(으)로": ("으로", "로"),
    "(이)라는": ("이라는", "라는"),
}
_PATTERN = re.compile("(.)([\"'’”)\\]]*)(" + "|".join(re.escape(pair) for pair in _PAIRS) + ")")

# How the last letter or digit is read aloud: 0 영, 1 일, 3 삼, 6 육, 7 칠, 8 팔 end in a consonant.
_DIGITS_WITH_FINAL = "013678"
_LETTERS_WITH_FINAL = "lmnrgLMNR"
_READ_WITH_RIEUL = "178lrLR"
_RIEUL = 8


def settle_particles(text: str) -> str:
    """Choose the particle that fits the sound before it."""
    return _PATTERN.sub(lambda found: found[1] + found[2] + _particle(found[1], found[3]), text)


def _particle(before: str, pair: str) -> str:
    with_final, without = _PAIRS[pair]
    final = _final_of(before)
    if pair == "(으)로" and final == _RIEUL:
        return without
    return with_final if final else without


def _final_of(character: str) -> int:
    """The final consonant of the last syllable as Unicode numbers it: 0 for none, 8 for rieul."""
    if "가" <= character <= "힣":
        return (ord(character) - ord("가")) % 28
    if character in _READ_WITH_RIEUL:
        return _RIEUL
    return 1 if character in _DIGITS_WITH_FINAL or character in _LETTERS_WITH_FINAL else 0
