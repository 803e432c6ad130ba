"""What a conversation asks for at every message, in one query that is as cheap as can be."""

import json
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Text, bindparam, func, literal_column, select

from dojang.authority import tables
from dojang.authority.enrolment.records import Terms
from dojang.authority.enrolment.states import State, state_at
from dojang.authority.glance import Aside, Beside, Glance
from dojang.columns import moment_text

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """``tries`` came from the source within the window; ``known`` is ``None`` for a reference that nobody was given.

    ``beside`` are the columns that were to be brought along.
    """

    tries: int
    known: Known | None
    beside: "Sequence[Any]"


def look_up(
    database: "Database", reference: str, source: str, since: datetime, at: datetime, aside: Aside | None = None
) -> Found:
    """One reference, and how often its source was wrong since then."""
    values: dict[str, str | bytes] = {"reference": reference, "source": source, "since": moment_text(since)}
    if aside is not None:
        values.update(aside.values)
    row = _glance(aside and aside.what).one(database, values)
    assert row is not None  # a count is always there
    tries, salt, code_hash, state, expires_at, wrong_tries, profile, subject, names, years, *beside = row
    if state is None:
        return Found(tries, None, beside)
    now = state_at(state, datetime.fromisoformat(expires_at), at)
    terms = Terms(profile, subject, () if names == "[]" else tuple(json.loads(names)), years)
    return Found(tries, Known(bytes(salt), bytes(code_hash), state, now, wrong_tries, terms), beside)


@cache
def _glance(beside: Beside | None) -> Glance:
    tried, enrolment, anything = (
        tables.source_tries,
        tables.enrolment,
        select(literal_column("1").label("one")).subquery(),
    )
    recent = (tried.c.source == bindparam("source", type_=Text)) & (tried.c.at > bindparam("since", type_=Text))
    count = select(func.count()).select_from(tried).where(recent).scalar_subquery()
    mine = enrolment.c.reference == bindparam("reference", type_=Text)
    columns = [enrolment.c[name] for name in _COLUMNS]
    joined = anything.outerjoin(enrolment, mine)
    if beside is not None:
        columns += beside.columns
        joined = joined.outerjoin(beside.table, beside.where)
    return Glance(select(count.label("tries"), *columns).select_from(joined))
