"""How often codes are sent: to one place, for one who asks; and that every answer says rightly when to come again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from tests.authority.messages.conftest import QUICK, another

from dojang.errors import MessageCodeRefused, MessageUnsent, TooManyMessages
from dojang.otp.messages.desk import Recipient
from dojang.otp.messages.policy import MessagePolicy
from dojang.otp.messages.room import MOST_OF_A_CHANNEL
from dojang.otp.messages.sending import Message
from dojang.otp.tables import message_sent


def wait(bureau, *arguments: str, **named: object) -> int:
    """The seconds after which another may be asked for."""
    with pytest.raises(TooManyMessages) as refused:
        bureau.start(*arguments, **named)
    return refused.value.facts["seconds"]


def test_not_again_at_once(bureau) -> None:
    """Half a minute lies between two codes for one number, for whatever purpose; the first one goes on working."""
    bureau.start()
    bureau.turn(seconds=7)
    assert wait(bureau) == 23
    assert wait(bureau, "ars", "renew:1") == 23
    bureau.start("mail", "renew:2")
    bureau.turn(seconds=22)
    assert wait(bureau) == 1
    bureau.turn(seconds=1)
    bureau.start()
    assert bureau.answer(bureau.sent_code())


def test_so_many_to_one_number(bureau) -> None:
    """Five within an hour; the sixth when the first is an hour old. A call and a message count alike."""
    for number in range(5):
        bureau.start(("sms", "ars")[number % 2], f"issue:{number}", source=None)
        bureau.turn(minutes=1)
    assert wait(bureau, source=None) == 55 * 60
    bureau.turn(minutes=55, seconds=-1)
    assert wait(bureau, source=None) == 1
    bureau.turn(seconds=1)
    bureau.start(source=None)


def test_so_many_a_day(bureau) -> None:
    """Ten within 24 hours, however patiently somebody asks, by whatever channel and for whatever purpose."""
    for number in range(10):
        bureau.start(("sms", "ars")[number % 2], f"issue:{number}", source=None)
        bureau.turn(hours=2)
    assert wait(bureau, source=None) == 4 * 3600
    bureau.start("mail", source=None)
    bureau.turn(hours=4)
    bureau.start(source=None)


def test_so_many_for_one_who_asks(bureau) -> None:
    """Whoever has many numbers written to is stopped; others are not."""
    bureau.policy = replace(bureau.policy, per_source=3)
    people = [Recipient(str(number), {"phone": f"010-1234-56{number:02}"}) for number in range(5)]
    for one in people[:3]:
        bureau.start(who=one)
        bureau.turn(minutes=1)
    assert wait(bureau, who=people[3]) == 57 * 60
    bureau.start(who=people[3], source="198.51.100.9")
    bureau.start(who=people[4], source=None)


def test_what_was_refused_costs_nothing(small) -> None:
    """Asking too soon moves no limit, and makes no code worthless."""
    small.start()
    for _ in range(10):
        wait(small)
    small.turn(seconds=30)
    small.start()
    assert len(small.postman.messages) == 2


def test_what_was_not_sent_counts(small) -> None:
    """A gateway that fails is not asked as often as somebody likes."""
    small.postman.fails = small.postman.refusal()
    with pytest.raises(MessageUnsent):
        small.start()
    assert wait(small) == 30


def test_a_gateway_that_hangs_holds_up_few(small) -> None:
    """Whoever comes while too many wait for it is sent away at once, at no cost; another way has room still."""
    small.policy = replace(small.policy, **QUICK)
    waiting, let_go = threading.Semaphore(0), threading.Event()

    def hang(message: Message) -> None:
        if message.target.channel == "sms":
            waiting.release()
            assert let_go.wait(30)

    small.postman.before = hang
    with ThreadPoolExecutor() as hands:
        held = [hands.submit(small.start, "sms", f"issue:{number}") for number in range(MOST_OF_A_CHANNEL)]
        for _ in held:
            assert waiting.acquire(timeout=30)
        assert wait(small, "sms", "issue:9") == 2
        assert [event for event, _ in small.audited()] == ["message-made"] * MOST_OF_A_CHANNEL
        small.start("mail")
        let_go.set()
    assert all(one.result().channel == "sms" for one in held)
    small.start("sms", "issue:9")


def test_a_clock_set_back_frees_nobody(small) -> None:
    """What was sent in what is now the future counts; a clock that was far ahead locks nobody out for long."""
    small.policy = replace(small.policy, per_target=2)
    small.start()
    small.turn(minutes=1)
    small.start()
    small.turn(minutes=-30)
    assert wait(small) > 30 * 60
    small.turn(days=-365)
    small.start()


def test_other_numbers_of_the_same_person(small) -> None:
    """Spelling makes no difference: the number is one."""
    small.start()
    for spelling in ("+82 10-1234-5678", "01012345678", "+82 (0)10 1234 5678"):
        assert wait(small, who=Recipient("2", {"phone": spelling})) == 30


def test_a_mail_box_is_one(small) -> None:
    """In capitals or not, and with a word of its own behind a plus."""
    small.start("mail")
    for number, spelling in enumerate(("Hong@Example.com", "hong+bank@example.com", "HONG+1@example.com")):
        assert wait(small, "mail", who=Recipient(str(number), {"email": spelling})) == 30
    small.start("mail", who=Recipient("9", {"email": "hong.gildong@example.com"}))
    assert small.postman.messages[-1].target.address == "hong.gildong@example.com"


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.integers(1, 400)),
        st.tuples(st.just("ask"), st.sampled_from(("issue", "renew"))),
        st.tuples(st.just("right"), st.sampled_from(("issue", "renew"))),
        st.tuples(st.just("wrong"), st.sampled_from(("issue", "renew"))),
    ),
    max_size=40,
)


class Model:
    """What must be true of one applicant's codes, in a few lines."""

    def __init__(self, policy: MessagePolicy) -> None:
        self.policy, self.sent, self.codes = policy, list[datetime](), dict[str, list]()

    def may_ask(self, at: datetime) -> bool:
        recent = [one for one in self.sent if one > at - self.policy.window]
        if len([one for one in self.sent if one > at - timedelta(days=1)]) >= self.policy.per_day:
            return False
        return len(recent) < self.policy.per_target and (not recent or recent[-1] <= at - self.policy.again)

    def asked(self, purpose: str, code: str, at: datetime) -> None:
        self.sent.append(at)
        self.codes[purpose] = [code, at, self.policy.tries]

    def passes(self, purpose: str, at: datetime, *, right: bool) -> bool:
        code = self.codes.get(purpose)
        if code is None or at >= code[1] + self.policy.lifetime or code[2] == 0:
            return False
        code[2] = 0 if right else code[2] - 1
        return right


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_any_order_of_events(small, moves: list[tuple[str, object]]) -> None:
    """Whatever happens in whatever order: no message too many, and a code passes when it must and only then."""
    small.policy = MessagePolicy(tries=3, per_target=4, window=timedelta(minutes=10), per_day=6)
    with small.database.writing() as connection:
        connection.execute(delete(message_sent))
    model, who = Model(small.policy), Recipient(f"{len(small.postman.messages)}-{small.at}", {"phone": "010-1234-5678"})
    for move, fact in moves:
        if move == "turn":
            small.turn(seconds=fact)
        elif move == "ask":
            allowed = model.may_ask(small.at)
            assert _asked(small, who, fact) is allowed
            if allowed:
                model.asked(fact, small.sent_code(), small.at)
        else:
            code = model.codes.get(fact, ["000000"])[0]
            typed = code if move == "right" else another(code)
            assert _passed(small, who, fact, typed) is model.passes(fact, small.at, right=move == "right")
    small.turn(hours=1)


def _asked(bureau, who: Recipient, purpose: str) -> bool:
    try:
        bureau.start(purpose=purpose, who=who)
    except TooManyMessages:
        return False
    return True


def _passed(bureau, who: Recipient, purpose: str, code: str) -> bool:
    try:
        bureau.answer(code, purpose, who=who)
    except MessageCodeRefused:
        return False
    return True


def test_old_rows_are_forgotten(small) -> None:
    """What no limit and no question needs any more is gone with the next code."""
    small.policy = replace(small.policy, **QUICK)
    for number in range(20):
        small.start(purpose=f"issue:{number}")
    small.turn(days=2)
    small.start()
    with small.database.reading() as connection:
        assert connection.execute(message_sent.select()).rowcount in (1, -1)
        assert len(connection.execute(message_sent.select()).all()) == 1
