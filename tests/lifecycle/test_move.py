"""Move: nothing is removed before the copy has signed, nothing is lost, and a second run has nothing to do."""

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.lifecycle.test_copy import Desk, desk, self_signed

from dojang.errors import (
    AlreadyExists,
    CertificateUnusable,
    FileUnreadable,
    NotFound,
    NotPermitted,
    OperationUnfinished,
)
from dojang.lifecycle import transfer
from dojang.lifecycle.copy import CopyOrder, copy
from dojang.lifecycle.give_up import give_up
from dojang.lifecycle.move import move
from dojang.lifecycle.recover import recover
from dojang.locations.base import Companions, Location
from dojang.locations.registry import open_location
from dojang.npki.pkcs8 import Pkcs8, new_random_number

pytestmark = pytest.mark.usefixtures("quick_passwords")

__all__ = ["desk"]  # a fixture


def live(desk: Desk, address: str) -> list[str]:
    with desk.place.open_location(address) as location:
        return [one.label for one in location.credentials() if one.live]


def test_a_move_is_told_in_the_ledger(desk: Desk) -> None:
    """Where it went from the one place, where it came from in the other."""
    address = desk.put(self_signed())
    done = move(CopyOrder(address, desk.there), desk.place)
    away, here = desk.place.ledger.history()
    assert (away.event, away.address, away.facts["to"]) == (
        "moved-away",
        address,
        done.brought.credential.stored.address,
    )
    assert (here.event, here.address, here.facts["origin"]) == ("moved", away.facts["to"], address)
    assert (live(desk, desk.here), live(desk, desk.there)) == ([], ["Hong"])


def test_a_move_to_where_it_is_removes_nothing(desk: Desk) -> None:
    """By the same address, through a link, or as the very folder seen in another way: there is nothing to do."""
    address = desk.put(self_signed())
    link = desk.folder / "link"
    link.symlink_to(desk.folder / "here")
    for to in (desk.here, f"npki:{link}/NPKI", f"npki:{desk.folder}/there/../here/NPKI"):
        done = move(CopyOrder(address, to), desk.place)
        assert done.brought.already
        assert done.original is None
        assert live(desk, desk.here) == ["Hong"]


def test_a_move_to_one_file_under_two_names_removes_nothing(desk: Desk) -> None:
    """A hard link is the same file by another name."""
    box = desk.folder / "here" / "hong.p12"
    copy(CopyOrder(desk.put(self_signed()), f"pkcs12:{box}"), desk.place)
    os.link(box, desk.folder / "other.p12")
    done = move(CopyOrder(f"pkcs12:{box}", f"pkcs12:{desk.folder}/other.p12"), desk.place)
    assert done.original is None
    assert live(desk, f"pkcs12:{box}") == ["Hong"]


def test_a_move_over_a_copy_that_is_there_removes_the_original(desk: Desk) -> None:
    """The copy proves itself first."""
    address = desk.put(self_signed())
    copy(CopyOrder(address, desk.there), desk.place)
    done = move(CopyOrder(address, desk.there), desk.place)
    assert done.brought.already
    assert (live(desk, desk.here), live(desk, desk.there)) == ([], ["Hong"])
    assert recover(desk.place) == []


def test_a_copy_that_lacks_something_does_not_count(desk: Desk) -> None:
    """R is as secret as the key, and as easily lost: the original stays."""
    key = ec.generate_private_key(ec.SECP256R1())
    whole = self_signed(key=key)
    address = desk.put(whole)
    bare = replace(whole, key=Pkcs8.from_key(key))
    desk.put(bare, desk.there)
    with pytest.raises(NotPermitted):
        move(CopyOrder(address, desk.there), desk.place)
    assert live(desk, desk.here) == ["Hong"]
    assert copy(CopyOrder(address, desk.there), desk.place).brought.left_out == {"r"}


def test_what_cannot_go_along_keeps_the_original(desk: Desk) -> None:
    """A PEM file keeps no km pair: copied, it is left out; moved, it would be lost."""
    km_key = Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()), new_random_number())
    address = desk.put(replace(self_signed(), companions=Companions(self_signed("km").certificate_der, km_key)))
    to = f"pem:{desk.folder}/hong.pem"
    with pytest.raises(NotPermitted) as refused:
        move(CopyOrder(address, to), desk.place)
    assert "km" in refused.value.advice()
    assert not (desk.folder / "hong.pem").exists()
    assert copy(CopyOrder(address, to), desk.place).brought.left_out == {"km"}
    assert live(desk, desk.here) == ["Hong"]


def test_another_certificate_for_the_key_keeps_the_original(desk: Desk) -> None:
    """A renewal that kept the key leaves a retired certificate: it would go with the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    with desk.place.open_location(desk.here) as location:
        address = desk.put(self_signed(key=key))
        old = location.find(address)
        new = self_signed(key=key, begins=0)
        location.install(key_id=old.key_id, label="Hong", certificate_der=new.certificate_der, replaces=old.key_id)
        location.switch(old_key_id=old.key_id, new_key_id=old.key_id)
    with pytest.raises(NotPermitted):
        move(CopyOrder(address, desk.there), desk.place)
    assert live(desk, desk.here) == ["Hong"]
    assert live(desk, desk.there) == []


def test_a_copy_that_does_not_sign_keeps_the_original(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second proof, after the copy was opened once more, is the one that counts."""
    from dojang.x509 import challenge

    address, honest, proofs = desk.put(self_signed()), challenge.prove_possession, []

    def prove(key, certificate_der: bytes) -> None:
        proofs.append(certificate_der)
        if len(proofs) == 3:  # the original, the copy, the copy opened once more
            raise CertificateUnusable(subject="CN=Hong", problem="the private key does not belong to it")
        honest(key, certificate_der)

    monkeypatch.setattr(challenge, "prove_possession", prove)
    with pytest.raises(CertificateUnusable):
        move(CopyOrder(address, desk.there), desk.place)
    assert live(desk, desk.here) == ["Hong"]
    monkeypatch.undo()
    assert [one.outcome for one in recover(desk.place)] == ["finished"]
    assert (live(desk, desk.here), live(desk, desk.there)) == ([], ["Hong"])


def cut_short(desk: Desk, monkeypatch: pytest.MonkeyPatch, to: str | None = None) -> str:
    """A move whose process ended after the copy was proven and before anything was removed."""
    from dojang.lifecycle import move as module

    address = desk.put(self_signed())

    def ends(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "finish_move", ends)
    with pytest.raises(KeyboardInterrupt):
        move(CopyOrder(address, to or desk.there), desk.place)
    monkeypatch.undo()
    return address


def test_a_copy_that_went_away_meanwhile_keeps_the_original(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery looks for the copy before it removes anything; what waits can be given up."""
    address = cut_short(desk, monkeypatch)
    with desk.place.open_location(desk.there) as location:
        location.delete(next(one.key_id for one in location.credentials()))
    (left,) = recover(desk.place)
    assert left.outcome == "left"
    assert isinstance(left.error, NotFound)
    assert live(desk, desk.here) == ["Hong"]
    give_up(desk.place, left.record.operation_id)
    assert move(CopyOrder(address, desk.there), desk.place).original is not None


def test_an_original_whose_disk_is_away_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there is not taken for one that has been emptied."""
    cut_short(desk, monkeypatch)
    here, away = desk.folder / "here", desk.folder / "away"
    here.rename(away)
    (left,) = recover(desk.place)
    assert (left.outcome, type(left.error)) == ("left", FileUnreadable)
    away.rename(here)
    assert [one.outcome for one in recover(desk.place)] == ["finished"]
    assert live(desk, desk.here) == []


def test_the_same_command_finishes_what_was_cut_short(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """By address, by name, or by the place alone; and whichever of the two places is looked at first."""
    address = cut_short(desk, monkeypatch)
    done = move(CopyOrder(f"{desk.here}?cn=Hong", desk.there), desk.place)
    assert done.brought.already
    assert (live(desk, desk.here), live(desk, desk.there)) == ([], ["Hong"])
    assert move(CopyOrder(address, desk.there), desk.place).brought.already
    with pytest.raises(NotFound):
        move(CopyOrder(f"{desk.here}?cn=Kim", desk.there), desk.place)


def test_a_name_that_is_taken_keeps_both(desk: Desk) -> None:
    address = desk.put(self_signed())
    desk.put(self_signed(), desk.there)
    before = desk.files()
    with pytest.raises(AlreadyExists):
        move(CopyOrder(address, desk.there), desk.place)
    assert desk.files() == before


def test_the_last_one_takes_its_file_along(desk: Desk) -> None:
    """A file that holds nothing any more is not left behind; one that holds others stays."""
    box = Path(desk.folder / "two.p12")
    for name in ("Hong", "Kim"):
        copy(CopyOrder(desk.put(self_signed(name)), f"pkcs12:{box}"), desk.place)
    move(CopyOrder(f"pkcs12:{box}?cn=Hong", desk.there), desk.place)
    assert live(desk, f"pkcs12:{box}") == ["Kim"]
    move(CopyOrder(f"pkcs12:{box}", desk.there), desk.place)
    assert not box.exists()


def test_a_move_that_was_cut_short_is_finished_only_where_both_places_are_meant(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The PIN or password of another command is never tried on the place of a copy that it does not name."""
    address, other = cut_short(desk, monkeypatch), desk.put(self_signed("Kim"))
    opened: list[str] = []

    def noting(to: str) -> AbstractContextManager[Location]:
        opened.append(to)
        return open_location(to, passwords=desk.password)

    elsewhere = replace(desk.place, open_location=noting)
    move(CopyOrder(other, f"npki:{desk.folder}/elsewhere/NPKI"), elsewhere)
    assert not [one for one in opened if one.startswith(desk.there)]
    assert live(desk, desk.here) == ["Hong"]
    move(CopyOrder(address, desk.there), desk.place)
    assert (live(desk, desk.here), live(desk, desk.there)) == ([], ["Hong"])
    assert recover(desk.place) == []


def test_a_move_to_a_second_place_waits_for_the_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise there would be two, in two places, of what was to be one; the error says what to do."""
    address = cut_short(desk, monkeypatch)
    with pytest.raises(OperationUnfinished):
        move(CopyOrder(address, f"npki:{desk.folder}/elsewhere/NPKI"), desk.place)
    assert not (desk.folder / "elsewhere").exists() or live(desk, f"npki:{desk.folder}/elsewhere/NPKI") == []
    assert (live(desk, desk.here), live(desk, desk.there)) == (["Hong"], ["Hong"])
    recover(desk.place)
    assert (live(desk, desk.here), live(desk, desk.there)) == ([], ["Hong"])


def test_of_two_moves_at_once_the_slower_makes_no_second_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again once nobody else can be at it: the other was faster while a password was typed."""
    address, honest = desk.put(self_signed()), transfer._begin

    def slow(*arguments: object) -> object:
        monkeypatch.setattr(transfer, "_begin", honest)
        move(CopyOrder(address, desk.there), desk.place)
        return honest(*arguments)

    monkeypatch.setattr(transfer, "_begin", slow)
    elsewhere = f"npki:{desk.folder}/elsewhere/NPKI"
    with pytest.raises(NotFound):
        move(CopyOrder(address, elsewhere), desk.place)
    assert (live(desk, desk.here), live(desk, desk.there), live(desk, elsewhere)) == ([], ["Hong"], [])
    assert desk.place.ledger.incomplete() == []
