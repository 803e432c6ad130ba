"""Codes by message: good once, for three minutes and five tries; the newest alone; and nothing told to who has none."""

import re

import pytest
from tests.authority.conversation.conftest import found_counter
from tests.authority.messages.conftest import HONG, PURPOSE, QUICK, another

from dojang.authority.audit import acting
from dojang.errors import AlreadyExists, AnswerPending, MessageCodeRefused, MessageUnsent, NotPermitted, Usage
from dojang.otp.messages.desk import Recipient
from dojang.secret import Secret


def test_a_code_works_once(bureau) -> None:
    """Whoever types it has passed; it never works again, and both are on record with the number masked."""
    sent = bureau.start()
    assert (sent.channel, sent.target, sent.shown) == ("sms", "010-****-5678", None)
    passed = bureau.answer(bureau.sent_code())
    assert (passed.applicant, passed.purpose, passed.channel) == (HONG.id, PURPOSE, "sms")
    assert bureau.why_not(bureau.sent_code()) == "used 0"
    events = [event for event, _ in bureau.audited()]
    assert events == ["message-made", "message-sent", "message-passed"]
    assert bureau.counted == [("sms", "sent")]


def test_neither_code_nor_number_is_kept(small) -> None:
    """The database file holds no code, no number and no mail address; the tag of a number is keyed."""
    small.start()
    small.start("mail", "renew:1")
    small.answer(small.sent_code(), "renew:1")
    codes = [message.code.reveal() for message in small.postman.messages]
    small.database.close()
    content = b"".join(path.read_bytes() for path in small.database.place.parent.glob("small.sqlite*"))
    for secret in (*codes, b"1234-5678", b"12345678", b"hong@"):
        assert secret not in content


def test_nothing_that_is_shown_has_the_number_or_the_code(small) -> None:
    """Neither errors nor what stands for a message in a traceback."""
    small.start()
    small.turn(minutes=1)
    small.postman.fails = small.postman.refusal()
    with pytest.raises(MessageUnsent) as unsent:
        small.start()
    shown = f"{unsent.value} {small.postman.messages} {small.audited()}"
    assert "010-****-5678" in shown
    assert not re.search(r"12345678|1234-5678", shown)
    assert small.sent_code() not in shown


def test_five_wrong_tries_and_it_is_worthless(bureau) -> None:
    """Each is told how many are left; afterwards the right code is refused like any other."""
    bureau.start()
    code = bureau.sent_code()
    answers = [bureau.why_not(another(code)) for _ in range(5)]
    assert answers == ["live 4", "live 3", "live 2", "live 1", "spent 0"]
    assert bureau.why_not(code) == bureau.why_not(another(code)) == "spent 0"
    assert [event for event, _ in bureau.audited()].count("message-wrong") == 5


def test_a_right_code_after_wrong_ones(small) -> None:
    """Four wrong tries, then the right one."""
    small.start()
    for _ in range(4):
        small.why_not(another(small.sent_code()))
    assert small.answer(small.sent_code())


def test_three_minutes(small) -> None:
    """It works in the last second, and not in the next, right or wrong alike; no try is spent on what has expired."""
    small.policy = small.policy.__class__(**QUICK)
    small.start()
    small.turn(minutes=3)
    assert small.why_not(small.sent_code()) == small.why_not(another(small.sent_code())) == "expired 0"
    small.start()
    small.turn(minutes=3, seconds=-1)
    assert small.answer(small.sent_code())


def test_a_clock_set_back_makes_no_code_last_longer(small) -> None:
    """A code from the future is refused; half a minute between the clocks of two hosts is not the future."""
    small.start()
    small.turn(seconds=-30)
    assert small.why_not(another(small.sent_code())) == "live 4"
    small.turn(seconds=-1)
    assert small.why_not(small.sent_code()) == "early 0"


def test_a_new_code_makes_the_old_one_worthless(bureau) -> None:
    """For the same purpose of the same applicant; the old code counts as a wrong try of the new one."""
    bureau.start()
    old = bureau.sent_code()
    bureau.turn(minutes=1)
    bureau.start()
    while (new := bureau.sent_code()) == old:  # one time in a million
        bureau.turn(minutes=1)
        bureau.start()
    assert bureau.why_not(old) == "live 4"
    assert bureau.answer(new)


def test_each_purpose_has_a_code_of_its_own(small) -> None:
    """And each applicant; neither works for the other."""
    kim = Recipient("0000000001", {"phone": "010-9999-0000"})
    small.start()
    first = small.sent_code()
    small.start(who=kim)
    small.start("mail", "renew:1")
    third = small.sent_code()
    if first != third:
        assert small.why_not(first, "renew:1") == "live 4"
    assert small.answer(third, "renew:1")
    assert small.answer(first)
    assert small.answer(small.postman.messages[1].code.reveal().decode(), who=kim)


@pytest.mark.parametrize("code", ["", "1", "12345", "1234567", "abcdef", "123456\n", "１２３４５６", "0" * 5000])
def test_what_is_no_code_is_a_wrong_code(small, code: str) -> None:
    """Nothing but the six digits passes."""
    small.start()
    assert small.why_not(code) == "live 4"


def test_without_a_code_nothing_passes(small) -> None:
    """Of an applicant who asked for none, and of one who does not exist, the same is told."""
    assert small.why_not("123456") == "none 0"
    with pytest.raises(MessageCodeRefused) as refused:
        small.answer("123456", who=Recipient("nobody", {}))
    assert refused.value.facts["state"] == "none"


def test_a_message_that_was_not_sent_has_a_worthless_code(bureau) -> None:
    """The error says what happened; the code does not work, whoever may have got it; another may be asked for."""
    bureau.postman.fails = bureau.postman.refusal()
    with pytest.raises(MessageUnsent, match=r"010-\*\*\*\*-5678 \(postman\): it answered with HTTP status 500"):
        bureau.start()
    assert bureau.why_not(bureau.sent_code()) == "unsent 0"
    events = bureau.audited()
    assert [event for event, _ in events] == ["message-made", "message-failed"]
    assert "HTTP status 500" in events[1][1]
    assert bureau.counted == [("sms", "failed")]
    bureau.turn(seconds=30)
    bureau.postman.fails = None
    bureau.start()
    assert bureau.answer(bureau.sent_code())


def test_a_sender_that_breaks_leaves_no_code_either(small) -> None:
    """Also what no sender should raise."""
    small.postman.fails = RuntimeError("a mistake")
    with pytest.raises(RuntimeError):
        small.start()
    assert small.why_not(small.sent_code()) == "unsent 0"


def test_the_code_is_durable_before_it_is_sent(bureau) -> None:
    """Whoever reads the message at once can type it at once; no transaction is open meanwhile."""
    seen: list[str] = []

    def read(_message: object) -> None:
        with bureau.database.writing():  # nobody else writes
            seen.append("free")
        seen.append(bureau.audited()[-1][0])

    bureau.postman.before = read
    bureau.start()
    assert seen == ["free", "message-made"]


def test_who_cannot_be_reached(small) -> None:
    """Without a number, or with one that is none, nothing is made; it says what the office has to mend."""
    for contact in ({}, {"phone": "five"}, {"phone": "+1 212 555 0100"}, {"phone": "060-700-1234"}):
        with pytest.raises(NotPermitted, match="cannot be reached"):
            small.start(who=Recipient("1", contact))
    with pytest.raises(NotPermitted, match="mail address"):
        small.start("mail", who=Recipient("1", {"phone": "010-1234-5678", "email": "a@b\r\nBcc: c@example.com"}))
    assert small.audited() == []


def test_what_is_recorded_with_a_code_is_recorded_with_it_or_not_at_all(bureau) -> None:
    """An entry that fails leaves the code as it was, but for the try."""
    bureau.start()
    seen = []

    def fail(_connection: object, passed: object) -> None:
        seen.append(passed)
        raise MemoryError

    with pytest.raises(MemoryError):
        bureau.desk.answer(HONG.id, PURPOSE, Secret(bureau.sent_code()), fail)
    assert bureau.answer(bureau.sent_code()).id == seen[0].id


def test_the_words_of_a_message(small) -> None:
    """In the applicant's language: who sends it, what for, how long; a mail's subject has no code."""
    small.start("mail")
    english = Recipient("2", {"email": "Kim@Example.COM", "language": "en"})
    small.start("mail", who=english)
    korean, foreign = small.postman.messages
    assert "3분" in korean.text
    assert "누구에게도" in korean.text
    assert "within 3 minutes" in foreign.text
    assert "Never tell it to anybody" in foreign.text
    assert foreign.target.address == "Kim@example.com"
    for message in (korean, foreign):
        assert message.code.reveal().decode() in message.text
        assert message.code.reveal().decode() not in message.subject
        assert "test" in message.subject


# Calls


def test_the_digits_of_a_call_are_pressed_not_typed(bureau) -> None:
    """They are shown, not told to the gateway; pressed, they pass once; typed, they do not, at no cost."""
    sent = bureau.start("ars")
    digits = sent.shown.reveal().decode()
    message = bureau.postman.messages[0]
    assert message.code is None
    assert digits not in message.text
    assert bureau.why_not(digits) == "live 5"
    with pytest.raises(AnswerPending):
        bureau.desk.answer(HONG.id, PURPOSE, None)
    assert bureau.codes.press(sent.id, Secret(another(digits)), "01" * 16) == "again"
    assert bureau.codes.press(sent.id, sent.shown, "02" * 16) == "right"
    assert bureau.desk.answer(HONG.id, PURPOSE, None).channel == "ars"
    with pytest.raises(MessageCodeRefused):
        bureau.desk.answer(HONG.id, PURPOSE, None)
    events = [event for event, _ in bureau.audited()]
    assert events[2:] == ["message-wrong", "message-pressed", "message-passed"]


def test_an_outcome_counts_once(bureau) -> None:
    """The same nonce again is refused, whatever it says; no try is spent on it."""
    sent = bureau.start("ars")
    wrong = Secret(another(sent.shown.reveal().decode()))
    assert bureau.codes.press(sent.id, wrong, "01" * 16) == "again"
    for again in (wrong, sent.shown):
        with pytest.raises(AlreadyExists):
            bureau.codes.press(sent.id, again, "01" * 16)
    for number in range(2, 5):
        assert bureau.codes.press(sent.id, wrong, f"{number:02x}" * 16) == "again"
    assert bureau.codes.press(sent.id, wrong, "06" * 16) == "over"
    assert bureau.codes.press(sent.id, sent.shown, "07" * 16) == "over"
    with pytest.raises(AlreadyExists):
        bureau.codes.press(sent.id, sent.shown, "07" * 16)


def test_a_call_that_nobody_took(bureau) -> None:
    """Its code is worthless; of a call that never was, the gateway is told the same."""
    sent = bureau.start("ars")
    assert bureau.codes.unanswered(sent.id, "01" * 16) == "over"
    assert bureau.codes.press(sent.id, sent.shown, "02" * 16) == "over"
    assert bureau.codes.press("ff" * 16, sent.shown, "03" * 16) == "over"
    assert bureau.codes.unanswered("ff" * 16, "04" * 16) == "over"
    with pytest.raises(MessageCodeRefused) as refused:
        bureau.desk.answer(HONG.id, PURPOSE, None)
    assert refused.value.facts["state"] == "unsent"


def test_no_outcome_of_a_call_passes_a_text_message(small) -> None:
    """A code that was sent is typed by who got it; a gateway that knows its id can do nothing with it."""
    sent = small.start()
    assert small.codes.press(sent.id, Secret(small.sent_code()), "01" * 16) == "over"
    assert small.codes.unanswered(sent.id, "02" * 16) == "over"
    with pytest.raises(MessageCodeRefused, match="to be typed"):
        small.desk.answer(HONG.id, PURPOSE, None)
    assert small.answer(small.sent_code())


def test_digits_are_pressed_in_time(small) -> None:
    """Within three minutes; who pressed them has as long again to come back."""
    small.policy = small.policy.__class__(**QUICK)
    late, sent = small.start("ars", "renew:1"), small.start("ars")
    small.turn(minutes=3, seconds=-1)
    assert small.codes.press(sent.id, sent.shown, "01" * 16) == "right"
    small.turn(seconds=1)
    assert small.codes.press(late.id, late.shown, "02" * 16) == "over"
    small.turn(minutes=2)
    assert small.desk.answer(HONG.id, PURPOSE, None)
    other = small.start("ars")
    small.codes.press(other.id, other.shown, "03" * 16)
    small.turn(minutes=6)
    with pytest.raises(MessageCodeRefused):
        small.desk.answer(HONG.id, PURPOSE, None)


def test_the_language_of_an_applicant(tmp_path) -> None:
    """The office writes it down; Korean unless it did, and nothing but the two."""
    counter = found_counter(tmp_path / "authorities")
    with acting("test"):
        kim = counter.office.add_applicant("person", "Kim", {"phone": "010-1234-5678", "language": "en"})
        with pytest.raises(Usage, match="ko, en"):
            counter.office.add_applicant("person", "Lee", {"language": "jp"})
    assert counter.office.applicant(kim.id)[0].contact["language"] == "en"
    counter.authority.close()
