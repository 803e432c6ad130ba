"""What is checked of a new credential: that it is there, valid, by whom, with its chain; and that a fault shows."""

from dataclasses import replace

import pytest

from dojang.lifecycle.aftercare import look_after
from dojang.lifecycle.issue import issue
from dojang.lifecycle.meant import Meant
from dojang.lifecycle.reissue import ReissueOrder, reissue
from dojang.lifecycle.renew import RenewOrder, renew

NAMES = ["stored", "validity", "issuer", "chain", "signature"]


def _checks(office, stored) -> dict[str, bool]:
    with office.place.open_location(office.address) as location:
        return {check.name: check.ok for check in look_after(office.place, location, stored)}


def test_every_new_credential_is_checked(office) -> None:
    """After issue, renewal and reissue each check is made and is good; nothing is looked at where nobody listens."""
    told = []
    place = replace(office.place, tell_checked=told.append)
    held = issue(office.order(), place)
    renewal = renew(RenewOrder(held.stored.address), place)
    reissue(ReissueOrder(Meant(address=renewal.credential.stored.address)), place)
    assert [[check.name for check in one.checks] for one in told] == [NAMES] * 3
    assert all(check.ok for one in told for check in one.checks)
    assert told[0].checks[2].detail == "CN=Office CA"


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [("deleted", {"stored", "issuer", "chain"}), ("retired", {"stored"}), ("expired", {"validity"})],
)
def test_what_is_not_as_it_should_be_shows(office, fault: str, wrong: set[str]) -> None:
    """Each fault is seen in the location itself, not in what the verb remembers."""
    held = issue(office.order(), office.place)
    with office.place.open_location(office.address) as location:
        if fault == "deleted":
            location.delete(held.stored.key_id)
            if location.chain_of(held.stored.certificate_der):  # a token keeps them for others
                wrong = {"stored"}
        elif fault == "retired":
            location.retire(held.stored.key_id)
        else:
            office.place = replace(office.place, now=lambda: held.facts.not_after_at)
    assert {name for name, ok in _checks(office, held.stored).items() if not ok} == wrong


def test_a_stranger_above_is_no_issuer(office, monkeypatch) -> None:
    """A chain that does not lead anywhere is none."""
    held, other = issue(office.order(), office.place), issue(office.order("Kim"), office.place)
    with office.place.open_location(office.address) as location:
        monkeypatch.setattr(location, "chain_of", lambda der: (other.stored.certificate_der,))
        found = {check.name: check.ok for check in look_after(office.place, location, held.stored)}
    assert found == {**dict.fromkeys(NAMES, True), "issuer": False, "chain": False}
