"""Factors over CMP: asked and answered in genm, for the request that follows."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from tests.authority.conversation.conftest import SOURCE, Counter, Subscriber, failure_in
from tests.authority.factors.conftest import Bank
from tests.authority.factors.devices import RIGHT, WRONG, KnownCode, seat

from dojang.authority.factors.checkers import Occasion
from dojang.authority.tables import cmp_transaction
from dojang.cmp import bodies
from dojang.cmp.bodies import General, Information, Kind
from dojang.cmp.factors import (
    FACTOR_ANSWERED,
    FACTOR_PREPARED,
    FACTORS_WANTED,
    FactorRequest,
    Outcome,
    Prepared,
    Wanted,
    wanted_in,
)
from dojang.cmp.faults import FailInfo
from dojang.cmp.messages import read_message
from dojang.x509.keys import spki_of


@pytest.fixture
def counter(small: Bank) -> Counter:
    """With devices whose codes are known."""
    seat(small.counter, small.applicant)
    return small.counter


@pytest.fixture
def bearer(small: Bank, counter: Counter) -> Subscriber:
    handed = counter.hand_out(profile_name="bank", applicant=small.applicant)
    return Subscriber(counter, handed.enrolment.reference, handed.code)


def question(subscriber: Subscriber, kind: str, occasion: str = "issue", **more: Any) -> General:
    spki = spki_of(subscriber.key.public_key())
    return General(Kind.GENM, (Information(kind, FactorRequest(occasion, spki, **more).to_der()),))


def ask(subscriber: Subscriber, kind: str, occasion: str = "issue", **more: Any) -> bytes | None:
    """What the one answer to the one question holds."""
    answer = subscriber.again().ask(question(subscriber, kind, occasion, **more))
    assert isinstance(answer.body, General), answer.body
    (item,) = answer.body.items
    assert item.kind == kind
    return item.value_der


def passes(subscriber: Subscriber, *factors: str, occasion: str = "issue") -> None:
    for factor in factors:
        device = "second" if factor == "card" else None
        der = ask(subscriber, FACTOR_ANSWERED, occasion, factor=factor, device=device, code=RIGHT)
        assert Outcome.from_der(der).state == "passed"


def test_a_request_without_factors_is_refused_and_told_what_is_missing(bearer: Subscriber) -> None:
    """For people in the text, and for programs in the header; nothing is issued."""
    answer = bearer.ask(bearer.request())
    assert failure_in(answer) == FailInfo.NOT_AUTHORIZED
    assert isinstance(answer.body, bodies.Failure)
    assert "otp + sms | card + sms" in answer.body.status.text[0]
    wanted = wanted_in(answer.header.information)
    assert wanted is not None
    assert wanted.ways == (("otp", "sms"), ("card", "sms"))
    assert wanted.offers == ()


def test_factors_are_passed_and_it_is_issued(small: Bank, bearer: Subscriber) -> None:
    """Asked, prepared, answered wrongly and rightly; then a plain request is granted."""
    wanted = Wanted.from_der(ask(bearer, FACTORS_WANTED))
    assert {(one.factor, one.shown) for one in wanted.offers} >= {("sms", "*one"), ("card", "*first")}
    assert Prepared.from_der(ask(bearer, FACTOR_PREPARED, factor="card", device="first")).places == (8, 35)
    wrong = Outcome.from_der(ask(bearer, FACTOR_ANSWERED, factor="card", device="first", code=WRONG))
    assert (wrong.state, wrong.left) == ("wrong", 2)
    passes(bearer, "card", "sms")
    granted = bearer.again().enrol()
    assert granted.state() == "confirmed"
    assert len(small.issued()) == 1


def test_it_is_refused_again_in_the_same_transaction_and_then_granted(bearer: Subscriber) -> None:
    """What was refused has left no trace, so the same request can follow once it may."""
    der = bearer.message(bearer.request())
    assert failure_in(bearer.send(der)) == FailInfo.NOT_AUTHORIZED
    passes(bearer, "otp", "sms")
    bearer.granted(bearer.send(der))


def test_what_was_passed_is_for_one_key(bearer: Subscriber) -> None:
    """Another key has to have its own."""
    passes(bearer, "otp", "sms")
    other = bearer.again(key=ec.generate_private_key(ec.SECP256R1()))
    assert failure_in(other.ask(other.request())) == FailInfo.NOT_AUTHORIZED


def test_the_same_message_is_answered_once(small: Bank, bearer: Subscriber) -> None:
    """A wrong code that comes twice over a bad line is one wrong code."""
    subscriber = bearer.again()
    der = subscriber.message(question(bearer, FACTOR_ANSWERED, factor="otp", code=WRONG))
    first, second = (small.counter.conversation.answer(der, SOURCE) for _ in range(2))
    assert first == second
    assert small.authority.factors.checkers["otp"].left == 2  # type: ignore[attr-defined]


def test_a_code_that_others_could_read_is_not_taken(small: Bank, bearer: Subscriber) -> None:
    """Over plain HTTP from elsewhere nothing is prepared or answered; what is wanted is told."""
    for kind, more in ((FACTOR_ANSWERED, {"code": RIGHT}), (FACTOR_PREPARED, {})):
        subscriber = bearer.again()
        der = subscriber.message(question(bearer, kind, factor="otp", **more))
        answer = read_message(small.counter.conversation.answer(der, SOURCE, is_private=False))
        assert failure_in(answer) == FailInfo.NOT_AUTHORIZED
    assert Wanted.from_der(ask(bearer, FACTORS_WANTED)).passed == ()


def test_what_an_applicant_has_is_not_shown_to_others(small: Bank, bearer: Subscriber) -> None:
    """Over plain HTTP from elsewhere it is told what is wanted, not which devices he has nor how he is reached."""
    der = bearer.again().message(question(bearer, FACTORS_WANTED))
    answer = read_message(small.counter.conversation.answer(der, SOURCE, is_private=False))
    assert isinstance(answer.body, General)
    wanted = Wanted.from_der(answer.body.items[0].value_der)
    assert wanted.ways == (("otp", "sms"), ("card", "sms"))
    assert wanted.offers == ()


def test_the_digits_of_a_call_are_not_kept(small: Bank, counter: Counter) -> None:
    """They are in the answer and on the screen; of the answer that is kept for a message that comes again, not."""
    (small.authority.folder / "profiles" / "call.toml").write_text('like = "personal"\n[factors]\nany = ["ars"]\n')
    checkers = counter.authority.factors.checkers
    assert isinstance(checkers, dict)
    checkers["ars"] = Caller("ars", counter.authority.database, {small.applicant: ("",)})
    handed = counter.hand_out(profile_name="call", applicant=small.applicant)
    caller = Subscriber(counter, handed.enrolment.reference, handed.code)
    der = caller.message(question(caller, FACTOR_PREPARED, factor="ars"))
    answers = [read_message(counter.conversation.answer(der, SOURCE)).body for _ in range(2)]
    found = [Prepared.from_der(one.items[0].value_der) for one in answers if isinstance(one, General)]
    assert [one.digits for one in found] == ["135790", None]
    assert checkers["ars"].prepared == ["called"]
    with counter.authority.database.reading() as connection:
        kept = list(connection.execute(select(cmp_transaction.c.response_der)).scalars())
    assert kept
    assert all(b"135790" not in one for one in kept)


class Caller(KnownCode):
    """Calls, and says what is to be pressed."""

    def prepare(self, occasion: Occasion, device: str) -> Prepared:
        self.prepared.append("called")
        return Prepared(self.factor, "*1", seconds=180, digits="135790")


def test_a_wrong_secret_is_told_nothing(bearer: Subscriber) -> None:
    """Not even what is wanted."""
    stranger = bearer.again(code=WRONG)
    answer = stranger.ask(question(bearer, FACTORS_WANTED))
    assert failure_in(answer) == FailInfo.BAD_MESSAGE_CHECK
    assert answer.header.information == ()


def test_a_code_is_for_a_first_certificate(bearer: Subscriber) -> None:
    """And a first certificate is for a code."""
    assert failure_in(bearer.again().ask(question(bearer, FACTORS_WANTED, "reissue"))) == FailInfo.BAD_REQUEST
    assert failure_in(bearer.again().ask(question(bearer, FACTORS_WANTED, "revoke"))) == FailInfo.BAD_REQUEST


def test_a_factor_must_be_named(bearer: Subscriber) -> None:
    """And be one that is asked for."""
    assert failure_in(bearer.again().ask(question(bearer, FACTOR_PREPARED))) == FailInfo.BAD_REQUEST
    other = bearer.again().ask(question(bearer, FACTOR_ANSWERED, factor="ars", code=RIGHT))
    assert failure_in(other) == FailInfo.ADD_INFO_NOT_AVAILABLE


@pytest.mark.parametrize("kind", [FACTORS_WANTED, FACTOR_PREPARED, FACTOR_ANSWERED])
@pytest.mark.parametrize("value", [None, b"\x05\x00", b"\x30\x03\x0c\x01a"])
def test_what_cannot_be_read_is_refused(bearer: Subscriber, kind: str, value: bytes | None) -> None:
    """As every other message."""
    answer = bearer.again().ask(General(Kind.GENM, (Information(kind, value),)))
    assert failure_in(answer) == FailInfo.BAD_DATA_FORMAT


def test_a_holder_passes_factors_for_a_reissue(small: Bank, bearer: Subscriber) -> None:
    """Signed with the old key, who he is is known by the enrolment that it goes back to."""
    passes(bearer, "otp", "sms")
    holder = bearer.again().enrol()
    successor = holder.again(key=ec.generate_private_key(ec.SECP256R1()))
    assert failure_in(successor.ask(successor.request(Kind.CR))) == FailInfo.NOT_AUTHORIZED
    passes(successor, "card", "sms", occasion="reissue")
    successor.again().enrol(Kind.CR)
    assert len(small.issued()) == 2


@pytest.mark.parametrize("occasions", ['["issue", "reissue"]', '["issue"]', '["reissue"]'])
def test_no_factor_is_got_round_by_another_certificate(small: Bank, bearer: Subscriber, occasions: str) -> None:
    """Where the profile allows several, one that wants factors is had with a code or as a reissue that is named."""
    own = small.authority.folder / "profiles" / "bank.toml"
    passes(bearer, "otp", "sms")
    holder = bearer.again().enrol()
    own.write_text(f'like = "personal"\nseveral = true\n[factors]\nfor = {occasions}\nall = ["sms", "otp"]\n')
    another = holder.again(key=ec.generate_private_key(ec.SECP256R1()))
    answer = another.ask(another.request(Kind.CR, ""))
    assert (failure_in(answer), wanted_in(answer.header.information)) == (FailInfo.NOT_AUTHORIZED, None)
    assert len(small.issued()) == 1


def test_a_renewal_wants_none_unless_the_profile_says_so(small: Bank, bearer: Subscriber) -> None:
    """The old key speaks for itself."""
    passes(bearer, "otp", "sms")
    holder = bearer.again().enrol()
    successor = holder.again(key=ec.generate_private_key(ec.SECP256R1()))
    successor.enrol(Kind.KUR)
    assert len(small.issued()) == 2


def test_nobodys_code_is_refused(counter: Counter) -> None:
    """An enrolment that names no applicant has nobody who could pass anything."""
    handed = counter.hand_out(profile_name="bank")
    subscriber = Subscriber(counter, handed.enrolment.reference, handed.code)
    answer = subscriber.ask(subscriber.request())
    assert isinstance(answer.body, bodies.Failure)
    assert "whose" in answer.body.status.text[0]
