"""What an authority says about enrolment, in the table ``[enrolment]`` of its ``authority.toml``.

What each key means is in ``authority.setting_list``; ``[enrolment.profiles.NAME]`` says some of it for one profile.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from dojang.errors import Phrase
from dojang.x509.profiles.reading import Table

FourEyes = Literal["none", "people", "officers"]
FOUR_EYES: Final = ("none", "people", "officers")
MOST_DAYS: Final = 90
MOST_USES: Final = 1_000_000
_OF_PROFILE: Final = ("four-eyes", "pre-authorised")
_KEYS: Final = (
    *("tries", "source-tries", "source-window-minutes", "valid-days", "uses", "officer-anchors", "officer-crls"),
    *(*_OF_PROFILE, "profiles"),
)
_MOST_MINUTES: Final = 60 * 24 * 7


@dataclass(frozen=True, slots=True)
class ProfileRule:
    """What holds for one profile."""

    four_eyes: FourEyes
    pre_authorised: bool


@dataclass(frozen=True, slots=True)
class EnrolmentPolicy:
    """What the table says. ``is_test`` is the authority's own ``test = true``."""

    tries: int = 5
    source_tries: int = 50
    source_window: timedelta = timedelta(hours=1)
    valid_days: int = 14
    usual: ProfileRule = ProfileRule("none", True)
    by_profile: Mapping[str, ProfileRule] = field(default_factory=dict)
    officer_anchors: tuple[Path, ...] = ()
    officer_crls: tuple[Path, ...] = ()
    uses: int = 1
    is_test: bool = False

    def rule(self, profile: str) -> ProfileRule:
        return self.by_profile.get(profile, self.usual)


def policy_from(data: Mapping[str, Any], folder: Path, *, is_test: bool) -> EnrolmentPolicy:
    """The table as it was read; files are named from ``folder``. ``ValueError`` with a phrase that names the key."""
    _refuse_unknown(data, _KEYS)
    table = Table(data, "enrolment")
    usual = _rule(table, ProfileRule("none", True))
    profiles = table.table("profiles")
    names: Mapping[str, Any] = data["profiles"] if "profiles" in table else {}
    of_profiles = profiles.tables(names)
    for name in of_profiles:
        _refuse_unknown(names[name], _OF_PROFILE, f"profiles.{name}.")
    found = EnrolmentPolicy(
        tries=table.number("tries", 1, 20, 5),
        source_tries=table.number("source-tries", 1, 100_000, 50),
        source_window=timedelta(minutes=table.number("source-window-minutes", 1, _MOST_MINUTES, 60)),
        valid_days=table.number("valid-days", 1, MOST_DAYS, 14),
        usual=usual,
        by_profile=MappingProxyType({name: _rule(one, usual) for name, one in of_profiles.items()}),
        officer_anchors=tuple(folder / name for name in table.words("officer-anchors")),
        officer_crls=tuple(folder / name for name in table.words("officer-crls")),
        uses=table.number("uses", 1, MOST_USES, 1),
        is_test=is_test,
    )
    profiles.refuse_unread()
    if found.uses > 1 and not is_test:
        raise ValueError(Phrase("a code works once; 'uses' is for an authority with 'test = true'"))
    return found


def _refuse_unknown(data: Mapping[str, Any], known: tuple[str, ...], within: str = "") -> None:
    for key in data:
        if key not in known:
            raise ValueError(Phrase("unknown setting '{key}'", key=f"enrolment.{within}{key}"[:128]))


def _rule(table: Table, usual: ProfileRule) -> ProfileRule:
    """Of the table itself, or of the one of a profile, which has nothing else."""
    four_eyes = table.one_of("four-eyes", FOUR_EYES, usual.four_eyes)
    pre_authorised = table.switch("pre-authorised", usual=usual.pre_authorised)
    return ProfileRule(cast("FourEyes", four_eyes), pre_authorised)
