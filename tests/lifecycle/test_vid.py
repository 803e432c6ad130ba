"""Certificates with a VID: from a number and R to the certificate, and both of them over to every successor."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from dojang.errors import (
    AlreadyExists,
    AnswerMismatch,
    InputRequired,
    NotPermitted,
    RegistrationRefused,
    UnsupportedOperation,
    Usage,
)
from dojang.lifecycle.issue import issue, plan_issue
from dojang.lifecycle.meant import Meant
from dojang.lifecycle.possession import person_at, random_number_of
from dojang.lifecycle.register import register_at
from dojang.lifecycle.reissue import ReissueOrder, plan_reissue, reissue
from dojang.lifecycle.renew import RenewOrder, renew
from dojang.lifecycle.vetting import Terms
from dojang.npki.vid import identify_data_of, vid_value_of
from dojang.secret import Secret
from dojang.x509.lookup import GivenList, Sources

NUMBER, WRONG = Secret("123456-1234567"), Secret("123456-1234568")
DIGITS = b"1234561234567"
PROFILE = """
title = {{ en = "With a VID", ko = "VID 있음" }}
validity-days = 90
renewal-window-days = 30
early-renewal = true
keep-key = true
algorithms = ["ec-p256"]
key-usage = ["digital-signature"]
vid = "{rule}"
"""


@pytest.fixture
def bank(office) -> Iterator:
    """The office with a profile ``with-vid`` that wants a VID, and ``may-vid`` that may have one."""
    own = office.authorities / "office" / "profiles"
    own.mkdir()
    for name, rule in (("with-vid", "required"), ("may-vid", "optional"), ("no-vid", "none")):
        (own / f"{name}.toml").write_text(PROFILE.format(rule=rule))
    return office


def _order(office, name="홍길동()0001", **changes):
    return office.order(name, **{"profile": "with-vid", "ask_number": lambda: NUMBER, "label": "Hong"} | changes)


def _proved(office, stored, number: Secret) -> bool:
    """By a location that is opened anew, as another run would."""
    with office.place.open_location(stored.address) as location:
        return person_at(location, location.find(stored.address), number).ok


def _r_of(office, stored) -> bytes:
    with office.place.open_location(stored.address) as location:
        return random_number_of(location, location.find(stored.address).key_id).reveal()


def _is_proved(office, stored) -> None:
    assert _proved(office, stored, NUMBER)
    assert not _proved(office, stored, WRONG)


def _nothing_happened(office) -> None:
    assert office.credentials() == []
    assert {record.state for record in office.issued()} <= {"revoked"}
    assert office.place.ledger.incomplete() == []


def _openssl(words: str, der: bytes) -> str:
    return subprocess.run(["openssl", *words.split()], input=der, check=True, capture_output=True).stdout.decode()


def test_a_vid_in_the_certificate(bank) -> None:
    """OpenSSL sees the name and the VID; number and R kept with the key explain it, and no other number does."""
    held = issue(_order(bank), bank.place)
    _is_proved(bank, held.stored)
    assert identify_data_of(held.stored.certificate_der).real_name == "홍길동"
    assert "othername" in _openssl("x509 -inform DER -noout -ext subjectAltName", held.stored.certificate_der)
    parsed = _openssl("asn1parse -inform DER -i", vid_value_of(held.stored.certificate_der))
    assert "1.2.410.200004.10.1.1.1" in parsed
    assert "sha256" in parsed


def test_registering_proves_the_person(bank) -> None:
    """What ``cert register`` looks at is what was issued: the right number is good, a wrong one is refused."""
    held = issue(_order(bank), bank.place)
    with bank.place.open_authority("office") as authority:
        chain = authority.chain_der()
        told = Sources((GivenList("office.crl", authority.publish_crl().read_bytes()),), offline=True)
    terms = Terms((chain[-1],), sources=told)
    done = register_at(held.stored.address, terms, bank.place, number=NUMBER)
    assert [check.name for check in done.checks if check.ok][-1] == "person"
    with pytest.raises(RegistrationRefused):
        register_at(held.stored.address, terms, bank.place, number=WRONG)


def test_neither_number_nor_r_is_written(bank, tmp_path) -> None:
    """No file of ledger and authority has the number or R; nor has an NPKI folder the number."""
    held = issue(_order(bank), bank.place)
    renew(RenewOrder(held.stored.address), bank.place)
    kept = _r_of(bank, bank.credentials()[0])
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert DIGITS not in content, path
            assert NUMBER.reveal() not in content, path
            assert kept not in content, path
            assert kept.hex().encode() not in content, path


@pytest.mark.parametrize("keep_key", [False, True])
def test_a_renewal_keeps_vid_and_r(bank, keep_key) -> None:
    """The same VID is in the new certificate and R with its key, in this renewal and the next."""
    first = issue(_order(bank), bank.place)
    vid, kept = vid_value_of(first.stored.certificate_der), _r_of(bank, first.stored)
    for _ in range(2):
        done = renew(RenewOrder(first.stored.address, keep_key=keep_key, again=True), bank.place)
        assert vid_value_of(done.credential.stored.certificate_der) == vid
        assert _r_of(bank, done.credential.stored) == kept
        _is_proved(bank, done.credential.stored)
        _is_proved(bank, done.previous.stored)


def test_a_reissue_keeps_vid_and_r(bank, tmp_path) -> None:
    """In place and elsewhere, R of the old key goes over to the new one, and the VID with it."""
    held = issue(_order(bank, alternative_names=()), bank.place)
    kept = _r_of(bank, held.stored)
    done = reissue(ReissueOrder(Meant(address=held.stored.address)), bank.place)
    assert _r_of(bank, done.credential.stored) == kept
    _is_proved(bank, done.credential.stored)
    again = ReissueOrder(Meant(address=done.credential.stored.address), to=f"npki:{tmp_path}/second/NPKI", again=True)
    second = reissue(again, bank.place).credential
    assert _r_of(bank, second.stored) == kept
    _is_proved(bank, second.stored)


def test_a_reissue_with_the_number_again(bank) -> None:
    """Where R is lost, or others may know it, the number makes a new VID with a new R; without it, it is said so."""
    held = issue(_order(bank), bank.place)
    kept = _r_of(bank, held.stored)
    order = ReissueOrder(Meant(address=held.stored.address), reason="keyCompromise")
    for run in (plan_reissue, reissue):
        with pytest.raises(NotPermitted) as caught:
            run(order, bank.place)
        assert "--number-source" in caught.value.advice()
    assert [record.state for record in bank.issued()] == ["revoked"], "what others may know does not wait"
    done = reissue(replace(order, ask_number=lambda: NUMBER), bank.place)
    assert _r_of(bank, done.credential.stored) != kept
    _is_proved(bank, done.credential.stored)


def test_a_lost_password_is_no_way_to_r(bank, tmp_path) -> None:
    """Without the old key's password R cannot go over: refused before anything is made, with what to do."""
    held = issue(_order(bank, to=f"npki:{tmp_path}/NPKI"), bank.place)
    (key_file,) = tmp_path.rglob("signPri.key")
    key_file.write_bytes(key_file.read_bytes()[:-16] + bytes(16))
    with pytest.raises(NotPermitted) as caught:
        reissue(ReissueOrder(Meant(address=held.stored.address)), bank.place)
    assert "--number-source" in caught.value.advice()
    assert [record.state for record in bank.issued()] == ["confirmed"]
    order = ReissueOrder(Meant(address=held.stored.address), ask_number=lambda: NUMBER)
    _is_proved(bank, reissue(order, bank.place).credential.stored)


def test_numbers_that_are_not_wanted(bank) -> None:
    """A profile without VID wants no number, one that requires it gets one; what is no number is no number."""
    for run in (plan_issue, issue):
        with pytest.raises(NotPermitted):
            run(_order(bank, profile="no-vid"), bank.place)
        with pytest.raises(InputRequired) as caught:
            run(_order(bank, ask_number=None), bank.place)
        assert caught.value.facts["option"] == "--number-source SRC"
    with pytest.raises(Usage):
        issue(_order(bank, ask_number=lambda: Secret("12345")), bank.place)
    _nothing_happened(bank)
    held = issue(_order(bank, profile="may-vid", ask_number=None), bank.place)
    assert identify_data_of(held.stored.certificate_der) is None


def test_another_vid_is_not_installed(bank) -> None:
    """An authority that answers with somebody else's VID is not believed; nothing of it stays."""
    other = issue(_order(bank, "김철수", label="Kim"), bank.place)
    with bank.place.open_authority("office") as authority:
        submit = type(authority).submit

    def swapped(self, submission):
        return submit(self, replace(submission, vid_der=vid_value_of(other.stored.certificate_der)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(authority), "submit", swapped)
        with pytest.raises(AnswerMismatch):
            issue(_order(bank), bank.place)
    assert [stored.label for stored in bank.credentials()] == [other.stored.label]
    assert bank.place.ledger.incomplete() == []


def test_r_that_is_gone(bank) -> None:
    """A renewal is refused where R is not with the old key, and says what to do; nothing was made."""
    held = issue(_order(bank), bank.place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dojang.lifecycle.person.random_number_of", lambda location, key_id: None)
        with pytest.raises(NotPermitted) as caught:
            renew(RenewOrder(held.stored.address), bank.place)
    assert "--number-source" in caught.value.advice()
    assert [record.state for record in bank.issued()] == ["confirmed"]
    assert bank.place.ledger.incomplete() == []


def test_what_was_cut_short_is_for_its_number_only(bank) -> None:
    """Asked for again with the same number it is finished; with another, or with none, the name is taken."""

    def interrupted(step: str) -> None:
        if step == "confirm":
            raise KeyboardInterrupt

    for number in (NUMBER, WRONG):
        order = _order(bank, f"Hong{len(bank.credentials())}", label=f"Hong{len(bank.credentials())}")
        with pytest.raises(KeyboardInterrupt):
            issue(order, replace(bank.place, say=interrupted))
        again = replace(order, ask_number=lambda number=number: number)
        if number == NUMBER:
            _is_proved(bank, issue(again, bank.place).stored)
        else:
            with pytest.raises(AlreadyExists):
                issue(again, bank.place)


def test_from_afar_no_number_is_taken(bank) -> None:
    """An authority elsewhere gets no number; the error says where it would be taken."""
    from dojang.lifecycle.person import refuse_number

    class Far:
        name = "https://ca.example/"

        def has_reference(self, *, needed=False):
            return False

        def asked_by(self, asker):
            return self

    with bank.place.open_location(bank.address) as location:
        with pytest.raises(UnsupportedOperation) as caught:
            refuse_number(Far(), "", location, given=True)
        refuse_number(Far(), "", location, given=False)
    assert "--ca NAME" in caught.value.advice()


def test_a_renewal_of_a_certificate_without_a_vid(bank) -> None:
    """Its new key gets what any key gets; nothing is refused."""
    held = issue(_order(bank, profile="may-vid", ask_number=None), bank.place)
    bank.later = timedelta(days=70)
    assert (
        identify_data_of(renew(RenewOrder(held.stored.address), bank.place).credential.stored.certificate_der) is None
    )
