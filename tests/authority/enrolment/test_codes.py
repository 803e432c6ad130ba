"""Reference numbers and authorization codes: proved, counted, locked, used up."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from dojang.authority.enrolment import EnrolmentPolicy, Terms, source_of
from dojang.authority.enrolment.codes import code_of, new_reference
from dojang.errors import CodeRefused, InvalidName, NotFound, NotPermitted, StateUnreadable, TooManyTries, Usage


def test_a_code_works_once(small) -> None:
    """The code that was handed out is the one to prove; it stands for its terms; used, it says so to who has it."""
    handed = small.hand_out(Terms("personal", "C=KR, CN=Hong", ("email:hong@example.com",)))
    reference, code = handed.enrolment.reference, handed.code.reveal()
    assert re.fullmatch(r"\d{10}", reference)
    assert re.fullmatch(rb"[0-9A-HJKMNP-TV-Z]{16}", code)
    assert small.guess(reference, code)
    assert small.enrolments.terms(reference) == handed.enrolment.terms
    taken = small.take(reference, "1a")
    assert (taken.state, taken.used_at) == ("used", small.at)
    with pytest.raises(CodeRefused) as refused:
        small.guess(reference, code)
    assert refused.value.facts["state"] == "used"
    with pytest.raises(CodeRefused):
        small.take(reference, "1b")
    assert small.audited()[-1] == ("enrolment-used", *small.audited()[-1][1:2], reference)


def test_a_code_is_computed_by_the_key(small) -> None:
    """Another key gives another code for the same reference; with another key on the token nobody is refused."""
    handed = small.hand_out()
    others = {code_of(type(small.key)(secret * 32), "0123456789", b"s" * 16).reveal() for secret in (b"a", b"b")}
    assert len(others) == 2
    small.key = type(small.key)(b"x" * 32)
    offer = small.enrolments.secret_for(handed.enrolment.reference, "203.0.113.7")
    with pytest.raises(StateUnreadable):
        _ = offer.secret


def test_the_fifth_wrong_code_locks(bureau) -> None:
    """From then on even the right code looks wrong; an officer unlocks it, time does not."""
    handed = bureau.hand_out()
    reference, code = handed.enrolment.reference, handed.code.reveal()
    assert not any(bureau.guess(reference, b"0" * 16) for _ in range(5))
    assert not bureau.guess(reference, code)
    assert bureau.office.enrolment(reference).state == "locked"
    with pytest.raises(CodeRefused):
        bureau.take(reference)
    bureau.turn(days=1)
    assert not bureau.guess(reference, code)
    assert bureau.office.unlock(reference).state == "ready"
    assert bureau.guess(reference, code)
    assert [event for event, _, _ in bureau.audited() if event.startswith("enrolment-")] == [
        *("enrolment-created", "enrolment-locked", "enrolment-unlocked"),
    ]


def test_a_limit_that_is_lowered_later(small) -> None:
    """What was wrong before it counts at the next wrong code, and a right one is still forgiven."""
    handed = small.hand_out()
    reference = handed.enrolment.reference
    for _ in range(4):
        assert not small.guess(reference, b"0" * 16)
    small.policy = EnrolmentPolicy(tries=2)
    assert small.guess(reference, handed.code.reveal())
    assert small.office.enrolment(reference).wrong_tries == 0
    for _ in range(2):
        assert not small.guess(reference, b"0" * 16)
    assert small.office.enrolment(reference).state == "locked"


def test_guessing_at_what_was_used_leads_nowhere(small) -> None:
    """After as many tries the right code looks wrong there, too; the answers tell nothing."""
    handed = small.hand_out()
    reference = handed.enrolment.reference
    small.take(reference)
    for _ in range(5):
        assert not small.guess(reference, b"0" * 16)
    assert not small.guess(reference, handed.code.reveal())
    assert small.office.enrolment(reference).state == "used"


def test_a_right_code_takes_back_its_own_wrong_tries_alone(small) -> None:
    """The reference is forgiven, the source is not: its own code does not let it guess at others for ever."""
    small.policy = EnrolmentPolicy(source_tries=6)
    mine, other = small.hand_out(), small.hand_out()
    for _ in range(2):
        assert not any(small.guess(mine.enrolment.reference, b"0" * 16) for _ in range(3))
        if small.office.enrolment(mine.enrolment.reference).wrong_tries == 3 and not _:
            assert small.guess(mine.enrolment.reference, mine.code.reveal())
            assert small.office.enrolment(mine.enrolment.reference).wrong_tries == 0
    with pytest.raises(TooManyTries):
        small.guess(other.enrolment.reference, other.code.reveal())
    assert small.guess(other.enrolment.reference, other.code.reveal(), "198.51.100.1")


def test_the_window_of_a_source_slides(bureau) -> None:
    """Wrong tries count for an hour each; who is blocked is not counted further."""
    bureau.policy = EnrolmentPolicy(source_tries=3)
    reference = bureau.hand_out().enrolment.reference
    for minutes in (0, 20, 20):
        bureau.turn(minutes=minutes)
        assert not bureau.guess(new_reference(), b"0" * 16)
    for _ in range(2):
        with pytest.raises(TooManyTries):
            bureau.guess(reference, b"0" * 16)
    bureau.turn(minutes=19, seconds=59)
    with pytest.raises(TooManyTries):
        bureau.guess(reference, b"0" * 16)
    bureau.turn(seconds=1)
    assert not bureau.guess(reference, b"0" * 16)
    with pytest.raises(TooManyTries):
        bureau.guess(reference, b"0" * 16)


def test_sources() -> None:
    """An IPv4 address, also one written as IPv6, and the /64 of an IPv6 address; anything else stands for itself."""
    assert source_of("192.0.2.1") == source_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_of("2001:db8:0:1::5") == source_of("2001:db8:0:1:ffff::") == "2001:db8:0:1::/64"
    assert source_of("2001:db8:0:2::5") != source_of("2001:db8:0:1::5")
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("local") == "local"


def test_unknown_and_locked_look_wrong(small) -> None:
    """For a reference that is unknown, odd or locked as much is computed, the same secret every time, and no code."""
    locked = small.hand_out()
    reference = locked.enrolment.reference
    for _ in range(5):
        small.guess(reference, b"0" * 16)
    for asked in (reference, "0000000000", "", "x" * 1000, "\ud800", "\0"):
        before = len(small.key.asked)
        offers = [small.enrolments.secret_for(asked, "203.0.113.7") for _ in range(2)]
        assert all(offer.secret == offer.secret for offer in offers)
        assert len(small.key.asked) == before + 2
        assert not any(offer.mark for offer in offers)
        assert offers[0].secret == offers[1].secret != locked.code
        with pytest.raises(CodeRefused) as refused:
            offers[0].check()
        assert refused.value.facts["state"] == "unknown"
        if asked != reference:
            small.enrolments.wrong(asked, "203.0.113.7")
            small.enrolments.right(asked, "203.0.113.7")
            with pytest.raises(CodeRefused):
                small.enrolments.terms(asked)
            with pytest.raises(CodeRefused):
                small.take(asked)


def test_a_code_lasts_its_days(bureau) -> None:
    """14 days unless said; then it is refused to who has it, cannot be used, and is written down as expired."""
    handed, longer = bureau.hand_out(), bureau.hand_out(valid_days=15)
    reference = handed.enrolment.reference
    assert handed.enrolment.expires_at - bureau.at == timedelta(days=14)
    bureau.turn(days=14, seconds=-1)
    assert bureau.guess(reference, handed.code.reveal())
    bureau.turn(seconds=1)
    with pytest.raises(CodeRefused) as refused:
        bureau.guess(reference, handed.code.reveal())
    assert refused.value.facts["state"] == "expired"
    with pytest.raises(CodeRefused):
        bureau.take(reference)
    assert [one.reference for one in bureau.office.enrolments(states=("expired",))] == [reference]
    assert bureau.enrolments.expire() == [reference]
    assert bureau.enrolments.expire() == []
    assert [one.reference for one in bureau.office.enrolments(states=("ready",))] == [longer.enrolment.reference]


def test_more_than_one_use_is_for_tests(small) -> None:
    """Only an authority for tests gives out a code that works N times; then it works N times and no more."""
    with pytest.raises(NotPermitted):
        small.hand_out(uses=2)
    small.policy = EnrolmentPolicy(is_test=True, uses=3)
    reference = small.hand_out().enrolment.reference
    assert [small.take(reference, f"{n:x}").state for n in range(3)] == ["ready", "ready", "used"]
    with pytest.raises(CodeRefused):
        small.take(reference, "3")


@pytest.mark.parametrize(
    ("terms", "error"),
    [
        (Terms("personal", "Hong"), InvalidName),
        (Terms("personal", "O=Example"), NotPermitted),
        (Terms("personal", "CN=Hong", ("dns:www.example.com",)), NotPermitted),
        (Terms("personal", "CN=Hong", ("nonsense",)), Usage),
        (Terms("personal", "CN=Hong", (), 2), Usage),
        (Terms("issuing", "CN=Another CA"), NotFound),
        (Terms("nothing", "CN=Hong"), NotFound),
        (Terms("tls-server", "CN=www.example.com"), NotPermitted),
        (Terms("personal-general", "CN=Hong,C=US"), NotPermitted),
        (Terms("personal-general", "CN=Hong*Gildong,C=KR"), NotPermitted),
        (Terms("email", "CN=Hong,emailAddress=hong at example"), Usage),
    ],
)
def test_terms_that_would_be_refused_later_are_refused_now(small, terms: Terms, error: type) -> None:
    """No code is handed out that the authority would not issue by."""
    with pytest.raises(error):
        small.hand_out(terms, pre_authorised=True)
    assert small.office.enrolments() == []


def test_the_code_is_in_no_database(bureau, tmp_path: Path, postgres) -> None:
    """Neither in the files of SQLite nor in a dump of PostgreSQL, after everything that can happen to it."""
    handed, used = bureau.hand_out(), bureau.hand_out()
    for _ in range(5):
        bureau.guess(handed.enrolment.reference, b"0" * 16)
    bureau.office.unlock(handed.enrolment.reference)
    bureau.guess(used.enrolment.reference, used.code.reveal())
    bureau.take(used.enrolment.reference)
    if bureau.database.is_embedded:
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    else:
        address = bureau.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        kept = subprocess.run(["pg_dump", address], capture_output=True, check=True).stdout
    assert used.enrolment.reference.encode() in kept
    for one in (handed, used):
        code = one.code.reveal()
        for form in (code, code.lower(), code.hex().encode(), code.hex().upper().encode()):
            assert form not in kept
    assert handed.code.reveal().decode() not in f"{handed!r}"


def test_what_is_recorded_twice_is_recorded_once(bureau) -> None:
    """A transaction that fails after a code was taken gives the code back."""
    reference = bureau.hand_out().enrolment.reference

    def take_and_fail() -> None:
        with bureau.database.writing() as connection:
            bureau.enrolments.take(connection, reference, serial="1a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        take_and_fail()
    assert bureau.take(reference).state == "used"
    with bureau.database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM audit WHERE event = 'enrolment-used'")).scalar() == 1
