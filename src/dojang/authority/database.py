"""The database of an authority: an embedded SQLite file or a PostgreSQL server, used in the same way.

    with database.writing() as connection:      # all or nothing, one writer at a time, durable when the block has ended
        connection.execute(…)

Reading inside ``writing()`` on the same thread sees what was written in it. What the driver complains of becomes
``DatabaseUnavailable`` (gone, restarting, full, busy: the same may succeed later) or ``StateUnreadable``. A constraint
that a statement breaks is ``sqlalchemy.exc.IntegrityError`` at the statement, for the caller to answer.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import SQLAlchemyError

from dojang.authority.batches import Batch
from dojang.authority.engines import (
    WRITING,
    check_url,
    embedded_engine,
    glances_of,
    may_pass,
    server_engine,
)
from dojang.authority.log import Log
from dojang.authority.schema import SCHEMA, make_tables, schema_of
from dojang.errors import DatabaseUnavailable, Phrase, StateUnreadable

T = TypeVar("T")

_WRITERS: Final = 0x646F6A616E67  # the advisory lock that one writer holds
_FOUNDERS: Final = _WRITERS + 1
_CLOSE_SECONDS: Final = 0.5  # for whoever is at his end


class Database:
    """One open database, for many threads. Whoever opens it closes it."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_embedded = url.get_backend_name() == "sqlite"
        self._engine = embedded_engine(url) if self.is_embedded else server_engine(url)
        self.glances: Final = glances_of(url, self._engine)
        self._turn = threading.Lock()  # the threads of a process queue here, processes in the database
        self._mine = threading.local()
        self._batch = Batch()
        self._log = Log(Path(f"{url.database}-wal"))
        self._claimed: Connection | None = None
        self._writing: Connection | None = None  # kept from one writing() to the next
        self._is_closed = False

    @classmethod
    def create(cls, url: str | URL, name: str = "") -> "Database":
        """A new, empty database with every table; a file is readable by its owner only.

        ``AlreadyExists`` when an authority has its records there. What founding ``name`` left when it was killed is
        removed; of another, nobody can tell from here that its folder was not there yet.
        """
        database = cls(check_url(url))
        try:
            if database.is_embedded:
                _make_file(database.place)
            with database._translated():
                if not database.is_embedded:
                    database._claim()
                with database._engine.connect() as connection:
                    make_tables(connection, database, name)
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def open(cls, url: str | URL) -> "Database":
        """The database that is there, brought up to date. Raises ``StateUnreadable`` and ``DatabaseUnavailable``."""
        database = cls(check_url(url))
        try:
            database._bring_up_to_date()
        except BaseException:
            database.close()
            raise
        return database

    @property
    def place(self) -> Path | str:
        """Where it is, for people: the file, or the address as they give it, without a password."""
        if self.is_embedded:
            return Path(self.url.database or "")
        return self.url.set(drivername="postgresql").render_as_string(hide_password=True)

    @property
    def owner(self) -> str:
        """Whose records they are, as far as the place tells."""
        return self.place.parent.name if isinstance(self.place, Path) else str(self.url.database)

    def close(self) -> None:
        """Waits for nobody: whoever is writing, and it may be this thread, closes what he has at his end."""
        self._is_closed = True
        if self._claimed is not None:
            self._claimed.close()
        if self._turn.acquire(timeout=_CLOSE_SECONDS):
            if self._writing is not None:
                self._writing.close()
                self._writing = None
            self._turn.release()
        self._engine.dispose()
        self.glances.close()

    @property
    def is_written_here(self) -> bool:
        """Whether this thread is inside ``writing()``."""
        return getattr(self._mine, "connection", None) is not None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """One moment's view of the records on SQLite; what is committed at each statement on PostgreSQL."""
        mine: Connection | None = getattr(self._mine, "connection", None)
        if mine is not None:
            yield mine
            return
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[Connection]:
        """One moment's view of the records on either, for as long as the block takes."""
        with self._translated(), self._engine.connect() as connection:
            if not self.is_embedded:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """All or nothing, and nobody else writes meanwhile; durable when the block has ended."""
        if self.is_written_here:
            raise RuntimeError("a transaction is open on this thread already")
        with self._turn:
            connection, self._writing = self._writing, None
            try:
                if connection is None:
                    connection = self._engine.connect().execution_options(**{WRITING: True})
                with connection.begin():
                    yield self._begun(connection)
                    self._mine.connection = None
                    self._check_open(connection)
                if self.is_embedded and not self._is_closed:
                    self._writing = connection  # the same one again, as long as nothing goes wrong
                    self._log.bound(connection)
            except SQLAlchemyError as error:
                raise self.ours(error) from error
            finally:
                self._mine.connection = None
                if connection is not None and self._writing is None:
                    connection.close()

    def _begun(self, connection: Connection) -> Connection:
        if not self.is_embedded:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS})
        self._mine.connection = connection
        return connection

    def together(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in one transaction with what other threads want done at the same time.

        What fails leaves the others alone; nobody has an answer before all of it is durable. ``work`` may run on
        another thread, and again when another failed: it does nothing but read and write here.
        """
        return self._batch.join(self, work)

    def together_all(self, works: list[Callable[[Connection], T]]) -> list[T | Exception]:
        """Several at once; the answer or the error of each."""
        return self._batch.join_all(self, works)

    def _claim(self) -> None:
        """Until this is closed, nobody else makes an authority there."""
        self._claimed = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if not self._claimed.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _FOUNDERS}).scalar():
            problem = Phrase("an authority is being founded there")
            raise DatabaseUnavailable(where=self.place, problem=problem)
        self._claimed.detach()  # it is not to be used again: the claim ends with it

    def _bring_up_to_date(self) -> None:
        with self.reading() as connection:
            found = schema_of(connection, embedded=self.is_embedded)
        if found == SCHEMA:
            return
        if found is None or found > SCHEMA:
            problem = Phrase("it has the form {found}, this dojang knows {known}", found=found or "?", known=SCHEMA)
            raise StateUnreadable(path=self.place, problem=problem)
        from dojang.authority.upgrading import upgrade  # loads alembic, a quarter of a second

        with self._translated():
            upgrade(self._engine, self.owner, embedded=self.is_embedded)

    def _check_open(self, connection: Connection) -> None:
        """SQLite ends a transaction by itself when the disk is full: whoever overlooked that is told here."""
        driver = connection.connection.driver_connection
        if self.is_embedded and not (driver is not None and driver.in_transaction):
            raise DatabaseUnavailable(where=self.place, problem=Phrase("it ended the transaction by itself"))

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self.ours(error) from error

    def ours(self, error: SQLAlchemyError) -> DatabaseUnavailable | StateUnreadable:
        """What the driver complained of, as an error of ours."""
        problem = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
        if may_pass(error):
            return DatabaseUnavailable(where=self.place, problem=problem)
        return StateUnreadable(path=self.place, problem=problem)


def _make_file(path: Path | str) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StateUnreadable(path=path, problem=error.strerror or Phrase("it cannot be written")) from error
