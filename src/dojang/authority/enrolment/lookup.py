"""What a conversation asks for at every message, in one query that is as cheap as can be."""

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Text, bindparam, func, literal_column, select

from dojang.authority import tables
from dojang.authority.enrolment.records import Terms
from dojang.authority.enrolment.states import State, state_at
from dojang.authority.glance import Glance

if TYPE_CHECKING:
    from dojang.authority.database import Database

_COLUMNS: Final = ("salt", "code_hash", "state", "expires_at", "wrong_tries", "profile", "subject", "names", "years")


class Known(NamedTuple):
    """A reference that was given out, as it is recorded."""

    salt: bytes
    code_hash: bytes
    recorded: str
    state: State
    wrong_tries: int
    terms: Terms


class Found(NamedTuple):
    """``tries`` came from the source within the window; ``known`` is ``None`` for a reference that nobody was given."""

    tries: int
    known: Known | None


def look_up(database: "Database", reference: str, source: str, since: datetime, at: datetime) -> Found:
    """One reference, and how often its source was wrong since then."""
    row = _glance().one(database, {"reference": reference, "source": source, "since": _text(since)})
    assert row is not None  # a count is always there
    tries, salt, code_hash, state, expires_at, wrong_tries, profile, subject, names, years = row
    if state is None:
        return Found(tries, None)
    now = state_at(state, datetime.fromisoformat(expires_at), at)
    terms = Terms(profile, subject, tuple(json.loads(names)), years)
    return Found(tries, Known(bytes(salt), bytes(code_hash), state, now, wrong_tries, terms))


@cache
def _glance() -> Glance:
    tried, enrolment, anything = (
        tables.source_tries,
        tables.enrolment,
        select(literal_column("1").label("one")).subquery(),
    )
    recent = (tried.c.source == bindparam("source", type_=Text)) & (tried.c.at > bindparam("since", type_=Text))
    count = select(func.count()).select_from(tried).where(recent).scalar_subquery()
    mine = enrolment.c.reference == bindparam("reference", type_=Text)
    columns = [enrolment.c[name] for name in _COLUMNS]
    return Glance(select(count.label("tries"), *columns).select_from(anything.outerjoin(enrolment, mine)))


def _text(at: datetime) -> str:
    """As ``tables.Moment`` keeps it."""
    return at.astimezone(UTC).isoformat(timespec="seconds")
