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
from contextvars import copy_context
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from dojang.authority import tables
from dojang.authority.swift import execute
from dojang.columns import for_postgres
from dojang.errors import AlreadyExists, DatabaseUnavailable, InvalidSetting, Phrase, StateUnreadable

T = TypeVar("T")

SCHEMA: Final = "0003"
_WAIT_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 10
_KEPT: Final = 8  # connections kept open; SQLite opens more when more threads read at once, PostgreSQL as many again
_WRITERS: Final = 0x646F6A616E67  # the advisory lock that one writer holds
_FOUNDERS: Final = _WRITERS + 1
# What SQLite says when waiting or making room may help: busy, locked, input/output, full.
_PASSING_SQLITE: Final = {5, 6, 10, 13}
# Classes of SQLSTATE: connection, rollback (deadlock), resources, operator (shutdown, cancelled), system.
_PASSING_STATES: Final = ("08", "40", "53", "55", "57", "58")
WRITING: Final = "dojang_writing"


class Database:
    """One open database, for many threads. Whoever opens it closes it."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_embedded = url.get_backend_name() == "sqlite"
        self._engine = _sqlite(url) if self.is_embedded else _postgres(url)
        self._turn = threading.Lock()  # the threads of a process queue here, processes in the database
        self._mine = threading.local()
        self._batch = _Batch()
        self._claimed: Connection | None = None
        self._writing: Connection | None = None  # kept from one writing() to the next

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
                    _make_tables(connection, database, name)
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
        if self._claimed is not None:
            self._claimed.close()
        with self._turn:
            if self._writing is not None:
                self._writing.close()
                self._writing = None
        self._engine.dispose()
        if "glances" in vars(self):
            self.glances.dispose()

    @cached_property
    def glances(self) -> Engine:
        """For ``Glance``, which needs no transaction: on a server, connections that spend no word on one."""
        return self._engine if self.is_embedded else _postgres_for_glances(self.url)

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
        if getattr(self._mine, "connection", None) is not None:
            raise RuntimeError("a transaction is open on this thread already")
        with self._turn, self._translated(), self._writer() as connection, connection.begin():
            if not self.is_embedded:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS})
            self._mine.connection = connection
            try:
                yield connection
            finally:
                self._mine.connection = None
            self._check_open(connection)

    @contextlib.contextmanager
    def _writer(self) -> Iterator[Connection]:
        """A server's connection from the pool; the same one to an embedded database, as long as nothing goes wrong."""
        connection, self._writing = self._writing, None
        if connection is None:
            connection = self._engine.connect().execution_options(**{WRITING: True})
        try:
            yield connection
            if self.is_embedded:
                self._writing = connection
        finally:
            if self._writing is None:
                connection.close()

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
            raise self._ours(error) from error

    def _ours(self, error: SQLAlchemyError) -> DatabaseUnavailable | StateUnreadable:
        problem = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
        if _may_pass(error):
            return DatabaseUnavailable(where=self.place, problem=problem)
        return StateUnreadable(path=self.place, problem=problem)


class _Wish:
    """What one thread wants done, and what came of it."""

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.context = copy_context()  # who is at work, for one
        self.answer: Any = None
        self.error: BaseException | None = None
        self.is_done = False

    def do(self, connection: Connection) -> None:
        """Without a savepoint: an error ends the transaction."""
        self.answer = self.context.run(self.work, connection)

    def attempt(self, connection: Connection) -> None:
        """In a savepoint: an error is this wish's own, unless the transaction itself is lost with it."""
        savepoint = connection.begin_nested()
        try:
            self.answer = self.context.run(self.work, connection)
            savepoint.commit()
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and _may_pass(error):
                raise
            savepoint.rollback()
            self.error = error


class _Batch:
    """Whoever comes first does what all who wait want done; those who come meanwhile are the next batch."""

    LARGEST: Final = 256

    def __init__(self) -> None:
        self._waiting: list[_Wish] = []
        self._list_lock, self._turn = threading.Lock(), threading.Lock()

    def join(self, database: Database, work: Callable[[Connection], T]) -> T:
        (answer,) = self.join_all(database, [work])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def join_all(self, database: Database, works: list[Callable[[Connection], T]]) -> list[T | Exception]:
        wishes = [_Wish(work) for work in works]
        with self._list_lock:
            self._waiting += wishes
        for wish in wishes:
            while not wish.is_done:
                with self._turn:
                    if not wish.is_done:
                        self._do_all(database)
        return [_result(wish, database) for wish in wishes]

    def _do_all(self, database: Database) -> None:
        with self._list_lock:
            batch, self._waiting = self._waiting[: self.LARGEST], self._waiting[self.LARGEST :]
        try:
            if not self._done_plainly(database, batch):
                with database.writing() as connection:
                    for wish in batch:
                        wish.attempt(connection)
        except BaseException as error:
            for wish in batch:
                wish.error = wish.error or error
            if not isinstance(error, Exception):
                raise
        finally:
            for wish in batch:
                wish.is_done = True

    def _done_plainly(self, database: Database, batch: list[_Wish]) -> bool:
        """Without savepoints, which cost half as much as what they guard; false, and nothing done, when one failed."""
        try:
            with database.writing() as connection:
                for wish in batch:
                    wish.do(connection)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, DatabaseUnavailable):
                raise
            return False
        return True


def _result(wish: _Wish, database: Database) -> Any:
    error = wish.error
    if isinstance(error, SQLAlchemyError):
        return database._ours(error)
    if error is not None and not isinstance(error, Exception):
        return DatabaseUnavailable(where=database.place, problem=Phrase("the run was interrupted"))
    return wish.answer if error is None else error


def schema_of(connection: Connection, *, embedded: bool) -> str | None:
    """The schema's version; ``None`` where there is none of ours."""
    if embedded:
        names = {row[0] for row in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))}
        if "alembic_version" not in names:
            (version,) = connection.execute(text("PRAGMA user_version")).one()
            return "0001" if version == 1 and "certificate" in names else None
    elif connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def stamp(connection: Connection, *, embedded: bool) -> None:
    """Note the schema's version where alembic looks for it, and where an old dojang does."""
    connection.execute(
        text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    )
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:version)"), {"version": SCHEMA})
    if embedded:
        connection.execute(text(f"PRAGMA user_version = {int(SCHEMA)}"))


def _make_tables(connection: Connection, database: Database, name: str) -> None:
    """All of them in one transaction, in the place of what a killed founding left."""
    schema = _schema()
    if database.is_embedded:
        set_pragma(connection, "journal_mode = WAL")  # kept in the file
    else:
        for_postgres()
    with connection.execution_options(**{WRITING: True}).begin():
        if not database.is_embedded:
            _check_vacant(connection, database, schema, name)
        for metadata in schema:
            metadata.create_all(connection, checkfirst=False)
        stamp(connection, embedded=database.is_embedded)


def _schema() -> list[MetaData]:
    """Every table there is; those of one-time passwords are loaded by what needs them only."""
    from dojang.otp import tables as otp_tables

    return [tables.metadata, otp_tables.metadata]


def set_pragma(connection: Connection, setting: str) -> None:
    """One that SQLite takes outside a transaction only."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA {setting}")


def _check_vacant(connection: Connection, database: Database, schema: list[MetaData], name: str) -> None:
    if schema_of(connection, embedded=False) is None:
        return
    states = connection.execute(tables.authority.select()).all()
    if any(row.state == "founded" for row in states):
        raise AlreadyExists(what=Phrase("authority {name}", name=states[0].name), where=database.place)
    if any(row.name != name for row in states):
        raise AlreadyExists(
            what=Phrase("authority {name}", name=states[0].name),
            where=database.place,
            next_step="Its founding was cut short: run the same command again, or choose an empty database.",
        )
    for metadata in reversed(schema):
        metadata.drop_all(connection, checkfirst=True)
    connection.execute(text("DROP TABLE alembic_version"))


def check_url(url: str | URL) -> URL:
    """``sqlite:////path`` or ``postgresql://[user@][host]/database``. Raises ``InvalidSetting``."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _bad_url(Phrase("it is no database address")) from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise _bad_url(Phrase("only sqlite and postgresql databases are supported"))
    if parsed.password is not None or "password" in parsed.query:
        raise _bad_url(Phrase("it contains a password; keep that in ~/.pgpass, a service file or PGPASSWORD"))
    return parsed.set(drivername="sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql+psycopg")


def _bad_url(problem: Phrase) -> InvalidSetting:
    return InvalidSetting(
        path=Phrase("The address of the database"),
        problem=problem,
        next_step="Name it as sqlite:////folder/file or postgresql://user@host/database.",
    )


def _make_file(path: Path | str) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise StateUnreadable(path=path, problem=error.strerror or Phrase("it cannot be written")) from error


def _sqlite(url: URL) -> Engine:
    import sqlite3

    address = f"{Path(url.database or '').absolute().as_uri()}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            address, uri=True, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        # The inner pages of the indexes over millions of certificates stay in 16 MiB of memory.
        connection.executescript("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=_KEPT, max_overflow=-1)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get(WRITING)
        execute(connection, "BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _postgres(url: URL) -> Engine:
    return create_engine(
        url,
        connect_args=_postgres_options(),
        pool_pre_ping=True,
        pool_size=_KEPT,
        max_overflow=_KEPT,
        pool_timeout=_WAIT_SECONDS,
    )


def _postgres_for_glances(url: URL) -> Engine:
    """One that was lost is seen when it is used, so nothing is asked before; and there is nothing to roll back."""
    return create_engine(
        url,
        connect_args=_postgres_options(),
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        pool_size=_KEPT // 2,
        max_overflow=_KEPT // 2,
        pool_timeout=_WAIT_SECONDS,
    )


def _postgres_options() -> dict[str, Any]:
    return {
        "connect_timeout": _CONNECT_SECONDS,
        "application_name": "dojang",
        "options": f"-c lock_timeout={_WAIT_SECONDS}s -c idle_in_transaction_session_timeout={_WAIT_SECONDS}s"
        " -c synchronous_commit=on -c timezone=UTC",
    }


def _may_pass(error: SQLAlchemyError) -> bool:
    """Whether the same may succeed later without anybody changing what was asked."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return int(code) & 0xFF in _PASSING_SQLITE
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    return error.connection_invalidated or type(error.orig).__name__ == "OperationalError"
