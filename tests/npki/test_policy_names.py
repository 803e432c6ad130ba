"""Policies by the words people use."""

import pytest

from dojang.errors import Usage
from dojang.npki.policies import policies, policy
from dojang.npki.policy_names import oids_named


@pytest.mark.parametrize("words", ["개인 범용", "개인범용", "personal general purpose", "Personal General Purpose"])
def test_a_purpose_of_persons(words: str) -> None:
    """Of every authority, for persons only, however it is spaced; not what is for tokens only."""
    found = [policy(oid) for oid in oids_named(words)]
    assert {one.holder for one in found} == {"person"}
    assert {one.purposes["ko"] for one in found} == {"범용"}
    assert {one.authority for one in found} >= {"yessign", "KICA", "SignKorea", "CrossCert", "TradeSign"}


def test_an_authoritys_own() -> None:
    """Its name before the purpose leaves out the others."""
    assert oids_named("yessign 개인 범용") == {"1.2.410.200005.1.1.1"}
    assert oids_named("YESSIGN 사업자 범용") == oids_named("yessign 법인범용") == {"1.2.410.200005.1.1.5"}
    assert oids_named("yessign 은행/보험/신용카드/민원") == {"1.2.410.200005.1.1.4"}
    assert oids_named("범용") > oids_named("개인 범용")


def test_every_policy_of_the_table_can_be_named() -> None:
    """In Korean and in English, with its authority."""
    for one in policies():
        for purpose in one.purposes.values():
            assert one.oid in oids_named(f"{one.authority} {purpose}")


def test_an_oid_stands_for_itself() -> None:
    """Known or not."""
    assert oids_named("1.2.410.200005.1.1.1") == {"1.2.410.200005.1.1.1"}
    assert oids_named("1.2.3.4") == {"1.2.3.4"}


@pytest.mark.parametrize(
    "words", ["", "범", "개인", "yessign", "1.2.", "1..2", "01.2", "1.2.x", "개인 범용 "[:-1] + "!"]
)
def test_words_that_name_nothing(words: str) -> None:
    """A slip allows nothing instead of everything."""
    with pytest.raises(Usage):
        oids_named(words)
