"""The state machine of an enrolment: every move from every state, and what is said of those that are not possible."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from dojang.authority.enrolment.states import WHY, Event, Standing, State, moved, state_at
from dojang.errors import NotPermitted

ALLOWED = {
    "drafted": {"settle", "refuse", "cancel", "expire", "lock"},
    "waiting": {"settle", "approve", "refuse", "cancel", "expire", "lock"},
    "ready": {"settle", "use", "cancel", "expire", "lock"},
    "locked": {"unlock", "cancel", "expire"},
}


@pytest.mark.parametrize("state", get_args(State))
@pytest.mark.parametrize("event", get_args(Event))
def test_every_move_from_every_state(state: State, event: Event) -> None:
    """What is not allowed is refused with the state as the reason and something to do next; nothing leaves an end."""
    if event in ALLOWED.get(state, ()):
        assert moved("0123456789", state, event) in get_args(State)
        return
    with pytest.raises(NotPermitted) as refused:
        moved("0123456789", state, event)
    assert WHY[state] in str(refused.value)
    assert refused.value.advice().startswith(("Record", "Have", "Nothing", "Unlock", "Make"))


@pytest.mark.parametrize("event", ["settle", "unlock"])
def test_the_record_decides_where_an_open_one_stands(event: Event) -> None:
    """A missing check comes before a missing approval; without either it is ready."""
    origin: State = "locked" if event == "unlock" else "ready"
    assert moved("1", origin, event, Standing(("email",), 1)) == "drafted"
    assert moved("1", origin, event, Standing((), 1)) == "waiting"
    assert moved("1", origin, event, Standing()) == "ready"


@pytest.mark.parametrize("state", get_args(State))
def test_time_ends_what_is_open(state: State) -> None:
    """At the very moment it expires; what has ended otherwise stays what it is."""
    end = datetime(2026, 1, 1, tzinfo=UTC)
    assert state_at(state, end, end - timedelta(seconds=1)) == state
    assert state_at(state, end, end) == ("expired" if state in ALLOWED else state)
