"""Two machines at one credential whose key is kept: one sleeps through its claim, and wakes while the other renews."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509 import load_der_x509_certificate

from dojang.ledger import Ledger
from dojang.lifecycle.held import held_in
from dojang.lifecycle.issue import issue
from dojang.lifecycle.recover import recover
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.locations import claims


class FellAsleep(BaseException):
    """The lid was closed."""


@pytest.mark.parametrize("woken_at", ["prove", "switch"])
@pytest.mark.parametrize("asleep_at", ["ask", "install", "prove"])
def test_who_wakes_late_takes_nothing_away(office, tmp_path, monkeypatch, asleep_at: str, woken_at: str) -> None:
    """What the other staged stays and is what it comes to use; what the sleeper was given is taken back."""
    held = issue(office.order(), office.place)
    order = RenewOrder(held.stored.address, keep_key=True)

    def sleep(step: str) -> None:
        if step == asleep_at:
            raise FellAsleep

    with pytest.raises(FellAsleep):
        renew(order, replace(office.place, say=sleep))
    monkeypatch.setattr(claims, "STALE_AFTER", timedelta())
    outcomes: list[str] = []

    def wake(step: str) -> None:
        if step == woken_at:
            outcomes.extend(one.outcome for one in recover(replace(office.place, say=lambda _step: None)))

    with Ledger.open(tmp_path / "other" / "ledger.sqlite") as ledger:
        renewal = renew(order, replace(office.place, ledger=ledger, say=wake))
        assert ledger.incomplete() == []
    assert outcomes == ["undone"]
    assert office.place.ledger.incomplete() == []
    (live,) = [one for one in held_in(office.place, office.address) if one.state != "retired"]
    assert live.stored.certificate_der == renewal.credential.stored.certificate_der != held.stored.certificate_der
    serial = load_der_x509_certificate(live.stored.certificate_der).serial_number
    assert [one.state for one in office.issued() if int(one.serial, 16) == serial] == ["confirmed"]
