"""Jobs kept by procrastinate in the authority's PostgreSQL database: for any number of hosts.

Its schema is applied when an engine is first opened. What its workers do is done here by threads of ours through the
same functions of its schema, so that one runner serves both engines: a queue a kind, the queueing lock for "one waits",
the lock for "one runs", and the heartbeats of its workers to tell who died.
"""

import contextlib
import threading
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dojang.authority.jobs.engine import CLAIM_SECONDS, NOTHING, Job, Payload, Standing
from dojang.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from dojang.authority.database import Database

_APPLYING: Final = 0x646F6A616E69  # the advisory lock of whoever applies the schema
_CONNECTIONS: Final = 3
_WAIT_SECONDS: Final = 5
_NOT_FOUND: Final = "P0001"  # what the functions of its schema raise
_STATES: Final = {"todo": "waiting", "doing": "running"}
_BRING_FORWARD: Final = (
    "UPDATE procrastinate_jobs SET scheduled_at = %(run_at)s"
    " WHERE queueing_lock = %(lock)s AND status = 'todo' AND scheduled_at > %(run_at)s"
)
_WAITS: Final = "SELECT count(*) AS count FROM procrastinate_jobs WHERE queueing_lock = %(lock)s AND status = 'todo'"
_IS_MINE: Final = (
    "SELECT count(*) AS count FROM procrastinate_jobs"
    " WHERE id = %(id)s AND worker_id = %(worker)s AND attempts = %(attempts)s AND status = 'doing'"
)


class ProcrastinateEngine:
    """Implements ``JobEngine``. A process that gives no sign for ``claim_seconds`` has died."""

    def __init__(self, database: "Database", *, claim_seconds: float = CLAIM_SECONDS) -> None:
        """Needs the extra ``postgres``. Raises ``DatabaseUnavailable``."""
        from procrastinate import App, SyncPsycopgConnector
        from procrastinate.sql import queries

        self._place, self._seconds, self._queries = database.place, claim_seconds, queries
        address = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connector: SyncPsycopgConnector = SyncPsycopgConnector(
            conninfo=address,
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=_WAIT_SECONDS,
            kwargs={"application_name": "dojang jobs", "connect_timeout": _WAIT_SECONDS},
        )
        self._app = App(connector=self._connector)
        self._worker: int | None = None
        self._turn = threading.Lock()
        with self._translated():
            self._connector.open()
            self._apply_schema()

    def now(self) -> datetime:
        moment: datetime = self._one("SELECT now() AS now")["now"]
        return moment.astimezone(UTC)

    def enqueue(self, kind: str, key: str, run_at: datetime, payload: Payload = NOTHING) -> bool:
        from procrastinate.exceptions import AlreadyEnqueued

        lock = f"{kind}:{key}"
        if self._waits(lock, run_at):
            return False
        wanted = self._app.configure_task(kind, queue=kind, lock=lock, queueing_lock=lock, schedule_at=run_at)
        with self._translated():
            try:
                wanted.defer(key=key, payload=dict(payload))
            except AlreadyEnqueued:  # by somebody else, since we looked
                self._waits(lock, run_at)
                return False
        return True

    def _waits(self, lock: str, run_at: datetime) -> bool:
        """Whether such a job waits already; it is brought forward then."""
        with self._translated():
            self._connector.execute_query(_BRING_FORWARD, lock=lock, run_at=run_at)
        return bool(self._one(_WAITS, lock=lock)["count"])

    def claim(self, kinds: Collection[str]) -> Job | None:
        from procrastinate.exceptions import UniqueViolation

        with self._translated(), contextlib.suppress(UniqueViolation):  # its like was claimed in the same moment
            row = self._one(self._queries["fetch_job"], queues=sorted(kinds), worker_id=self._registered())
            if row["id"] is not None:
                key, payload = row["args"]["key"], row["args"]["payload"]
                return Job(row["id"], row["task_name"], key, row["scheduled_at"], row["attempts"] + 1, payload)
        return None

    def keep(self) -> None:
        worker = self._registered()
        self._one(self._queries["update_heartbeat"], worker_id=worker)
        query = self._queries["select_stalled_jobs_by_heartbeat"]
        with self._translated():
            seconds = {"seconds_since_heartbeat": self._seconds}
            stalled = self._connector.execute_query_all(query, queue=None, task_name=None, **seconds)
        for row in stalled:
            self._wait_again(row["id"], self.now())

    def done(self, job: Job) -> None:
        if self._is_mine(job):
            self._end(job.id)

    def fail(self, job: Job, retry_at: datetime) -> None:
        if self._is_mine(job):
            self._wait_again(job.id, retry_at)

    def standing(self) -> list[Standing]:
        with self._translated():
            jobs = [job for job in self._app.job_manager.list_jobs() if job.status in _STATES]
        found = [
            Standing(
                job.task_name, str(job.task_kwargs["key"]), _STATES[str(job.status)], job.scheduled_at, job.attempts
            )
            for job in jobs
            if job.scheduled_at is not None
        ]
        return sorted(found, key=lambda one: one.run_at)

    def close(self) -> None:
        """Without its worker, what was claimed and not ended counts as left behind at once."""
        with contextlib.suppress(DatabaseUnavailable):
            if self._worker is not None:
                self._one(self._queries["unregister_worker"], worker_id=self._worker)
        self._worker = None
        self._connector.close()

    def _registered(self) -> int:
        """The worker that this process is to the others; registered anew if they took it for dead."""
        with self._turn:
            known = "SELECT count(*) AS count FROM procrastinate_workers WHERE id = %(worker)s"
            if self._worker is None or not self._one(known, worker=self._worker)["count"]:
                self._worker = int(self._one(self._queries["register_worker"])["worker_id"])
            return self._worker

    def _is_mine(self, job: Job) -> bool:
        return bool(self._one(_IS_MINE, id=job.id, worker=self._worker, attempts=job.attempt - 1)["count"])

    def _wait_again(self, job_id: int, retry_at: datetime) -> None:
        """Or not, where another of its kind and key waits."""
        from procrastinate.exceptions import UniqueViolation

        rest = {"new_priority": None, "new_queue_name": None, "new_lock": None}
        try:
            self._change("retry_job", job_id=job_id, retry_at=retry_at, **rest)
        except UniqueViolation:
            self._end(job_id)

    def _end(self, job_id: int) -> None:
        self._change("finish_job", job_id=job_id, status="succeeded", delete_job=True)

    def _change(self, query: str, **values: object) -> None:
        """Nothing changes where the job was ended, or taken over, by somebody else meanwhile."""
        from procrastinate.exceptions import ConnectorException, UniqueViolation

        try:
            self._connector.execute_query(self._queries[query], **values)
        except UniqueViolation:
            raise
        except ConnectorException as error:
            if getattr(error.__cause__, "sqlstate", None) != _NOT_FOUND:
                raise self._unavailable(error) from error

    def _apply_schema(self) -> None:
        """Once, whoever comes first; the others wait for it."""
        with self._connector.pool.connection() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_APPLYING,))
            row = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
            if row is not None and row[0] is None:
                connection.execute(self._app.schema_manager.get_schema())

    def _one(self, query: Any, **values: object) -> dict[str, Any]:
        with self._translated():
            return self._connector.execute_query_one(query, **values)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        from procrastinate.exceptions import AppNotOpen, ConnectorException, UniqueViolation
        from psycopg import Error

        try:
            yield
        except UniqueViolation:
            raise
        except (AppNotOpen, ConnectorException, Error) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> DatabaseUnavailable:
        return DatabaseUnavailable(where=self._place, problem=str(error.__cause__ or error).strip().split("\n")[0])
