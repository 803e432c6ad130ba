"""How each kind of work went the last time: for people, for health checks, on every engine alike."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dojang.authority.database import Database
    from dojang.authority.jobs.engine import Job

_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last run of a kind of work. ``failures`` counts since ``done_at``, the last time it went well."""

    kind: str
    key: str
    ended_at: datetime
    done_at: datetime | None
    failures: int
    problem: str | None


def outcomes(database: "Database") -> list[Outcome]:
    """Of all kinds that ever ran here."""
    from sqlalchemy import select

    from dojang.authority.tables import job_outcome

    with database.reading() as connection:
        rows = connection.execute(select(job_outcome).order_by(job_outcome.c.kind, job_outcome.c.key)).all()
    return [Outcome(*row) for row in rows]


def keep_outcome(database: "Database", job: "Job", at: datetime, problem: str | None) -> None:
    """It went well, or ``problem`` says how not."""
    from sqlalchemy import and_

    from dojang.authority.tables import job_outcome as table

    is_this = and_(table.c.kind == job.kind, table.c.key == job.key)
    change: dict[str, object] = {"ended_at": at, "problem": problem and problem[:_LONGEST]}
    change |= {"failures": 0, "done_at": at} if problem is None else {"failures": table.c.failures + 1}
    with database.writing() as connection:
        if connection.execute(table.update().where(is_this).values(change)).rowcount == 0:
            change["failures"] = 0 if problem is None else 1
            connection.execute(table.insert().values({**change, "kind": job.kind, "key": job.key}))
