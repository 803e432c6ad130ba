"""How far codes may be off and how often they may be wrong, as data: ``[otp]`` in an authority's ``authority.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Final

from dojang.errors import Phrase

_RANGES: Final = {
    "tries": (1, 100),
    "totp_back": (0, 10),
    "totp_ahead": (0, 10),
    "hotp_ahead": (0, 100),
    "totp_resync": (1, 500),
    "hotp_resync": (1, 1000),
    "challenge_minutes": (1, 60),
}


@dataclass(frozen=True, slots=True)
class DevicePolicy:
    """What the table says, and what holds unless it is said."""

    tries: int = 10
    totp_back: int = 1
    totp_ahead: int = 1
    hotp_ahead: int = 10
    totp_resync: int = 60
    hotp_resync: int = 100
    challenge_minutes: int = 5

    @property
    def challenge_lifetime(self) -> timedelta:
        return timedelta(minutes=self.challenge_minutes)


def policy_from(table: Mapping[str, Any]) -> DevicePolicy:
    """``ValueError`` with a phrase for a key or a number that cannot be."""
    known = {one.name.replace("_", "-"): one.name for one in fields(DevicePolicy)}
    values: dict[str, int] = {}
    for key, value in table.items():
        if key not in known:
            raise ValueError(Phrase("unknown setting '{key}'", key=str(key)[:64]))
        low, high = _RANGES[known[key]]
        if type(value) is not int or not low <= value <= high:
            raise ValueError(Phrase("'{key}' must be a whole number from {low} to {high}", key=key, low=low, high=high))
        values[known[key]] = value
    return DevicePolicy(**values)
