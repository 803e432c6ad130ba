"""Changing passwords: of one credential or all in a place, proved by opening and signing, never half done."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from dojang.errors import NotFound, PasswordIncorrect
from dojang.lifecycle.issue import issue
from dojang.lifecycle.password import PasswordOrder, change_passwords, plan_passwords
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.locations.base import Location
from dojang.locations.registry import open_location
from dojang.secret import Secret
from dojang.x509.challenge import prove_possession

OLD, NEW, OTHER = "correct horse 1!", "battery staple 2?", "somebody else's 3#"


def opener(old: str, new: str | None = None) -> Callable[[str], AbstractContextManager[Location]]:
    """Opens locations with one password, and gives another for what is written."""
    return lambda address: open_location(address, passwords=lambda _path, fresh: Secret(new or old if fresh else old))


@pytest.fixture(params=["npki:{}/more/NPKI", "pkcs12:{}/keys.p12", "pem:{}/keys.pem"], ids=["disk", "pkcs12", "pem"])
def office(request: pytest.FixtureRequest, tmp_path, office):
    """The office with a location of each kind that has passwords."""
    office.address = request.param.format(tmp_path)
    office.place = replace(office.place, open_location=opener(OLD))
    return office


def changed(office, order: PasswordOrder, *, old: str = OLD, new: str = NEW):
    place = replace(office.place, open_location=opener(old, new))
    return change_passwords(order, place, replace(office.place, open_location=opener(new)))


def opens(address: str, password: str, *stored) -> bool:
    try:
        with opener(password)(address) as location:
            for one in stored:
                prove_possession(location.private_key(one.key_id), one.certificate_der)
    except PasswordIncorrect:
        return False
    return True


def test_the_new_password_opens_and_the_old_one_does_not(office) -> None:
    """The key is the same, what is printed has signed, and the plan says so before."""
    held = issue(office.order(), office.place)
    order = PasswordOrder(held.stored.address)
    assert [step.name for step in plan_passwords(order, office.place)] == ["change-password", "prove"]
    office.steps.clear()
    done = changed(office, order)
    assert [one.stored.certificate_der for one in done.held] == [held.stored.certificate_der]
    assert office.steps == ["change-password", "prove"]
    assert opens(office.address, NEW, held.stored)
    assert not opens(office.address, OLD, held.stored)


def test_once_more_with_the_same_two_passwords(office) -> None:
    """There is nothing left to do, even where a file shows nothing without its password; a third is still wrong."""
    held = issue(office.order(), office.place)
    for every, address in ((False, held.stored.address), (True, office.address)):
        done = changed(office, PasswordOrder(address, every))
        assert [one.stored.certificate_der for one in done.held] == [held.stored.certificate_der]
        assert done.already == (every and office.address.startswith("pkcs12:"))
    with pytest.raises(PasswordIncorrect):
        changed(office, PasswordOrder(office.address, every=True), new=OTHER)


def test_all_of_a_place(office) -> None:
    """Retired keys too: nothing there opens with the old password any more."""
    one, two = issue(office.order(), office.place), issue(office.order("Kim"), office.place)
    renewal = renew(RenewOrder(one.stored.address), office.place)
    done = changed(office, PasswordOrder(office.address, every=True))
    assert (len(done.held), done.failures) == (3, ())
    every = [two.stored, renewal.credential.stored, renewal.previous.stored]
    assert opens(office.address, NEW, *every)
    assert not any(opens(office.address, OLD, stored) for stored in every)


def test_a_wrong_password_changes_nothing(office) -> None:
    """It is found out before anything is written."""
    held = issue(office.order(), office.place)
    with pytest.raises(PasswordIncorrect):
        changed(office, PasswordOrder(held.stored.address), old=OTHER)
    assert opens(office.address, OLD, held.stored)


def test_an_empty_place(office) -> None:
    """There is nothing to change, and that is said."""
    with pytest.raises(NotFound):
        changed(office, PasswordOrder(office.address, every=True))


@pytest.mark.parametrize("office", ["npki:{}/more/NPKI"], indirect=True)
def test_one_that_fails_does_not_stop_the_others(office) -> None:
    """Where each credential has a password of its own, what has another one is told and left."""
    first, second = issue(office.order(), office.place), issue(office.order("Kim"), office.place)
    changed(office, PasswordOrder(second.stored.address), new=OTHER)
    done = changed(office, PasswordOrder(office.address, every=True))
    assert [one.stored.address for one in done.held] == [first.stored.address]
    assert [(address, type(error)) for address, error in done.failures] == [(second.stored.address, PasswordIncorrect)]
    assert opens(office.address, NEW, first.stored)
    assert opens(office.address, OTHER, second.stored)


@pytest.mark.parametrize("office", ["npki:{}/more/NPKI"], indirect=True)
def test_what_cannot_be_read_is_among_the_failures(office) -> None:
    """A key whose certificate is damaged stays under the old password, and that is said."""
    first, second = issue(office.order(), office.place), issue(office.order("Kim"), office.place)
    spoilt = Path(office.address.removeprefix("npki:"), second.stored.address.partition("#")[2].replace("%20", " "))
    (spoilt / "signCert.der").write_bytes(b"0")
    done = changed(office, PasswordOrder(office.address, every=True))
    assert [one.stored.address for one in done.held] == [first.stored.address]
    assert [(address, error.code) for address, error in done.failures] == [(second.stored.address, "file-malformed")]
