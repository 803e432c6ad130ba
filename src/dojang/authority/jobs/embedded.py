"""Jobs in the authority's own SQLite file: for one machine, and any number of processes on it."""

import json
import os
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, or_, select
from sqlalchemy.sql import ColumnElement

from dojang.authority.jobs.engine import CLAIM_SECONDS, NOTHING, Job, Payload, Standing
from dojang.authority.tables import job as jobs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dojang.authority.database import Database

_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


class EmbeddedEngine:
    """Implements ``JobEngine``. Claims last ``claim_seconds`` unless renewed."""

    def __init__(
        self, database: "Database", *, clock: Callable[[], datetime] = utc_now, claim_seconds: float = CLAIM_SECONDS
    ) -> None:
        self._database, self._clock = database, clock
        self._length = timedelta(seconds=claim_seconds)
        self._me = f"{os.getpid()}-{secrets.token_hex(8)}"

    def now(self) -> datetime:
        return self._clock().astimezone(UTC)

    def enqueue(self, kind: str, key: str, run_at: datetime, payload: Payload = NOTHING) -> bool:
        with self._database.writing() as connection:
            return self._enqueue(connection, kind, key, run_at, payload)

    def claim(self, kinds: Collection[str]) -> Job | None:
        """Looked for first without keeping others from writing."""
        query = self._claimable(kinds)
        with self._database.reading() as connection:
            if connection.execute(query).first() is None:
                return None
        with self._database.writing() as connection:
            found = connection.execute(query).first()
            if found is None:
                return None
            taken = {"claimed_by": self._me, "claimed_until": self.now() + self._length, "state": "running"}
            change = jobs.update().where(jobs.c.id == found.id).values(**taken, attempts=jobs.c.attempts + 1)
            return _job(connection.execute(change.returning(jobs)).one())

    def keep(self) -> None:
        """A claim that ends later than any could was made before the clock was set back; its time is cut."""
        until = self.now() + self._length
        mine = and_(jobs.c.state == "running", jobs.c.claimed_by == self._me)
        too_long = and_(jobs.c.state == "running", jobs.c.claimed_until > until + self._length)
        with self._database.reading() as connection:
            if connection.execute(select(jobs.c.id).where(or_(mine, too_long)).limit(1)).first() is None:
                return
        with self._database.writing() as connection:
            connection.execute(jobs.update().where(or_(mine, too_long)).values(claimed_until=until))

    def done(self, job: Job) -> None:
        with self._database.writing() as connection:
            connection.execute(jobs.delete().where(self._is_mine(job)))

    def fail(self, job: Job, retry_at: datetime) -> None:
        with self._database.writing() as connection:
            if _waiting(connection, job.kind, job.key) is None:
                waits = {"state": "waiting", "run_at": retry_at, "claimed_by": None, "claimed_until": None}
                connection.execute(jobs.update().where(self._is_mine(job)).values(**waits))
            else:
                connection.execute(jobs.delete().where(self._is_mine(job)))

    def standing(self) -> list[Standing]:
        with self._database.reading() as connection:
            rows = connection.execute(select(jobs).order_by(jobs.c.run_at, jobs.c.id)).all()
        return [
            Standing(row.kind, row.key, row.state, row.run_at, row.attempts - (row.state == "running")) for row in rows
        ]

    def close(self) -> None:
        """What was claimed and not ended may be claimed again at once."""
        mine = and_(jobs.c.state == "running", jobs.c.claimed_by == self._me)
        with self._database.writing() as connection:
            connection.execute(jobs.update().where(mine).values(claimed_until=_LONG_AGO))

    def _enqueue(self, connection: "Connection", kind: str, key: str, run_at: datetime, payload: Payload) -> bool:
        waiting = _waiting(connection, kind, key)
        if waiting is None:
            row = {"kind": kind, "key": key, "run_at": run_at, "state": "waiting", "payload": json.dumps(dict(payload))}
            connection.execute(jobs.insert(), row)
            return True
        if run_at < waiting.run_at:
            connection.execute(jobs.update().where(jobs.c.id == waiting.id).values(run_at=run_at))
        return False

    def _claimable(self, kinds: Collection[str]) -> Any:
        """The job that is due for the longest time; none whose like is running somewhere."""
        now, other = self.now(), jobs.alias()
        running = and_(other.c.state == "running", other.c.claimed_until >= now)
        its_like = select(other.c.id).where(other.c.kind == jobs.c.kind, other.c.key == jobs.c.key, running)
        due = and_(jobs.c.state == "waiting", jobs.c.run_at <= now)
        orphaned = and_(jobs.c.state == "running", jobs.c.claimed_until < now)
        query = select(jobs.c.id).where(or_(due, orphaned), jobs.c.kind.in_(sorted(kinds)), ~its_like.exists())
        return query.order_by(jobs.c.run_at, jobs.c.id).limit(1)

    def _is_mine(self, job: Job) -> ColumnElement[bool]:
        return and_(jobs.c.id == job.id, jobs.c.claimed_by == self._me, jobs.c.attempts == job.attempt)


def _waiting(connection: "Connection", kind: str, key: str) -> Any:
    query = select(jobs).where(jobs.c.kind == kind, jobs.c.key == key, jobs.c.state == "waiting")
    return connection.execute(query).first()


def _job(row: Any) -> Job:
    return Job(row.id, row.kind, row.key, row.run_at, row.attempts, json.loads(row.payload))
