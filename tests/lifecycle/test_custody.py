"""Custodians: a wrapping key that some of them bring to another HSM, and what they are told when they cannot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise, permutations
from pathlib import Path

import pytest

from dojang.errors import AlreadyExists, FileUnwritable, NotPermitted, SharesUnusable, UnsupportedOperation
from dojang.ledger import Ledger
from dojang.lifecycle import shares
from dojang.lifecycle.custody import JoinOrder, SplitOrder, join, plan_join, plan_split, split
from dojang.lifecycle.workplace import Workplace
from dojang.locations.registry import open_location
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.secret import Secret


@dataclass
class Vault:
    place: Workplace
    first: str
    second: str
    database: Path

    def split(self, count: int = 5, threshold: int = 3, label: str = "backup") -> tuple[str, list[Secret]]:
        handed: list[Secret] = []
        order = SplitOrder(self.first, label, count, threshold)
        done = split(order, self.place, lambda share, check: handed.append(share.words))
        return done.kek.check, handed

    def keys_at(self, address: str) -> list[str]:
        with self.place.open_location(address) as location:
            return [one.label for one in location._token.private_objects() if one.type == "secret-key"]


@pytest.fixture
def vault(make_token: Callable, softhsm_module: str, tmp_path: Path) -> Iterator[Vault]:
    tokens = [make_token(), make_token()]
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        place = Workplace(
            ledger=ledger,
            open_location=lambda text: open_location(text, search=search, pins=Secret(tokens[0].pin), guard=guard),
            open_authority=lambda name: pytest.fail("nobody is asked"),
        )
        yield Vault(place, tokens[0].uri, tokens[1].uri, tmp_path / "ledger.sqlite")


def test_any_three_of_five_bring_the_key_to_another_hsm(vault: Vault) -> None:
    """It is the same key there, by its check value, and the label may be another."""
    check, handed = vault.split()
    assert len(handed) == 5
    done = join(JoinOrder(vault.second, "from custodians", check), vault.place, handed[1:4])
    assert (done.kek.check, done.kek.label, done.already) == (check, "from custodians", False)
    again = join(JoinOrder(vault.second, "from custodians"), vault.place, [handed[0], handed[4], handed[2]])
    assert again.already
    assert vault.keys_at(vault.second) == ["from custodians"]


def test_the_key_does_not_leave_either_hsm(vault: Vault) -> None:
    """Both keep it sensitive and not extractable, for wrapping alone."""
    check, handed = vault.split()
    join(JoinOrder(vault.second, "backup"), vault.place, handed[:3])
    for address in (vault.first, vault.second):
        with vault.place.open_location(address) as location:
            (kek,) = [one for one in location._token.private_objects() if one.type == "secret-key"]
            assert (kek.attributes["sensitive"], kek.attributes["extractable"]) == (True, False)
            assert location.wrapping_key("backup").check == check


def test_every_set_of_enough_shares_makes_the_key_and_no_smaller_one_does() -> None:
    """All combinations of three of four, and of two."""
    value = bytes(range(32))
    words = [one.words for one in shares.split_value(value, 4, 3)]
    assert all(shares.join_value(some) == value for some in permutations(words, 3))
    for some in combinations(words, 2):
        with pytest.raises(SharesUnusable, match="2 of 3"):
            shares.join_value(some)


def mistyped(words: Secret) -> Secret:
    first, *rest = words.reveal().decode().split()
    return Secret(" ".join(["academic" if first != "academic" else "acid", *rest]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda ours, theirs: [], "none was given"),
        (lambda ours, theirs: ours[:2], "2 of 3 are there"),
        (lambda ours, theirs: [ours[0], mistyped(ours[1]), ours[2]], "number 2 of those given is mistyped"),
        (lambda ours, theirs: [ours[0], ours[1], Secret("no words of the list at all")], "number 3"),
        (lambda ours, theirs: [ours[0], ours[1], Secret(b"\xff\xfe")], "number 3"),
        (lambda ours, theirs: [ours[0], ours[1], theirs[2]], "different keys"),
        (lambda ours, theirs: [ours[0], ours[1], ours[0]], "number 3 of those given is the same as number 1"),
    ],
)
def test_what_is_wrong_with_shares_is_said_exactly(vault: Vault, wrong: Callable, said: str) -> None:
    """Too few, mistyped, mixed, given twice: nothing reaches the HSM, and no word of a share is in the error."""
    _check, ours = vault.split()
    _check, theirs = vault.split(label="other")
    with pytest.raises(SharesUnusable, match=said) as caught:
        join(JoinOrder(vault.second, "backup"), vault.place, wrong(ours, theirs))
    told = f"{caught.value} {caught.value.advice()} {caught.value.__cause__}"
    words = [one.reveal().decode().split() for one in (*ours, *theirs)]
    assert not any(f"{one} {other}" in told for share in words for one, other in pairwise(share))
    assert vault.keys_at(vault.second) == []


def test_shares_of_another_key_are_told_by_the_check_value(vault: Vault) -> None:
    """Whoever knows which key it must be gets no other one into the HSM."""
    _check, handed = vault.split()
    with pytest.raises(SharesUnusable, match="check value"):
        join(JoinOrder(vault.second, "backup", "00000000"), vault.place, handed[:3])
    assert vault.keys_at(vault.second) == []


@pytest.mark.parametrize(("count", "threshold"), [(5, 1), (1, 1), (3, 4), (17, 3), (0, 0)])
def test_numbers_that_protect_nothing_are_refused(vault: Vault, count: int, threshold: int) -> None:
    """Before any key is made."""
    with pytest.raises(NotPermitted):
        vault.split(count, threshold)
    assert vault.keys_at(vault.first) == []


def test_a_failure_to_hand_out_takes_the_key_back(vault: Vault) -> None:
    """A wrapping key of which a share is missing is none."""

    def hand_out(share: shares.Share, check: str) -> None:
        if share.number == 3:
            raise FileUnwritable(path="share", problem="no room")

    with pytest.raises(FileUnwritable):
        split(SplitOrder(vault.first, "backup", 5, 3), vault.place, hand_out)
    assert vault.keys_at(vault.first) == []
    assert vault.place.ledger.incomplete() == []


def test_a_label_in_use_is_refused(vault: Vault) -> None:
    """Two wrapping keys of one name could not be told apart."""
    _check, handed = vault.split()
    with pytest.raises(AlreadyExists):
        vault.split()
    vault.split(label="other")
    with pytest.raises(AlreadyExists):
        join(JoinOrder(vault.first, "other"), vault.place, handed[:3])
    assert sorted(vault.keys_at(vault.first)) == ["backup", "other"]


def test_the_ledger_knows_who_when_and_which_and_no_share(vault: Vault) -> None:
    """Check value, numbers and the user are there; not a word of a share is in the file."""
    check, handed = vault.split()
    join(JoinOrder(vault.second, "backup"), vault.place, handed[:3])
    made, joined = [event for event in vault.place.ledger.history() if event.event.startswith("kek-")]
    assert (made.facts["check"], made.facts["shares"], made.facts["threshold"]) == (check, 5, 3)
    assert made.facts["by"]
    assert (joined.facts["check"], joined.facts["shares"]) == (check, 3)
    files = b"".join(path.read_bytes() for path in vault.database.parent.glob("ledger.sqlite*") if path.is_file())
    assert not any(" ".join(one.reveal().decode().split()[4:6]).encode() in files for one in handed)


def test_a_plan_makes_nothing(vault: Vault, tmp_path: Path) -> None:
    """Steps are named after the refusals that need no share; a folder keeps no wrapping key."""
    order = SplitOrder(vault.first, "backup", 5, 3)
    assert [step.name for step in plan_split(order, vault.place)] == ["make-kek", "hand-out"]
    assert [step.name for step in plan_join(JoinOrder(vault.first, "backup"), vault.place)] == ["join"]
    assert vault.keys_at(vault.first) == []
    with pytest.raises(UnsupportedOperation):
        plan_join(JoinOrder(f"npki:{tmp_path}/NPKI", "backup"), vault.place)
