"""Which factors an authority wants, by profile; and what is missing once some were passed. Nothing here has a state.

The table ``[factors]`` of ``authority.toml`` goes before what the profile says:

    [factors]
    minutes = 10                      # how long a factor that was passed is good for

    [factors.profiles.personal]       # as the table of a profile
    all = ["sms", { any = ["otp", "card"] }]
    for = ["issue", "renew", "reissue"]

    [factors.profiles]
    email = false                     # none, whatever the profile says
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import Phrase
from dojang.x509.profiles.factors import FACTORS, FactorRule, Factors, rule_in
from dojang.x509.profiles.reading import Table

if TYPE_CHECKING:
    from dojang.x509.profiles import Profile

USUAL_MINUTES: Final = 10
_MOST_MINUTES: Final = 24 * 60

Choice = tuple[str, ...]
"""Factors that together are enough, in the order of ``FACTORS``."""


@dataclass(frozen=True, slots=True)
class FactorPolicy:
    """What one authority says of factors, over what its profiles say."""

    lifetime: timedelta = timedelta(minutes=USUAL_MINUTES)
    by_profile: Mapping[str, FactorRule | None] = field(default_factory=dict)

    def rule(self, profile: "Profile") -> FactorRule | None:
        """What is wanted for this profile, for some occasion at least."""
        return self.by_profile.get(profile.name, profile.factors)

    def wanted(self, profile: "Profile", occasion: str) -> Factors | None:
        """What is wanted before this; ``None`` where nothing is."""
        rule = self.rule(profile)
        return rule.wanted if rule is not None and occasion in rule.occasions else None


def policy_from(data: Mapping[str, Any]) -> FactorPolicy:
    """The table as it was read. ``ValueError`` with a phrase that names the key."""
    for key in data:
        if key not in ("minutes", "profiles"):
            raise ValueError(Phrase("unknown setting '{key}'", key=f"factors.{key}"[:128]))
    minutes = Table(data, "factors").number("minutes", 1, _MOST_MINUTES, USUAL_MINUTES)
    profiles = data.get("profiles", {})
    if not isinstance(profiles, dict):
        raise ValueError(Phrase("'{key}' must be a table", key="factors.profiles"))
    rules = {name: rule_in(said, f"factors.profiles.{name}"[:96]) for name, said in profiles.items()}
    return FactorPolicy(timedelta(minutes=minutes), rules)


def is_satisfied(wanted: Factors, passed: Collection[str]) -> bool:
    """Whether what was passed is enough."""
    found = (part in passed if isinstance(part, str) else is_satisfied(part, passed) for part in wanted.parts)
    return all(found) if wanted.how == "all" else any(found)


def choices(wanted: Factors, passed: Collection[str] = ()) -> tuple[Choice, ...]:
    """The ways to go on: each a smallest set of factors that is enough with those that were passed.

    Nothing is missing where the only way is the empty one. The shortest come first.
    """
    rest = [factor for factor in FACTORS if factor in set(wanted.named()) and factor not in passed]
    found: list[Choice] = []
    for size in range(len(rest) + 1):
        for more in combinations(rest, size):
            if any(set(one) <= set(more) for one in found):
                continue
            if is_satisfied(wanted, {*passed, *more}):
                found.append(more)
    return tuple(found)
