"""Security cards: what is asked, what is taken, how often, and by how many at once."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang import errors
from dojang.authority.database import Database
from dojang.otp.cards import Card, CardPolicy, Cards, NewCard, codes
from dojang.otp.cards.policy import policy_from
from dojang.secret import Secret


def _printed(cards: Cards, applicant: str = "hong") -> NewCard:
    made = cards.make(applicant)
    cards.printed(made.card.number)
    return made


def _right(made: NewCard, asked: Card) -> Secret:
    return Secret(made.codes[asked.first - 1][:2] + made.codes[asked.second - 1][2:])


def _wrong(made: NewCard, asked: Card) -> Secret:
    return Secret(f"{(int(_right(made, asked).reveal()) + 1) % 10000:04d}")


@pytest.fixture
def other(cards: Cards, records: Database) -> Iterator[Cards]:
    """The same cards as another process has them: connections and turns of its own."""
    with contextlib.closing(Database.open(records.url)) as opened:
        yield Cards(opened, cards._keys, cards._note, cards._clock, cards.policy, "office")


def test_the_example_of_the_newspapers():
    """8 is 2442 and 35 is 8808: the answer is 2408."""

    class Plain:
        def seal(self, plain):
            return [code.rjust(codes.SEALED_BYTES) for code, _ in plain]

        def open(self, sealed):
            return [one.strip() for one, _ in sealed]

    table = [f"{at:04d}" for at in range(35)]
    table[7], table[34] = "2442", "8808"
    sealed = codes.sealed_codes(Plain(), "1", table)
    assert codes.answer_of(Plain(), "1", sealed, 8, 35) == b"2408"


def test_a_card_is_asked_the_same_until_it_is_answered(cards, notes):
    """A wrong answer changes nothing of it; a right one is taken once, and something is asked anew."""
    made = _printed(cards)
    number = made.card.number
    asked = cards.challenge(number)
    assert asked.first != asked.second
    with pytest.raises(errors.OtpWrong) as wrong:
        cards.verify(number, _wrong(made, asked))
    assert wrong.value.facts["left"] == 4
    again = cards.challenge(number)
    assert (again.first, again.second, again.challenged_at) == (asked.first, asked.second, asked.challenged_at)
    taken = cards.verify(number, _right(made, asked))
    assert (taken.first, taken.wrong_tries) == (None, 0)
    with pytest.raises(errors.NotPermitted):
        cards.verify(number, _right(made, asked))
    cards.challenge(number)
    assert [event for event, _ in notes.events] == ["card-made", "card-printed", "card-wrong", "card-answered"]


def test_a_card_is_locked_by_wrong_answers_and_unlocked_by_an_officer(cards, notes):
    """Locked, not even the right answer is taken; unlocked, the same is asked."""
    made = _printed(cards)
    number = made.card.number
    asked = cards.challenge(number)
    for left in (4, 3, 2, 1):
        with pytest.raises(errors.OtpWrong) as wrong:
            cards.verify(number, _wrong(made, asked))
        assert wrong.value.facts["left"] == left
    with pytest.raises(errors.OtpLocked):
        cards.verify(number, _wrong(made, asked))
    for refused in (lambda: cards.verify(number, _right(made, asked)), lambda: cards.challenge(number)):
        with pytest.raises(errors.OtpLocked):
            refused()
    assert cards.unlock(number).state == "active"
    assert cards.challenge(number).first == asked.first
    cards.verify(number, _right(made, asked))
    assert [event for event, _ in notes.events][-3:] == ["card-locked", "card-unlocked", "card-answered"]


def test_the_last_try_may_be_right(cards):
    """With one try left the right answer is taken, and none is counted any more."""
    made = _printed(cards)
    asked = cards.challenge(made.card.number)
    for _ in range(4):
        with pytest.raises(errors.OtpWrong):
            cards.verify(made.card.number, _wrong(made, asked))
    assert cards.verify(made.card.number, _right(made, asked)).wrong_tries == 0


def test_an_unprinted_card_is_nobodys(cards):
    """It is not asked for, is shown as it is, and goes when the next one of the same applicant is made."""
    left = cards.make("hong").card.number
    other = cards.make("kim").card.number
    with pytest.raises(errors.NotPermitted):
        cards.challenge(left)
    assert {one.number: one.state for one in cards.listed()} == {left: "unprinted", other: "unprinted"}
    made = _printed(cards)
    assert {one.number for one in cards.listed()} == {made.card.number, other}
    with pytest.raises(errors.NotPermitted):
        cards.printed(left)
    assert cards.card(left).state == "removed"
    cards.remove(made.card.number)
    with pytest.raises(errors.NotPermitted):
        cards.challenge(made.card.number)
    with pytest.raises(errors.NotFound):
        cards.challenge("123")


def test_no_code_is_in_the_database_in_plain(cards, records: Database, tmp_path):
    """What is stored opens under its key alone, each code at its place of its card alone."""
    made = _printed(cards)
    with records.reading() as connection:
        row = connection.exec_driver_sql("SELECT sealed FROM security_card").one()
    sealed = bytes(row.sealed)
    assert len(sealed) == 35 * codes.SEALED_BYTES
    assert not [code for code in made.codes if code.encode() in sealed]
    _kek, sealer = cards._keys.current()
    part = sealed[: codes.SEALED_BYTES]
    for other in (codes.bound_to(made.card.number, 2), codes.bound_to("1" * 12, 1)):
        with pytest.raises(errors.DeviceError):
            sealer.open([(part, other)])
    assert sealer.open([(part, codes.bound_to(made.card.number, 1))]) == [made.codes[0].encode()]
    assert not any(code in repr(made) for code in made.codes)


def test_a_card_works_under_the_next_key(cards, records: Database):
    """Sealed anew, it is asked and answered as before."""
    made = _printed(cards)
    asked = cards.challenge(made.card.number)
    assert cards.seal_anew("one", "two") == 1
    assert cards.seal_anew("one", "two") == 0
    cards.verify(made.card.number, _right(made, asked))


def test_a_key_that_is_replaced_while_a_card_is_looked_at(cards, records: Database, monkeypatch):
    """Whoever has read the card before finds the old key gone, and reads again; where it stays gone, that is told."""
    made = _printed(cards)
    asked = cards.challenge(made.card.number)
    keys, gone = cards._keys, errors.NotFound(what="the key", where="office", command="dojang otp list")

    def of(kek: str):
        if kek == "one":
            monkeypatch.setattr(keys, "of", plain)
            cards.seal_anew("one", "two")
            raise gone
        return plain(kek)

    plain = keys.of
    monkeypatch.setattr(keys, "of", of)
    cards.verify(made.card.number, _right(made, asked))

    def none_left(kek: str):
        raise gone

    cards.challenge(made.card.number)
    monkeypatch.setattr(keys, "of", none_left)
    with pytest.raises(errors.NotFound):
        cards.verify(made.card.number, Secret("0000"))


def test_one_answer_given_by_many_at_once_is_taken_once(cards, other):
    """Over two databases opened at one place: nobody else has it taken, and nobody's try is counted for it."""
    made = _printed(cards)
    asked = cards.challenge(made.card.number)
    right = _right(made, asked)

    def give(turn: int) -> str:
        try:
            (cards, other)[turn % 2].verify(made.card.number, right)
        except errors.DojangError as error:
            return error.code
        return "taken"

    with ThreadPoolExecutor(16) as pool:
        outcomes = Counter(pool.map(give, range(32)))
    assert outcomes == {"taken": 1, "not-permitted": 31}
    assert cards.card(made.card.number).wrong_tries == 0


def test_wrong_answers_of_many_at_once_are_all_counted(cards, other):
    """No more are compared than there are tries."""
    made = _printed(cards)
    asked = cards.challenge(made.card.number)

    def give(turn: int) -> str:
        with pytest.raises(errors.DojangError) as error:
            (cards, other)[turn % 2].verify(made.card.number, _wrong(made, asked))
        return error.value.code

    with ThreadPoolExecutor(16) as pool:
        outcomes = Counter(pool.map(give, range(32)))
    assert outcomes == {"otp-wrong": 4, "otp-locked": 28}


@given(st.integers(1, 10_000), st.integers(0, 40), st.binary(min_size=64, max_size=64))
def test_numbers_are_drawn_below_their_bound(below, count, seed):
    """As many as were asked for, whatever the generator gives."""
    state = [seed]

    def random(size: int) -> bytes:
        import hashlib

        state[0] = hashlib.sha512(state[0]).digest()
        return (state[0] * (size // 64 + 1))[:size]

    drawn = codes.draw(random, below, count)
    assert len(drawn) == count
    assert all(0 <= one < below for one in drawn)


def test_no_number_is_likelier_than_another():
    """Of all that two bytes can be, each code comes from equally many, and the rest are drawn again."""
    every = b"".join(one.to_bytes(2, "big") for one in range(1 << 16))
    used = iter([every])
    fair = codes.draw(lambda size: next(used), 10_000, 60_000)
    assert set(Counter(fair).values()) == {6}


@pytest.mark.parametrize(
    "table", [{"entries": 29}, {"entries": 36}, {"tries": 2}, {"tries": 6}, {"tries": True}, {"colour": 1}]
)
def test_unusual_cards_are_refused(table):
    """30 to 35 codes, locked at 3 to 5."""
    with pytest.raises(ValueError, match=r"must be a whole number|unknown setting"):
        policy_from(table)
    assert policy_from({"entries": 30, "tries": 3}) == CardPolicy(30, 3)


def test_a_new_card_ends_the_one_before(cards, notes):
    """From its print on, and not before: a card that was lost, or is locked, is worth nothing then. Only his own."""
    kims = _printed(cards, "kim").card.number
    old = _printed(cards)
    asked = cards.challenge(old.card.number)
    new = cards.make("hong")
    assert cards.card(old.card.number).state == "active"
    assert cards.printed(new.card.number).replaced == (old.card.number,)
    assert cards.printed(new.card.number).replaced == ()
    with pytest.raises(errors.NotPermitted):
        cards.verify(old.card.number, _right(old, asked))
    assert {one.number for one in cards.listed()} == {kims, new.card.number}
    assert ("card-removed", old.card.number) in notes.events
    for _ in range(5):
        with contextlib.suppress(errors.OtpWrong, errors.OtpLocked):
            cards.verify(new.card.number, _wrong(new, cards.challenge(new.card.number)))
    assert cards.card(new.card.number).state == "locked"
    _printed(cards)
    assert cards.card(new.card.number).state == "removed"


def test_blanks_between_the_digits_are_no_wrong_answer(cards):
    """As with codes of devices: people type the two halves apart."""
    made = _printed(cards)
    right = _right(made, cards.challenge(made.card.number)).reveal().decode()
    assert cards.verify(made.card.number, Secret(f" {right[:2]} {right[2:]}\n")).wrong_tries == 0
