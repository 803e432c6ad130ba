"""Nothing is issued without its factors, and what was passed is good for one certificate only."""

import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from tests.authority.factors.conftest import Bank, applicant_in

from dojang.authority import Submission, open_authority
from dojang.authority.factors import evidence
from dojang.authority.tables import audit, factor_evidence
from dojang.errors import AuthorityRefused, FactorMissing, TokenNotFound


def refused(bank: Bank, submission: Submission) -> FactorMissing:
    with pytest.raises(FactorMissing) as caught:
        bank.authority.submit(submission)
    return caught.value


def rows(bank: Bank) -> list[Any]:
    with bank.authority.database.reading() as connection:
        return list(connection.execute(select(factor_evidence).order_by(factor_evidence.c.passed_at)))


def test_without_factors_nothing_is_issued(bank: Bank) -> None:
    """The error tells every way that there is."""
    error = refused(bank, bank.submission())
    assert error.facts["ways"] == (("otp", "sms"), ("card", "sms"))
    assert "otp + sms | card + sms" in str(error)
    assert bank.issued() == []


def test_some_of_them_are_not_enough(bank: Bank) -> None:
    """What was passed is not asked for again."""
    submission = bank.submission()
    bank.passes(submission, "sms")
    assert refused(bank, submission).facts["ways"] == (("otp",), ("card",))
    bank.passes(submission, "card")
    bank.authority.submit(submission)
    assert len(bank.issued()) == 1


def test_what_was_passed_is_used_with_the_certificate(bank: Bank) -> None:
    """All of it, with who passed it and with what, and the audit tells of it; no code is anywhere."""
    submission = bank.submission()
    bank.passes(submission, "sms", "otp")
    bank.authority.submit(submission)
    (serial,) = bank.issued()
    assert {(row.factor, row.device, row.used_serial, row.applicant) for row in rows(bank)} == {
        (factor, f"{factor}-device", serial, bank.applicant) for factor in ("sms", "otp")
    }
    with bank.authority.database.reading() as connection:
        events = list(connection.execute(select(audit.c.event, audit.c.subject).order_by(audit.c.seq)))
    told = [(row.event, row.subject) for row in events if row.event.startswith("factor")]
    assert told == [("factor-passed", bank.applicant)] * 2 + [("factors-used", bank.applicant)]


def test_the_same_question_gets_the_same_answer(bank: Bank) -> None:
    """Asked again after its answer was lost, nothing has to be passed again."""
    submission = bank.submission()
    bank.passes(submission, "sms", "otp")
    first = bank.authority.submit(submission)
    assert bank.authority.submit(submission) == first


def test_a_second_certificate_needs_factors_of_its_own(bank: Bank) -> None:
    """For the same key and name, too."""
    submission = bank.submission()
    bank.passes(submission, "sms", "otp")
    bank.authority.submit(submission)
    refused(bank, bank.submission())
    assert len(bank.issued()) == 1


def test_what_was_passed_is_for_that_request_only(small: Bank) -> None:
    """Another key, another name, another applicant, another profile: each is another request."""
    submission = small.submission()
    small.passes(submission, "sms", "otp")
    small.authority.folder.joinpath("profiles", "other.toml").write_text('like = "bank"\n')
    refused(small, small.submission(key=ec.generate_private_key(ec.SECP256R1())))
    refused(small, small.submission(subject="CN=임꺽정,O=Example,C=KR"))
    refused(small, small.submission(applicant=applicant_in(small.counter, "임꺽정")))
    refused(small, small.submission(profile="other"))
    small.authority.submit(submission)


def test_it_expires(small: Bank) -> None:
    """Ten minutes unless the authority says otherwise; then it has to be passed again."""
    submission = small.submission()
    small.passes(submission, "sms", "otp")
    small.counter.clock.turn(minutes=10)
    refused(small, submission)
    small.passes(submission, "sms")
    small.counter.clock.turn(minutes=9)
    refused(small, submission)
    small.passes(submission, "otp")
    small.authority.submit(submission)


def test_a_clock_that_was_set_back_brings_nothing_back(small: Bank) -> None:
    """What was passed in the future does not count."""
    submission = small.submission()
    small.counter.clock.turn(minutes=30)
    small.passes(submission, "sms", "otp")
    small.counter.clock.turn(minutes=-30)
    refused(small, submission)


def test_two_at_once_have_one_certificate(bank: Bank) -> None:
    """Whoever is second is told what is missing, although both had it when they began."""
    first = bank.submission()
    bank.passes(first, "sms", "otp")
    submissions = [first, *(bank.submission() for _ in range(7))]
    outcomes: list[Any] = []

    def ask(submission: Submission) -> None:
        try:
            outcomes.append(bank.authority.submit(submission))
        except FactorMissing as error:
            outcomes.append(error)

    threads = [threading.Thread(target=ask, args=(one,)) for one in submissions]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(not isinstance(one, FactorMissing) for one in outcomes) == 1
    assert len(outcomes) == 8
    assert len(bank.issued()) == 1


def test_many_in_one_batch_have_one_certificate(small: Bank) -> None:
    """Also where several are recorded together."""
    submissions = [small.submission() for _ in range(4)]
    small.passes(submissions[0], "sms", "otp")
    answers = small.authority.submit_many(submissions)
    assert sum(not isinstance(one, Exception) for one in answers) == 1
    assert len(small.issued()) == 1


def test_nobodys_request_is_refused(small: Bank) -> None:
    """Without an applicant there are no devices that could say anything; an unknown one has none."""
    with pytest.raises(AuthorityRefused, match="whose"):
        small.authority.submit(small.submission(applicant=None))
    with pytest.raises(AuthorityRefused, match="no applicant"):
        small.authority.submit(small.submission(applicant="0123456789"))


def test_a_reissue_needs_factors_of_its_own_and_a_renewal_does_not(small: Bank) -> None:
    """As the profile says; the applicant is known by the certificate, and is nobody else."""
    first = small.submission()
    small.passes(first, "sms", "otp")
    old = small.authority.submit(first).certificate_der
    small.authority.confirm(first.transaction_id)
    key = ec.generate_private_key(ec.SECP256R1())
    renewal = small.submission("renew", key=key, replaces_der=old, applicant=None)
    renewed = small.authority.submit(renewal).certificate_der
    small.authority.confirm(renewal.transaction_id)
    other = ec.generate_private_key(ec.SECP256R1())
    reissue = small.submission("reissue", key=other, replaces_der=renewed, applicant=None)
    refused(small, reissue)
    stranger = applicant_in(small.counter, "임꺽정")
    with pytest.raises(AuthorityRefused, match="another applicant"):
        small.authority.submit(small.submission("reissue", key=other, replaces_der=renewed, applicant=stranger))
    small.passes(reissue, "sms", "card", key=other)
    small.authority.submit(reissue)


def test_evidence_tells_what_it_is_about(small: Bank) -> None:
    """Its hash covers the request, the device and the moment, so that no row can be given another's."""
    submission = small.submission()
    small.passes(submission, "sms", "otp")
    claim = small.claim(submission)
    with small.authority.database.reading() as connection:
        found = evidence.standing(connection, claim, small.counter.clock())
    assert {one.request_hash for one in found} == {claim.request_hash}
    assert len({one.evidence_hash for one in found}) == 2
    assert all(len(one.evidence_hash) == 32 for one in found)
    assert all((one.expires_at - one.passed_at).total_seconds() == 600 for one in found)


def test_a_token_that_is_away_uses_nothing_up(small: Bank) -> None:
    """What is wanted is told without it, a factor is refused for now, and what was passed is good once it is back."""
    submission = small.submission()
    small.passes(submission, "sms", "otp")

    def nobody(address: str) -> Any:
        raise TokenNotFound(wanted=address)

    with open_authority(small.authority.folder.parent, "test", nobody, clock=small.counter.clock) as away:
        wanted = away.factors_for(small.submission(subject="CN=Kim,C=KR")).wanted()
        assert wanted.ways == (("otp", "sms"), ("card", "sms"))
        with pytest.raises(TokenNotFound):
            away.submit(submission)
    assert small.issued() == []
    small.authority.submit(submission)
