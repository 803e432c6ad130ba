"""How each kind of work went the last time: for people, for health checks, on every engine alike."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dojang.authority.database import Database
    from dojang.authority.jobs.engine import Job

TURN: Final = "turn"
"""What the payload of periodic work calls the moment that it is for."""
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last run of a kind of work. ``failures`` counts since ``done_at``, the last time it went well.

    ``turn`` is the moment, in seconds since 1970, for which periodic work was done last.
    """

    kind: str
    key: str
    ended_at: datetime
    done_at: datetime | None
    failures: int
    problem: str | None
    turn: int | None


def outcomes(database: "Database") -> list[Outcome]:
    """Of all kinds that ever ran here."""
    from sqlalchemy import select

    from dojang.authority.tables import job_outcome

    with database.reading() as connection:
        rows = connection.execute(select(job_outcome).order_by(job_outcome.c.kind, job_outcome.c.key)).all()
    return [Outcome(*row) for row in rows]


def is_turn_done(database: "Database", job: "Job") -> bool:
    """Whether this turn of periodic work was done already: two processes may have seen at once that it was due."""
    from sqlalchemy import select

    from dojang.authority.tables import job_outcome as table

    if TURN not in job.payload:
        return False
    query = select(table.c.turn).where(table.c.kind == job.kind, table.c.key == job.key)
    with database.reading() as connection:
        return connection.execute(query).scalar() == job.payload[TURN]


def keep_outcome(database: "Database", job: "Job", at: datetime, problem: str | None) -> None:
    """It went well, or ``problem`` says how not."""
    from sqlalchemy import and_

    from dojang.authority.tables import job_outcome as table

    is_this = and_(table.c.kind == job.kind, table.c.key == job.key)
    change: dict[str, object] = {"ended_at": at, "problem": problem and problem[:_LONGEST]}
    change |= {"failures": table.c.failures + 1} if problem else {"failures": 0, "done_at": at, **_turn(job, at)}
    with database.writing() as connection:
        if connection.execute(table.update().where(is_this).values(change)).rowcount == 0:
            change["failures"] = 1 if problem else 0
            connection.execute(table.insert().values({**change, "kind": job.kind, "key": job.key}))


def _turn(job: "Job", at: datetime) -> dict[str, object]:
    """Work done before its moment, by hand, is not that turn's."""
    turn = job.payload.get(TURN)
    return {"turn": turn} if isinstance(turn, int) and turn <= at.timestamp() else {}
