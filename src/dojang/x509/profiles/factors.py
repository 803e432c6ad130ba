"""Which factors a subscriber passes before a certificate is issued: the data of a profile, and of an authority.

    [factors]
    all = ["sms", { any = ["otp", "card"] }]    # a text message, and either a one-time password or a security card
    for = ["issue", "reissue"]                  # what they are asked for: issue, renew, reissue

``all`` and ``any`` are lists of factors and of further tables with ``all`` or ``any``. ``factors = false`` wants none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from dojang.errors import Phrase

FACTORS: Final = ("otp", "card", "sms", "mail", "ars")
OCCASIONS: Final = ("issue", "renew", "reissue")
USUAL_OCCASIONS: Final = ("issue", "reissue")
_DEEPEST: Final = 4
_WIDEST: Final = 8

How = Literal["all", "any"]


@dataclass(frozen=True, slots=True)
class Factors:
    """All of the parts, or any of them; a part is a factor or is made of parts itself."""

    how: How
    parts: "tuple[str | Factors, ...]"

    def named(self) -> Iterator[str]:
        """Every factor that is named somewhere in it."""
        for part in self.parts:
            yield from (part,) if isinstance(part, str) else part.named()

    def to_data(self) -> dict[str, Any]:
        """As TOML and JSON have it."""
        return {self.how: [part if isinstance(part, str) else part.to_data() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class FactorRule:
    """What has to be passed, and before what."""

    wanted: Factors
    occasions: tuple[str, ...] = USUAL_OCCASIONS

    def to_data(self) -> dict[str, Any]:
        return {**self.wanted.to_data(), "for": list(self.occasions)}


def rule_in(data: object, name: str) -> FactorRule | None:
    """The rule of a table called ``name``; ``None`` for ``false``. ``ValueError`` with a phrase that names the key."""
    if data is False:
        return None
    if not isinstance(data, Mapping):
        raise _unusable(name)
    occasions = data.get("for", list(USUAL_OCCASIONS))
    if not isinstance(occasions, list) or not occasions or len(set(map(str, occasions))) != len(occasions):
        raise _unusable(f"{name}.for")
    _refuse_others(occasions, OCCASIONS, f"{name}.for")
    wanted = _factors_in({key: value for key, value in data.items() if key != "for"}, name, _DEEPEST)
    return FactorRule(wanted, tuple(occasions))


def _factors_in(data: Mapping[str, Any], name: str, deep: int) -> Factors:
    for key in data:
        if key not in ("all", "any"):
            raise ValueError(Phrase("'{key}' is not a setting of factors", key=f"{name}.{key}"[:128]))
    if len(data) != 1:
        raise ValueError(Phrase("'{key}' has 'all' or 'any', one of them", key=name))
    ((how, parts),) = data.items()
    key = f"{name}.{how}"
    if not isinstance(parts, list) or not 1 <= len(parts) <= _WIDEST or deep == 0:
        raise _unusable(key)
    found = tuple(_part_in(part, key, deep) for part in parts)
    if len(set(found)) != len(found):
        raise ValueError(Phrase("'{key}' names something twice", key=key))
    return Factors(cast("How", how), found)


def _part_in(part: object, key: str, deep: int) -> "str | Factors":
    if isinstance(part, Mapping):
        return _factors_in(part, key, deep - 1)
    _refuse_others([part], FACTORS, key)
    return cast("str", part)


def _refuse_others(words: list[Any], known: tuple[str, ...], key: str) -> None:
    for word in words:
        if not isinstance(word, str):
            raise _unusable(key)
        if word not in known:
            raise ValueError(Phrase("'{word}' is not a value for '{key}'", word=word[:64], key=key))


def _unusable(key: str) -> ValueError:
    return ValueError(Phrase("'{key}' is missing or has an unusable value", key=key))
