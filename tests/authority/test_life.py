"""The life of a certificate: every move is legal or refused with its reason, whoever asks in whatever order."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojang.authority.life import hold_ends_at, months_later, moved, standing_of
from dojang.authority.store import Record
from dojang.errors import AuthorityRefused
from dojang.npki.validity import KST

BEGIN = datetime(2026, 1, 10, 3, 0, tzinfo=UTC)
MOVES = ("confirm", "suspend", "restore", "revoke")


def record(**changed: Any) -> Record:
    blank = Record("1a", "issuing", b"", "personal", "CN=a", BEGIN, BEGIN + timedelta(days=365), BEGIN, "issued")
    return replace(blank, **changed)


@dataclass
class Model:
    """The same life, told in another way: what holds, not what moves."""

    confirmed: bool = False
    held_at: datetime | None = None
    revoked_at: datetime | None = None
    compromised: bool = False

    def allows(self, move: str, at: datetime) -> bool:
        is_over = at > BEGIN + timedelta(days=365)
        if move == "revoke":
            return True
        if self.revoked_at is not None:
            return False
        if move == "confirm":
            return (self.confirmed and self.held_at is None) or (not is_over and self.held_at is None)
        if is_over:
            return False
        return move == "suspend" or self.held_at is None or at < months_later(self.held_at, 6)

    def carry_out(self, move: str, at: datetime, reason: str) -> None:
        if move == "confirm":
            self.confirmed = True
        elif move == "suspend":
            self.held_at = self.held_at or at
        elif move == "restore":
            self.held_at = None
        else:
            self.compromised |= reason == "keyCompromise"
            self.revoked_at = self.revoked_at or self.held_at or at

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "suspended" if self.held_at else "confirmed" if self.confirmed else "issued"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(MOVES),
            st.sampled_from(["superseded", "keyCompromise"]),
            st.sampled_from([0, 1, 30, 100, 181, 184, 200]),
        ),
        max_size=12,
    )
)
def test_any_sequence_of_moves_does_what_the_model_says(moves: list[tuple[str, str, int]]) -> None:
    """State, moment and reason agree after each move, and a refused move changes nothing."""
    one, model, at = record(), Model(), BEGIN
    for move, reason, days in moves:
        at += timedelta(days=days)
        try:
            after = moved(one, move, at, authority="office", reason=reason)
        except AuthorityRefused:
            assert not model.allows(move, at)
            continue
        assert model.allows(move, at)
        model.carry_out(move, at, reason)
        one = after
        assert one.state == model.state
        assert one.revoked_at == (model.revoked_at or model.held_at)
        assert (one.reason is None) == (one.revoked_at is None)
        if model.compromised:
            assert one.reason == "keyCompromise"


@given(st.sampled_from(MOVES), st.integers(0, 400), st.sampled_from(["issued", "confirmed", "suspended", "revoked"]))
def test_a_move_made_twice_is_made_once(move: str, days: int, state: str) -> None:
    """Asked again at the same moment, the very same record comes back."""
    ended = {"reason": "certificateHold", "revoked_at": BEGIN} if state in ("suspended", "revoked") else {}
    at = BEGIN + timedelta(days=days)
    try:
        once = moved(record(state=state, **ended), move, at, authority="office")
    except AuthorityRefused:
        return
    assert moved(once, move, at, authority="office") is once


@pytest.mark.parametrize(
    ("state", "days", "move", "said"),
    [
        ("revoked", 0, "confirm", "final"),
        ("revoked", 0, "suspend", "final"),
        ("revoked", 0, "restore", "final"),
        ("suspended", 0, "confirm", "is suspended"),
        ("suspended", 182, "restore", "6 months"),
        ("issued", 366, "confirm", "expired"),
        ("confirmed", 366, "suspend", "expired"),
        ("suspended", 366, "restore", "expired"),
    ],
)
def test_a_refusal_says_why(state: str, days: int, move: str, said: str) -> None:
    """In words that whoever asked can act on."""
    ended = {"reason": "certificateHold", "revoked_at": BEGIN} if state in ("suspended", "revoked") else {}
    with pytest.raises(AuthorityRefused, match=said) as refused:
        moved(record(state=state, **ended), move, BEGIN + timedelta(days=days), authority="office")
    assert ("dojang cert issue" in refused.value.advice()) == (move != "confirm")


def test_months_of_a_hold_are_counted_where_it_is() -> None:
    """Six calendar months: the same day, or the last of a month that has no such day; in Korea by the Korean day."""
    assert months_later(datetime(2026, 8, 31, 12, tzinfo=UTC), 6) == datetime(2027, 2, 28, 12, tzinfo=UTC)
    late = datetime(2026, 8, 30, 15, 30, tzinfo=UTC)  # the 31st in Korea
    assert months_later(late, 6) == datetime(2027, 2, 28, 15, 30, tzinfo=UTC)
    assert months_later(late, 6, KST) == datetime(2027, 2, 27, 15, 30, tzinfo=UTC)
    assert months_later(datetime(2027, 8, 31, tzinfo=UTC), 6) == datetime(2028, 2, 29, tzinfo=UTC)


def test_a_hold_ends_with_the_certificate() -> None:
    """If that is sooner than six months."""
    held = record(state="suspended", reason="certificateHold", revoked_at=BEGIN + timedelta(days=300))
    assert standing_of(held, held.not_after_at) == "suspended"  # its last second
    assert standing_of(held, hold_ends_at(held)) == "expired"


def test_what_was_replaced_stands_apart() -> None:
    """It is valid still, may be held and revoked, and is not renewed again."""
    replaced = record(state="confirmed", replaced_at=BEGIN)
    assert standing_of(replaced, BEGIN) == "replaced"
    assert moved(replaced, "confirm", BEGIN, authority="office") is replaced
    assert moved(replaced, "suspend", BEGIN, authority="office").state == "suspended"
