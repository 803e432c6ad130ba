"""Where an applicant passes factors: what is offered, sent, asked and taken, and what a wrong code costs."""

from dataclasses import replace
from typing import Any

import pytest
from tests.authority.conversation.conftest import MemoryKey
from tests.authority.factors.conftest import SUBJECT, Bank, applicant_in
from tests.authority.factors.devices import RIGHT, WRONG, desk_with

from dojang.authority import LocalAuthority, open_authority
from dojang.authority.enrolment import EnrolmentPolicy
from dojang.authority.factors.desk import FactorDesk, Sitting
from dojang.errors import FactorUnavailable, TooManyTries
from dojang.secret import Secret
from dojang.x509.keys import spki_of
from dojang.x509.name import parse_name


def sit(bank: Bank, desk: FactorDesk, submission: Any) -> Sitting:
    return desk.sit(submission, parse_name(SUBJECT), spki_of(bank.key.public_key()))


@pytest.fixture
def sitting(small: Bank) -> Sitting:
    return sit(small, desk_with(small.authority, small.applicant), small.submission())


def test_what_is_wanted_comes_with_what_the_applicant_has(sitting: Sitting) -> None:
    """Every device that could pass something that is missing, as its owner knows it."""
    wanted = sitting.wanted()
    assert wanted.ways == (("otp", "sms"), ("card", "sms"))
    assert [(one.factor, one.device, one.shown) for one in wanted.offers] == [
        ("otp", "one", "*one"),
        ("card", "first", "*first"),
        ("card", "second", "*second"),
        ("sms", "one", "*one"),
    ]


def test_what_was_passed_is_not_asked_for_again(sitting: Sitting) -> None:
    """And what it makes needless is not either."""
    outcome = sitting.answer("otp", RIGHT)
    assert (outcome.state, outcome.wanted.ways, outcome.wanted.passed) == ("passed", (("sms",),), ("otp",))
    assert {one.factor for one in outcome.wanted.offers} == {"sms"}
    assert sitting.answer("sms", RIGHT).wanted.is_enough


def test_an_answer_that_was_lost_is_given_again(sitting: Sitting) -> None:
    """The code is worth nothing by then, and is not looked at."""
    sitting.answer("otp", RIGHT)
    assert sitting.answer("otp", RIGHT).state == "passed"
    assert sitting.answer("otp", WRONG).state == "passed"


def test_a_wrong_code_passes_nothing(sitting: Sitting) -> None:
    """It tells how many tries are left; the device itself is locked in the end, and says so."""
    assert [(one.state, one.left) for one in (sitting.answer("otp", WRONG) for _ in range(4))] == [
        ("wrong", 2),
        ("wrong", 1),
        ("wrong", 0),
        ("locked", 0),
    ]
    assert sitting.answer("otp", RIGHT).state == "locked"
    assert sitting.wanted().passed == ()


def test_then_it_is_issued(small: Bank) -> None:
    """Through the desk and the gate of one authority."""
    submission = small.submission()
    sitting = sit(small, desk_with(small.authority, small.applicant), submission)
    sitting.answer("sms", RIGHT)
    sitting.answer("card", RIGHT, "second")
    small.authority.submit(submission)
    assert len(small.issued()) == 1


def test_one_of_several_devices_must_be_named(sitting: Sitting) -> None:
    """And it must be the applicant's own."""
    with pytest.raises(FactorUnavailable, match="several"):
        sitting.prepare("card")
    with pytest.raises(FactorUnavailable, match="no such device"):
        sitting.answer("card", RIGHT, "third")
    assert sitting.prepare("card", "first").places == (8, 35)


@pytest.mark.parametrize(("factor", "problem"), [("ars", "not asked for"), ("fax", "not asked for")])
def test_what_is_not_wanted_is_not_passed(sitting: Sitting, factor: str, problem: str) -> None:
    """There is no evidence that nobody asked for."""
    with pytest.raises(FactorUnavailable, match=problem):
        sitting.answer(factor, RIGHT)


def test_who_has_nothing_is_told_so(small: Bank) -> None:
    """An applicant without devices, and an authority that is not set up."""
    other = applicant_in(small.counter, "임꺽정")
    sitting = sit(small, desk_with(small.authority, small.applicant), small.submission(applicant=other))
    assert sitting.wanted().offers == ()
    with pytest.raises(FactorUnavailable, match="nothing for it"):
        sitting.prepare("otp")
    bare = sit(small, replace(desk_with(small.authority, small.applicant), checkers={}), small.submission())
    with pytest.raises(FactorUnavailable, match="not set up"):
        bare.prepare("otp", "one")


def test_a_code_is_for_one_request(small: Bank) -> None:
    """The purpose that messages are made for tells two requests of one applicant apart."""
    desk = desk_with(small.authority, small.applicant)
    sit(small, desk, small.submission()).prepare("sms")
    desk.sit(small.submission(), parse_name("CN=임꺽정,C=KR"), b"another key").prepare("sms")
    first, second = desk.checkers["sms"].prepared  # type: ignore[attr-defined]
    assert first != second
    assert first.startswith("issue:")


def test_a_source_of_many_wrong_codes_waits(small: Bank) -> None:
    """Whoever tries the devices of many applicants; the count is that of enrolment codes."""
    sitting = sit(small, desk_with(small.authority, small.applicant, source_tries=2), small.submission())
    sitting.answer("otp", WRONG)
    sitting.answer("sms", WRONG)
    with pytest.raises(TooManyTries):
        sitting.answer("otp", RIGHT)
    small.counter.clock.turn(hours=1)
    assert sitting.answer("otp", RIGHT).state == "passed"


def test_a_code_that_is_not_waited_for_costs_nothing(small: Bank) -> None:
    """It was compared with nothing: whoever is late by a minute does not wait an hour with everybody beside him."""
    (small.authority.folder / "authority.toml").write_text('test = true\n[messages.sms]\nkind = "console"\n')
    applicant = applicant_in(small.counter, "임꺽정", phone="010-1234-5678")
    with reopened(small) as authority:
        submission = small.submission(applicant=applicant)
        desk = replace(authority.factors, limits=EnrolmentPolicy(source_tries=2))
        sitting = sit(small, desk, submission)
        assert [sitting.answer("sms", WRONG).state for _ in range(4)] == ["over"] * 4
        sitting.prepare("sms")
        small.counter.clock.turn(minutes=3)
        assert [sitting.answer("sms", WRONG).state for _ in range(4)] == ["over"] * 4
        sitting.prepare("sms")
        assert [sitting.answer("sms", WRONG).left for _ in range(2)] == [4, 3]
        with pytest.raises(TooManyTries):
            sitting.answer("sms", WRONG)


def test_where_nothing_is_wanted_nothing_is_missing(small: Bank) -> None:
    """A profile without factors is as it always was."""
    sitting = sit(
        small, desk_with(small.authority, small.applicant), small.submission(profile="personal", applicant=None)
    )
    assert sitting.wanted().is_enough
    with pytest.raises(FactorUnavailable):
        sitting.answer("otp", RIGHT)


def test_a_code_by_message_passes_a_factor(small: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    """The authority's own messages, to where the office has written that the applicant is reached."""
    (small.authority.folder / "authority.toml").write_text('test = true\n[messages.sms]\nkind = "console"\n')
    applicant = applicant_in(small.counter, "임꺽정", phone="010-1234-5678")
    with reopened(small) as authority:
        submission = small.submission(applicant=applicant)
        sitting = authority.factors_for(submission)
        (offer,) = (one for one in sitting.wanted().offers if one.factor == "sms")
        assert offer.shown == "010-****-5678"
        prepared = sitting.prepare("sms")
        assert (prepared.shown, prepared.seconds) == ("010-****-5678", 180)
        code = next(word for word in capsys.readouterr().err.split() if word.isdigit() and len(word) == 6)
        assert sitting.answer("sms", Secret("000000" if code != "000000" else "111111")).left == 4
        assert sitting.answer("sms", Secret(code)).wanted.ways == (("otp",), ("card",))
        # What was passed with a number is worth nothing once the office has another for him.
        authority.counter.office.change_applicant(applicant, {"language": "en"})
        assert sitting.wanted().passed == ("sms",)
        authority.counter.office.change_applicant(applicant, {"phone": "010-8765-4321"})
        assert sitting.wanted().passed == ()


def reopened(bank: Bank) -> LocalAuthority:
    """With the settings as they are by now, and a secret for messages."""

    class Keys:
        def __call__(self, address: str) -> Any:
            return bank.counter.keys[address]

        def open(self, address: str) -> MemoryKey:
            return MemoryKey()

        def make(self, beside: str, key_id: bytes, label: str) -> str:
            return "pkcs11:object=codes"

    return open_authority(bank.authority.folder.parent, "test", Keys(), clock=bank.counter.clock)
