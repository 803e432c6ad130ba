"""Single rows of an embedded database past SQLAlchemy's machinery, which takes ten times as long as SQLite itself.

For the few statements that every certificate needs. A server, where the way there takes longest, is asked as usual.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Select
from sqlalchemy.exc import DBAPIError


def add_row(connection: Connection, statement: Insert, values: Mapping[str, Any]) -> None:
    """Insert one row, inside ``writing()``; what is wrong with it is raised as by ``execute``."""
    if connection.dialect.name != "sqlite":
        connection.execute(statement, values)
        return
    execute(connection, _insertion(statement.table.name, tuple(values)), [_plain(one) for one in values.values()])


def first_row(connection: Connection, query: "Select[Any]", **values: Any) -> Sequence[Any] | None:
    """The only row of a query whose columns need no translation."""
    if connection.dialect.name != "sqlite":
        return connection.execute(query, values).one_or_none()
    row: Sequence[Any] | None = execute(connection, _selection(query), values).fetchone()
    return row


@cache
def _insertion(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


@cache
def _selection(query: "Select[Any]") -> str:
    return str(query)  # as it is without a dialect: with the parameters by their names


def execute(connection: Connection, statement: str, values: Any = ()) -> Any:
    """A cursor of the driver's, in the transaction that is open; what it complains of is raised as by ``execute``.

    It is not tried again: a disk that is full may have ended the transaction, and a row would be there alone.
    """
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection
    try:
        return driver.execute(statement, values)
    except dialect.loaded_dbapi.Error as error:
        raise DBAPIError.instance(statement, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error


def _plain(value: Any) -> Any:
    """As the columns of ``tables`` keep it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return int(value) if isinstance(value, bool) else value
