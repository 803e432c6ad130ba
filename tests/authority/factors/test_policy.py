"""Which factors are wanted, and what is missing once some were passed."""

from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.authority.factors.policy import FactorPolicy, choices, is_satisfied, policy_from
from dojang.authority.settings import load
from dojang.cmp.factors import in_words
from dojang.errors import InvalidSetting
from dojang.x509.profiles import FACTORS, FactorRule, Factors, profile, profiles
from dojang.x509.profiles.factors import rule_in

BANK = Factors("all", ("sms", Factors("any", ("otp", "card"))))
GOOD = """
like = "personal"
[factors]
all = ["sms", { any = ["otp", "card"] }]
"""
BAD = {
    "an unknown factor": 'all = ["sms", "fax"]',
    "an unknown word": 'all = ["sms"]\nsome = 2',
    "both": 'all = ["sms"]\nany = ["otp"]',
    "neither": 'for = ["issue"]',
    "nothing": "all = []",
    "twice": 'all = ["sms", "sms"]',
    "an unknown occasion": 'all = ["sms"]\nfor = ["revoke"]',
    "no occasion": 'all = ["sms"]\nfor = []',
    "a number": "all = [1]",
    "too deep": "all = [{any = [{all = [{any = [{all = ['sms']}]}]}]}]",
}


def of(parts: Any) -> Any:
    """All or any of some parts."""
    hows = st.sampled_from(("all", "any"))
    return st.builds(Factors, hows, st.lists(parts, min_size=1, max_size=4, unique=True).map(tuple))


leaves = st.sampled_from(FACTORS)
trees = of(leaves | of(leaves | of(leaves)))
some_factors = st.sets(leaves)


def sets_of(factors: Any) -> Any:
    found = sorted(factors)
    return map(set, chain.from_iterable(combinations(found, size) for size in range(len(found) + 1)))


@given(trees, some_factors)
def test_a_choice_is_enough_and_no_part_of_it_is(wanted: Factors, passed: set[str]) -> None:
    """What is told to be missing is what has to be passed: no factor more, and none less."""
    for way in choices(wanted, passed):
        assert is_satisfied(wanted, passed | set(way))
        assert not passed & set(way)
        for less in sets_of(way):
            assert less == set(way) or not is_satisfied(wanted, passed | less)


@given(trees, some_factors, some_factors)
def test_every_way_to_be_enough_holds_a_choice(wanted: Factors, passed: set[str], more: set[str]) -> None:
    """Nobody who passes what is enough was told of no such way; and whoever has enough is asked for nothing."""
    is_enough = is_satisfied(wanted, passed | more)
    assert is_enough == any(set(way) <= more | passed for way in choices(wanted, passed))
    assert (choices(wanted, passed) == ((),)) == is_satisfied(wanted, passed)


@given(trees, some_factors, some_factors)
def test_a_factor_more_never_takes_anything_back(wanted: Factors, passed: set[str], more: set[str]) -> None:
    """What was enough stays enough."""
    assert not is_satisfied(wanted, passed) or is_satisfied(wanted, passed | more)


@given(trees)
def test_all_of_the_factors_named_are_enough_and_none_are_not(wanted: Factors) -> None:
    """A rule can always be kept, and always wants something."""
    assert is_satisfied(wanted, set(wanted.named()))
    assert not is_satisfied(wanted, set())


@given(trees, st.lists(st.sampled_from(("issue", "renew", "reissue")), min_size=1, unique=True))
def test_a_rule_reads_as_it_is_written(wanted: Factors, occasions: list[str]) -> None:
    """What is shown as JSON is what a file may say."""
    rule = FactorRule(wanted, tuple(occasions))
    assert rule_in(rule.to_data(), "factors") == rule


def test_a_message_and_one_of_two_devices_are_told_as_two_ways() -> None:
    """As banks want it: a text message, and a one-time password or a security card."""
    assert choices(BANK) == (("otp", "sms"), ("card", "sms"))
    assert choices(BANK, {"sms"}) == (("otp",), ("card",))
    assert choices(BANK, {"sms", "card"}) == ((),)
    assert in_words(choices(BANK)) == "otp + sms | card + sms"


def test_a_profile_says_what_it_wants(tmp_path: Path) -> None:
    """From its file; for issuing and reissuing unless said. The profiles that come along want nothing."""
    (tmp_path / "bank.toml").write_text(GOOD)
    found = profile("bank", tmp_path).factors
    assert found == FactorRule(BANK, ("issue", "reissue"))
    assert all(one.factors is None for one in profiles())


def test_a_profile_replaces_what_the_one_it_is_like_wants(tmp_path: Path) -> None:
    """Whole, so that 'any' and 'all' never stand side by side; false takes it away."""
    (tmp_path / "bank.toml").write_text(GOOD)
    (tmp_path / "card.toml").write_text('like = "bank"\n[factors]\nany = ["card"]\nfor = ["renew"]\n')
    (tmp_path / "none.toml").write_text('like = "bank"\nfactors = false\n')
    assert profile("card", tmp_path).factors == FactorRule(Factors("any", ("card",)), ("renew",))
    assert profile("none", tmp_path).factors is None


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_no_rule_is_refused(tmp_path: Path, text: str) -> None:
    """In a profile and in the authority's own file alike, with the name of what is wrong."""
    (tmp_path / "bank.toml").write_text(f'like = "personal"\n[factors]\n{text}\n')
    with pytest.raises(InvalidSetting, match="factors"):
        profile("bank", tmp_path)
    (tmp_path / "authority.toml").write_text(f"[factors.profiles.personal]\n{text}\n")
    with pytest.raises(InvalidSetting, match="factors"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["minutes = 0", "minutes = 9999", "hours = 1", "profiles = 3", "profiles.x = true"])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    """Numbers out of bounds, and words that nobody knows."""
    (tmp_path / "authority.toml").write_text(f"[factors]\n{text}\n")
    with pytest.raises(InvalidSetting, match="factors"):
        load(tmp_path)


@pytest.mark.parametrize("rule", ["false", '{ any = ["otp"] }'])
def test_a_rule_for_no_profile_is_refused(tmp_path: Path, rule: str) -> None:
    """A name that was mistyped would want nothing of anybody."""
    (tmp_path / "authority.toml").write_text(f"[factors.profiles]\npersonnal = {rule}\n")
    with pytest.raises(InvalidSetting, match="'personnal', which is no profile"):
        load(tmp_path)


def test_factors_are_for_subscribers_only(tmp_path: Path) -> None:
    """The authority's own keys are made by who has its token."""
    (tmp_path / "ocsp.toml").write_text('like = "ocsp"\n[factors]\nall = ["otp"]\n')
    with pytest.raises(InvalidSetting, match="subscribers"):
        profile("ocsp", tmp_path)


def test_the_authority_goes_before_the_profile(tmp_path: Path) -> None:
    """It may want more, other things, or nothing; what it does not mention is the profile's own."""
    (tmp_path / "authority.toml").write_text(
        '[factors]\nminutes = 3\n[factors.profiles]\nbank = false\n[factors.profiles.personal]\nany = ["ars"]\n'
    )
    own = tmp_path / "profiles"
    own.mkdir()
    (own / "bank.toml").write_text(GOOD)
    (own / "other.toml").write_text(GOOD)
    policy = load(tmp_path).factors()
    assert policy.lifetime.total_seconds() == 180
    assert policy.wanted(profile("bank", own), "issue") is None
    assert policy.wanted(profile("personal", own), "issue") == Factors("any", ("ars",))
    assert policy.wanted(profile("personal", own), "renew") is None
    assert policy.wanted(profile("other", own), "reissue") == BANK


def test_without_a_word_nothing_is_wanted() -> None:
    """As it was before there were factors."""
    assert policy_from({}) == FactorPolicy()
    assert FactorPolicy().wanted(profile("personal"), "issue") is None
