"""Renewing: when it is due, what is kept, what is refused, and that the old one works until the new one does."""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_der_x509_certificate

from dojang.errors import AnswerMismatch, AuthorityRefused, NothingDue, NotPermitted, NotRenewable
from dojang.lifecycle.held import due_in, held_in
from dojang.lifecycle.issue import issue
from dojang.lifecycle.recover import recover
from dojang.lifecycle.renew import RenewOrder, plan_renewal, renew
from dojang.npki.validity import start_of_day
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.x509 import profiles


def _key(held):
    return load_der_x509_certificate(held.stored.certificate_der).public_key()


def test_a_new_key_under_the_old_name(office) -> None:
    """The address stays, key and certificate are new, the old pair is retired and still readable."""
    old = issue(office.order(), office.place)
    renewal = renew(RenewOrder(old.stored.address), office.place)
    assert renewal.credential.stored.address == old.stored.address
    assert _key(renewal.credential) != _key(old)
    assert (renewal.credential.state, renewal.previous.state) == ("valid", "retired")
    assert renewal.previous.stored.certificate_der == old.stored.certificate_der
    with office.place.open_location(office.address) as location:
        assert location.has_key(renewal.previous.stored.key_id)
        assert location.find(renewal.previous.stored.address).certificate_der == old.stored.certificate_der
    assert [event.event for event in office.place.ledger.history()] == ["issued", "renewed", "retired"]


def test_the_same_key_where_the_profile_allows_it(office) -> None:
    """With the key kept only the certificate is new."""
    old = issue(office.order(), office.place)
    renewal = renew(RenewOrder(old.stored.address, keep_key=True), office.place)
    assert _key(renewal.credential) == _key(old)
    assert renewal.credential.facts.serial != old.facts.serial
    assert renewal.previous.state == "retired"


def test_the_same_key_where_the_profile_forbids_it(office) -> None:
    """A profile that wants new keys says so before anything is begun."""
    old = issue(office.order(profile="personal"), office.place)
    with pytest.raises(NotPermitted):
        renew(RenewOrder(old.stored.address, keep_key=True), office.place)
    assert [held.state for held in held_in(office.place, office.address)] == ["valid"]


def test_renewing_twice_renews_once(office) -> None:
    """The second run finds nothing to do, by the old address and by the retired one's; ``again`` insists."""
    old = issue(office.order(), office.place)
    renewal = renew(RenewOrder(old.stored.address), office.place)
    for address in (old.stored.address, renewal.previous.stored.address):
        with pytest.raises(NothingDue):
            renew(RenewOrder(address), office.place)
    assert renew(RenewOrder(old.stored.address, again=True), office.place)
    states = [held.state for held in held_in(office.place, office.address)]
    assert sorted(states) == ["retired", "retired", "valid"]


def test_due_opens_with_the_window(office) -> None:
    """One second before the window it is valid, at its opening due, after its end expired; a given window wins."""
    old = issue(office.order(), office.place)
    opening = old.facts.not_after_at - timedelta(days=30)
    for moment, state in (
        (opening - timedelta(seconds=1), "valid"),
        (opening, "due"),
        (old.facts.not_after_at, "expired"),
    ):
        office.place = replace(office.place, now=lambda moment=moment: moment)
        assert [held.state for held in held_in(office.place, office.address)] == [state]
    office.place = replace(office.place, now=lambda: opening - timedelta(days=10))
    assert not list(due_in(office.place, [office.address]))
    assert len(list(due_in(office.place, [office.address], timedelta(days=40)))) == 1
    configured = replace(office.place, window=timedelta(days=40))
    assert len(list(due_in(configured, [office.address]))) == 1


def test_renewing_in_time_loses_no_day(office) -> None:
    """Inside the window the new term begins where the old one ends."""
    old = issue(office.order(), office.place)
    office.later = timedelta(days=350)
    renewal = renew(RenewOrder(old.stored.address), office.place)
    assert renewal.credential.facts.not_after_at - old.facts.not_after_at >= timedelta(days=364)


def test_an_expired_certificate(office) -> None:
    """What has expired is issued anew, not renewed."""
    old = issue(office.order(), office.place)
    office.later = timedelta(days=400)
    with pytest.raises(NotRenewable, match="expired"):
        renew(RenewOrder(old.stored.address), office.place)


def test_a_lost_ledger_is_made_up_for_by_the_authority(office, tmp_path) -> None:
    """Without a record the local authority that issued it is found; without that, advice is given."""
    from dojang.ledger import Ledger

    old = issue(office.order(), office.place)
    with Ledger.open(tmp_path / "other" / "ledger.sqlite") as ledger:
        strangers = replace(office.place, ledger=ledger, authorities=tuple)
        with pytest.raises(NotRenewable, match="no authority known here"):
            renew(RenewOrder(old.stored.address), strangers)
        renewal = renew(RenewOrder(old.stored.address), replace(office.place, ledger=ledger))
    assert renewal.credential.facts.subject == old.facts.subject


@pytest.mark.parametrize("state", ["revoked", "suspended"])
def test_what_was_withdrawn_is_refused_before_a_key_is_made(office, state: str) -> None:
    """The plan refuses as the renewal does, and nothing is begun; the ledger need not have heard of it."""
    old = issue(office.order(), office.place)
    with office.place.open_authority("office") as authority:
        serial = old.facts.serial
        authority.suspend(serial) if state == "suspended" else authority.revoke(serial, "affiliationChanged")
    office.steps.clear()
    for act in (plan_renewal, renew):
        with pytest.raises(AuthorityRefused, match=f"the old certificate is {state}"):
            act(RenewOrder(old.stored.address), office.place)
    assert (office.steps, len(office.credentials()), len(office.issued())) == ([], 1, 1)


def test_a_wrong_answer_leaves_the_old_in_use(office) -> None:
    """When the answer does not match, the old credential is untouched and nothing new stays."""
    old = issue(office.order(), office.place)
    office.tamper(lambda answer: replace(answer, certificate_der=old.stored.certificate_der))
    with pytest.raises(AnswerMismatch):
        renew(RenewOrder(old.stored.address), office.place)
    assert [stored.certificate_der for stored in office.credentials()] == [old.stored.certificate_der]
    assert sorted(record.state for record in office.issued()) == ["confirmed", "revoked"]
    assert office.place.ledger.incomplete() == []


def test_the_plan_is_what_happens(office) -> None:
    """A plan names the steps of the real run in their order."""
    old = issue(office.order(), office.place)
    order = RenewOrder(old.stored.address)
    planned = [step.name for step in plan_renewal(order, office.place)]
    office.steps.clear()
    renew(order, office.place)
    assert planned == office.steps


def test_an_unreadable_certificate_hides_no_other(office, tmp_path, softhsm_module) -> None:
    """One that another program left damaged is left out of lists, and the rest comes due."""
    held = issue(office.order(), office.place)
    ends = held.facts.not_after_at.strftime("%y%m%d%H%M%SZ").encode()
    damages = {b"Office CA": b"Office \xff\xff", ends: b"9913" + ends[4:]}
    for number, (good, bad) in enumerate(damages.items()):
        folder = tmp_path / "NPKI" / "Office" / "USER" / f"cn=damaged{number}"
        folder.mkdir(parents=True)
        (folder / "signCert.der").write_bytes(held.stored.certificate_der.replace(good, bad, 1))
    if office.address.startswith("pkcs11:"):
        label = str(Pkcs11Uri.from_text(office.address).token)
        words = ["pkcs11-tool", "--module", softhsm_module, "--token-label", label, "--login", "--pin", "1234"]
        words += ["--write-object", str(folder / "signCert.der"), "--type", "cert", "--label", "damaged", "--id", "7a"]
        subprocess.run(words, check=True, capture_output=True)
    assert held_in(office.place, office.address) == [held]
    office.later = timedelta(days=350)
    assert [one.stored for one in due_in(office.place, [office.address])] == [held.stored]


def test_a_disk_that_is_not_mounted(tmp_path, office) -> None:
    """What was cut short on it waits until it is there again, and is finished then; its keys are not taken for gone."""
    place = office.place
    office.address = f"npki:{tmp_path}/disk/NPKI"
    held = issue(office.order(), place)
    with pytest.raises(KeyboardInterrupt):
        renew(RenewOrder(held.stored.address), replace(place, say=_interrupted_at_confirm))
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    assert [one.outcome for one in recover(place)] == ["left"]
    (tmp_path / "unplugged").rename(tmp_path / "disk")
    assert [one.outcome for one in recover(place)] == ["finished"]
    assert sorted(one.state for one in held_in(place, office.address)) == ["retired", "valid"]


@pytest.mark.parametrize("verb", ["issue", "renew"])
def test_an_authority_that_is_away(office, verb) -> None:
    """What was cut short before it confirmed waits until it is there again, and is finished then: nobody refused."""
    place, order = office.place, office.order("Kim")
    held = issue(office.order(), place)
    interrupted = replace(place, say=_interrupted_at_confirm)
    with pytest.raises(KeyboardInterrupt):
        renew(RenewOrder(held.stored.address), interrupted) if verb == "renew" else issue(order, interrupted)
    office.authorities.rename(office.authorities.with_name("away"))
    for _ in range(2):
        (left,) = recover(place)
        assert (left.outcome, left.error.code, left.error.facts["authority"]) == (
            "left",
            "authority-unreachable",
            "office",
        )
        assert [one.step for one in place.ledger.incomplete()] == ["answered"]
    office.authorities.with_name("away").rename(office.authorities)
    assert [one.outcome for one in recover(place)] == ["finished"]
    states = sorted(one.state for one in held_in(place, office.address))
    assert states == (["retired", "valid"] if verb == "renew" else ["valid", "valid"])


def _interrupted_at_confirm(step: str) -> None:
    if step == "confirm":
        raise KeyboardInterrupt


def test_a_korean_certificate_is_due_from_the_start_of_its_day(office, tmp_path) -> None:
    """By its policy; at midnight in Seoul thirty days before, and the authority renews it from then on."""
    profile = (Path(profiles.__file__).parent / "personal.toml").read_text()
    folder = tmp_path / "authorities" / "office" / "profiles"
    folder.mkdir(exist_ok=True)
    korean = profile.replace("keep-key = false", 'policies = ["1.2.410.200005.1.1.4"]\nearly-renewal = false')
    (folder / "korean.toml").write_text(korean)
    old = issue(office.order(profile="korean"), office.place)
    opening = start_of_day(old.facts.not_after_at - timedelta(days=30))
    assert opening < old.facts.not_after_at - timedelta(days=30)
    for moment, state in ((opening - timedelta(seconds=1), "valid"), (opening, "due")):
        office.place = replace(office.place, now=lambda moment=moment: moment)
        assert [held.state for held in held_in(office.place, office.address)] == [state]
    office.later = opening - datetime.now(UTC) + timedelta(minutes=5)
    office.place = replace(office.place, now=office.now)
    assert renew(RenewOrder(office.address), office.place).credential.facts.not_after_at > old.facts.not_after_at
