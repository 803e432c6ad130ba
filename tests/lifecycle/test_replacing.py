"""Copy after a renewal: the new one takes the place of the old copy, which is retired."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.lifecycle.test_copy import Desk, desk, refused, self_signed

from dojang.errors import AlreadyExists, Ambiguous, DeviceFailure
from dojang.lifecycle.copy import CopyOrder, Transferred, copy, plan_copy
from dojang.lifecycle.finish import twin_in
from dojang.lifecycle.parcel import Parcel
from dojang.x509.challenge import prove_possession

__all__ = ["desk"]
pytestmark = pytest.mark.usefixtures("quick_passwords")
KINDS = ["npki:{folder}/there/NPKI", "pkcs12:{folder}/there.p12", "pem:{folder}/there.pem"]


@pytest.fixture(params=KINDS)
def there(request, desk: Desk) -> str:
    return request.param.format(folder=desk.folder)


def renewed(desk: Desk, there: str) -> tuple[Parcel, Parcel, str]:
    """What lies ``there``, what succeeded it, and the address of that in the other folder."""
    old, new = self_signed(begins=-20), self_signed(begins=-1)
    desk.put(old, there)
    return old, new, desk.put(new)


def brought(desk: Desk, address: str, there: str) -> Transferred:
    return copy(CopyOrder(address, there, replace=True), desk.place)


def test_the_new_one_takes_the_place_and_the_old_one_is_retired(desk: Desk, there: str) -> None:
    """It has the name, signs and keeps R; the old one signs still, under its id; the ledger tells of both."""
    old, new, address = renewed(desk, there)
    with desk.place.open_location(there) as location:
        before = twin_in(location, old.certificate_der)
    done = brought(desk, address, there).brought
    assert (done.credential.stored.address, done.retired.stored.retired) == (before.address, True)
    with desk.place.open_location(there) as location:
        found = {one.live: one for one in location.credentials()}
        for live, parcel in ((True, new), (False, old)):
            assert found[live].certificate_der == parcel.certificate_der
            prove_possession(location.private_key(found[live].key_id), parcel.certificate_der)
            assert location.export_key(found[live].key_id).random_number == parcel.key.random_number
    assert [one.event for one in desk.place.ledger.history()] == ["copied", "retired"]
    assert desk.place.ledger.incomplete() == []


def test_run_again_there_is_nothing_to_do(desk: Desk, there: str) -> None:
    """With ``--replace`` or without."""
    _old, _new, address = renewed(desk, there)
    brought(desk, address, there)
    before = desk.files()
    assert brought(desk, address, there).brought.already
    assert copy(CopyOrder(address, there), desk.place).brought.already
    assert desk.files() == before


def test_without_being_asked_nothing_is_replaced(desk: Desk) -> None:
    """The error names the option; ``--plan`` says what it would do, or the same error."""
    _old, _new, address = renewed(desk, desk.there)
    for error in (refused(desk, AlreadyExists, address), _not_planned(desk, address)):
        assert "--replace" in error.next_step
    steps = plan_copy(CopyOrder(address, desk.there, replace=True), desk.place)
    assert [step.name for step in steps] == ["take", "bring", "install", "prove", "switch"]


def _not_planned(desk: Desk, address: str) -> AlreadyExists:
    with pytest.raises(AlreadyExists) as caught:
        plan_copy(CopyOrder(address, desk.there), desk.place)
    return caught.value


@pytest.mark.parametrize(("begins", "name"), [(-1, "Hong"), (-30, "Kim")])
def test_only_a_predecessor_is_replaced(desk: Desk, begins: int, name: str) -> None:
    """Not one that is younger, nor one of another name: the first is in the way, beside the second there is room."""
    other = self_signed(name, begins=begins)
    desk.put(other, desk.there)
    address = desk.put(self_signed(begins=-20))
    if name == "Hong":
        with pytest.raises(AlreadyExists) as caught:
            brought(desk, address, desk.there)
        assert "--replace" not in caught.value.next_step
    else:
        assert brought(desk, address, desk.there).brought.retired is None
    with desk.place.open_location(desk.there) as location:
        assert twin_in(location, other.certificate_der)


def test_with_a_key_that_was_kept(desk: Desk, there: str) -> None:
    """A certificate for the same key takes the place all the same."""
    key = ec.generate_private_key(ec.SECP256R1())
    old, new = self_signed(begins=-20, key=key), self_signed(begins=-1, key=key)
    desk.put(old, there)
    brought(desk, desk.put(new), there)
    with desk.place.open_location(there) as location:
        assert twin_in(location, new.certificate_der).live


def test_which_one_is_meant_must_be_clear(desk: Desk) -> None:
    """Of two predecessors in one file none is chosen."""
    there = f"pkcs12:{desk.folder}/there.p12"
    for label, begins in (("one", -20), ("two", -25)):
        desk.put(replace(self_signed(begins=begins), label=label), there)
    address = desk.put(self_signed())
    before = desk.files()
    with pytest.raises(Ambiguous):
        brought(desk, address, there)
    assert desk.files() == before


def test_a_failure_leaves_both_as_they_were(desk: Desk, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was staged goes, and with it the claim; the old copy signs, and the next try succeeds."""
    old, _new, address = renewed(desk, there)

    def fail(*_: object) -> None:
        raise DeviceFailure(token="there", function="sign", result="broken")

    with monkeypatch.context() as patched:
        patched.setattr("dojang.lifecycle.transfer.compare", fail)
        with pytest.raises(DeviceFailure):
            brought(desk, address, there)
    assert desk.place.ledger.incomplete() == []
    with desk.place.open_location(there) as location:
        (left,) = location.credentials()
        assert (left.certificate_der, left.live) == (old.certificate_der, True)
    assert brought(desk, address, there).brought.retired is not None


def test_who_replaces_it_meanwhile_was_quicker(desk: Desk) -> None:
    """Between the look and the work another one has done it: what is there is proven and left."""
    _old, _new, address = renewed(desk, desk.there)
    order = CopyOrder(address, desk.there, replace=True)

    def quicker(step: str) -> None:
        if step == "take":
            copy(order, replace(desk.place, say=lambda _step: None))

    assert copy(order, replace(desk.place, say=quicker)).brought.already
    assert desk.place.ledger.incomplete() == []
