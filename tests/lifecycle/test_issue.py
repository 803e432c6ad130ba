"""Issuing: the steps, and that every refusal leaves everything as it was."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dojang.errors import (
    AlreadyExists,
    AnswerMismatch,
    AuthorityExpired,
    AuthorityRefused,
    AuthorityUnreachable,
    DojangError,
    NotPermitted,
)
from dojang.lifecycle.issue import issue, plan_issue
from dojang.lifecycle.journal import identity_of
from dojang.lifecycle.recover import recover


def _nothing_happened(office) -> None:
    assert office.credentials() == []
    assert {record.state for record in office.issued()} <= {"revoked"}
    assert office.place.ledger.incomplete() == []
    assert office.place.ledger.history() == []
    with office.place.open_location(office.address) as location:
        location.check_free(label="Hong", subject_der=office.order().subject.public_bytes())


def test_an_issued_credential_is_complete(office) -> None:
    """Key, certificate and chain lie together, the authority knows it arrived, the ledger where it came from."""
    held = issue(office.order(), office.place)
    assert held.state == "valid"
    assert office.steps == ["generate", "ask", "install", "prove", "confirm"]
    (stored,) = office.credentials()
    assert stored.certificate_der == held.stored.certificate_der
    assert [record.state for record in office.issued()] == ["confirmed"]
    (event,) = office.place.ledger.history(held.stored.address)
    assert (event.event, event.facts["authority"], event.facts["profile"]) == ("issued", "office", "tls-client")
    with office.place.open_location(held.stored.address) as location:
        assert location.chain_of(stored.certificate_der)
        assert location.private_key(stored.key_id).public_key() is not None


def test_nothing_secret_reaches_the_ledger(office) -> None:
    """Neither PIN, password nor private key is in the files of the ledger."""
    issue(office.order(), office.place)
    recorded = b"".join(path.read_bytes() for path in office.place.ledger.path.parent.iterdir() if path.is_file())
    for secret in (b"1234\x00", b"correct horse", b"PRIVATE KEY"):
        assert secret not in recorded


def test_a_plan_changes_nothing(office) -> None:
    """A plan names the steps of the real run in their order and leaves nothing behind."""
    steps = plan_issue(office.order(), office.place)
    _nothing_happened(office)
    issue(office.order(), office.place)
    assert [step.name for step in steps] == office.steps


@pytest.mark.parametrize(
    ("changes", "leaf"),
    [
        ({"profile": "unheard-of"}, NotPermitted),
        ({"profile": "code-signing", "algorithm": "rsa-2048"}, NotPermitted),
        ({"profile": "business"}, AuthorityRefused),
        ({"alternative_names": ("dns:bad name",)}, DojangError),
    ],
)
def test_what_the_profile_rules_out(office, changes, leaf) -> None:
    """An order against the rules is refused and leaves nothing behind."""
    with pytest.raises(leaf):
        issue(office.order(**changes), office.place)
    _nothing_happened(office)


def test_a_taken_name(office) -> None:
    """A second credential of the same name is refused; the first stays as it is."""
    first = issue(office.order(), office.place)
    with pytest.raises(AlreadyExists):
        issue(office.order(), office.place)
    assert [stored.certificate_der for stored in office.credentials()] == [first.stored.certificate_der]
    assert [record.state for record in office.issued()] == ["confirmed"]
    assert office.place.ledger.incomplete() == []


def test_an_expired_authority(office) -> None:
    """An authority past its term is named as the reason, with its dates."""
    office.later = timedelta(days=30 * 366)
    with pytest.raises(AuthorityExpired) as caught:
        issue(office.order(), office.place)
    assert caught.value.exit_status == 12
    office.later = timedelta()
    _nothing_happened(office)


def test_an_answer_for_somebody_else(office) -> None:
    """A certificate for another key is not installed; what was issued is revoked, the key is gone."""
    other = issue(office.order("Kim"), office.place)
    before = office.place.ledger.history()
    office.tamper(lambda answer: replace(answer, certificate_der=other.stored.certificate_der))
    with pytest.raises(AnswerMismatch) as caught:
        issue(office.order(), office.place)
    assert len(caught.value.facts["problems"]) >= 2, "every mismatch is listed"
    assert [stored.label for stored in office.credentials()] == ["Kim"]
    assert sorted(record.state for record in office.issued()) == ["confirmed", "revoked"]
    assert office.place.ledger.history() == before
    assert office.place.ledger.incomplete() == []


def test_an_authority_out_of_reach(office) -> None:
    """Nothing is left in the location when the authority cannot be reached; the same order succeeds later."""
    honest = office.place

    def unreachable(answer):
        raise AuthorityUnreachable(authority="office", problem="the line is cut")

    office.tamper(unreachable)
    with pytest.raises(AuthorityUnreachable):
        issue(office.order(), office.place)
    office.place = honest
    _nothing_happened(office)
    issue(office.order(), office.place)


def test_what_cannot_be_recovered_stands_in_nobodys_way(office) -> None:
    """An operation in a location that is not there is left, said so, and blocks no other work."""
    facts = {"location": "pkcs11:token=absent;serial=1", "address": "pkcs11:token=absent", "key_id": "00", "label": "a"}
    office.place.ledger.begin("request", "pkcs11:token=absent#label=a", facts).leave()
    told = []
    office.place = replace(office.place, tell_recovered=told.append)
    (outcome,) = recover(office.place)
    assert (outcome.outcome, told) == ("left", [outcome])
    assert outcome.error is not None
    issue(office.order(), office.place)
    assert len(office.place.ledger.incomplete()) == 1


def test_what_was_recovered_answers_the_same_order_only(office) -> None:
    """Cut short and asked for again, it is finished; asked for something else by that name, the name is taken."""
    for change in ({}, {"algorithm": "ec-p384"}):
        name = f"Hong{len(change)}"
        with pytest.raises(KeyboardInterrupt):
            issue(office.order(name), replace(office.place, say=_interrupted_at_confirm))
        if change:
            with pytest.raises(AlreadyExists):
                issue(office.order(name, **change), office.place)
        else:
            assert issue(office.order(name), office.place).facts.algorithm == "ec-p256"
    assert [record.state for record in office.issued()] == ["confirmed", "confirmed"]


def _interrupted_at_confirm(step: str) -> None:
    if step == "confirm":
        raise KeyboardInterrupt


def test_a_folder_has_one_identity(tmp_path) -> None:
    """Whatever link leads to it, so that what a killed run left there is found; hints of a token do not count."""
    (tmp_path / "NPKI").mkdir()
    (tmp_path / "link").symlink_to("NPKI")
    assert identity_of(f"npki:{tmp_path}/link") == identity_of(f"npki:{tmp_path}/NPKI")
    assert identity_of("pkcs11:token=a?module-name=softhsm2") == "pkcs11:token=a"
