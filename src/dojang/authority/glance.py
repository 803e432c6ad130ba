"""One row, found by one query that is asked thousands of times a second, with as little around it as can be.

The text of the query is made once, and the driver runs it as it is: no transaction, no types. Columns come as they are
kept, moments as text. What the driver complains of is asked again in the ordinary way, which knows what to make of it.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from sqlalchemy import Column, ColumnElement, Table
    from sqlalchemy.engine import Dialect, Engine

    from dojang.authority.database import Database

Values = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """The columns of one row of another table, which a glance can bring along; they are empty where there is none."""

    table: "Table"
    where: "ColumnElement[bool]"
    columns: "Sequence[Column[Any]]"


class Aside(NamedTuple):
    """What is to be brought along, and the values that its condition names."""

    what: Beside
    values: Values


class Glance:
    """A query with named values, all of them text or bytes."""

    def __init__(self, query: "Select[Any]") -> None:
        self._query: Final = query
        self._texts: dict[str, tuple[str, list[str] | None]] = {}

    def one(self, database: "Database", values: Values) -> "Sequence[Any] | None":
        """The only row, or ``None``. Raises what ``reading`` raises."""
        glances = database.glances
        query, order = self._texts.get(glances.dialect.name) or self._compiled(glances.dialect)
        given = values if order is None else tuple([values[name] for name in order])
        if not database.is_written_here:  # or what is written by now would not be seen
            with contextlib.suppress(SQLAlchemyError, glances.dialect.loaded_dbapi.Error):
                return glances.one(query, given)
        with database.reading() as connection:
            row = connection.exec_driver_sql(query, given).one_or_none()
        return None if row is None else tuple(row)

    def _compiled(self, dialect: "Dialect") -> tuple[str, list[str] | None]:
        compiled = self._query.compile(dialect=dialect)
        order = list(compiled.positiontup or ()) if compiled.positional else None
        found = self._texts[dialect.name] = (str(compiled), order)
        return found


class Glances(Protocol):
    """Connections for glances, for many threads. What fails is the driver's complaint, or SQLAlchemy's."""

    dialect: "Dialect"

    def one(self, query: str, values: Any) -> "Sequence[Any] | None": ...

    def close(self) -> None:
        """Keep no connection any longer than it is used."""
        ...


class EmbeddedGlances:
    """Connections to a file without a pool around them: one is taken, and laid back."""

    watch: "Callable[[sqlite3.Connection], None]" = staticmethod(lambda connection: None)
    """Told of each that is opened."""

    def __init__(self, dialect: "Dialect", connect: "Callable[[], sqlite3.Connection]") -> None:
        self.dialect, self._connect = dialect, connect
        self._free: list[sqlite3.Connection] = []
        self._is_closed = False

    def one(self, query: str, values: Any) -> "Sequence[Any] | None":
        connection = self._taken()
        try:
            cursor = connection.execute(query, values)
            row: Sequence[Any] | None = cursor.fetchone()
            cursor.close()  # or it would go on looking at this moment of the records
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)
        if self._is_closed:
            self.close()
        return row

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._free.pop().close()

    def _taken(self) -> "sqlite3.Connection":
        with contextlib.suppress(IndexError):
            return self._free.pop()
        connection = self._connect()
        self.watch(connection)
        return connection


class ServerGlances:
    """Connections to a server, from a pool that sees to it that they are not too many."""

    def __init__(self, engine: "Engine") -> None:
        self.dialect, self._engine = engine.dialect, engine

    def one(self, query: str, values: Any) -> "Sequence[Any] | None":
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            try:
                cursor.execute(query, values)
                row: Sequence[Any] | None = cursor.fetchone()
                return row
            finally:
                cursor.close()
        except BaseException:
            connection.invalidate()  # lost, perhaps
            raise
        finally:
            connection.close()

    def close(self) -> None:
        self._engine.dispose()
