"""How each kind of database is reached: its address, its connections, and which of its complaints may pass."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from dojang.authority.glance import EmbeddedGlances, Glances, ServerGlances
from dojang.authority.swift import execute
from dojang.errors import InvalidSetting, Phrase

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

WRITING: Final = "dojang_writing"
"""The option of a connection that is going to write: an embedded database is then locked from the beginning."""
_WAIT_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 10
_KEPT: Final = 8  # connections kept open; SQLite opens more when more threads read at once, PostgreSQL as many again
# What SQLite says when waiting or making room may help: busy, locked, input/output, full.
_PASSING_SQLITE: Final = {5, 6, 10, 13}
# Classes of SQLSTATE: connection, rollback (deadlock), resources, operator (shutdown, cancelled), system.
_PASSING_STATES: Final = ("08", "40", "53", "55", "57", "58")


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


def embedded_connection(address: str) -> "sqlite3.Connection":
    """A new one, in which every statement stands for itself until a transaction is begun."""
    import sqlite3

    connection = sqlite3.connect(
        address, uri=True, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    # The inner pages of the indexes over millions of certificates stay in 16 MiB of memory. As much may wait in the log
    # until it goes to where it belongs: serial numbers are random, and most pages are written again before that.
    connection.executescript(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384;"
        " PRAGMA wal_autocheckpoint = 4096;"
    )
    return connection


def connector(url: URL) -> "Callable[[], sqlite3.Connection]":
    """What opens the file at the address, which must be there, once more."""
    return partial(embedded_connection, f"{Path(url.database or '').absolute().as_uri()}?mode=rw")


def embedded_engine(url: URL) -> Engine:
    engine = create_engine("sqlite://", creator=connector(url), poolclass=QueuePool, pool_size=_KEPT, max_overflow=-1)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get(WRITING)
        execute(connection, "BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def server_engine(url: URL) -> Engine:
    return create_engine(
        url,
        connect_args=_postgres_options(),
        pool_pre_ping=True,
        pool_size=_KEPT,
        max_overflow=_KEPT,
        pool_timeout=_WAIT_SECONDS,
    )


def glances_of(url: URL, engine: Engine) -> Glances:
    """Connections for ``Glance``, which needs no transaction: on a server, such as spend no word on one."""
    if engine.dialect.name == "sqlite":
        return EmbeddedGlances(engine.dialect, connector(url))
    return ServerGlances(_server_engine_for_glances(url))


def _server_engine_for_glances(url: URL) -> Engine:
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


def may_pass(error: SQLAlchemyError) -> bool:
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
