"""Statements of an embedded database past SQLAlchemy's machinery, which takes ten times as long as SQLite itself.

For the few that every certificate needs. A server, where the way there takes longest, is asked as usual.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from dojang.authority.database import Database

_ROWS: Final = 32
"""How many rows one statement inserts: of SQLite's least, 999 values, the widest table takes two thirds then."""
Convert = Callable[[Any], Any] | None


class _Plan(NamedTuple):
    """A statement as the driver takes it: its values in their order, each with what it is when nobody says, and how it
    is kept; and how each column of a row is read.
    """

    text: str
    values: Sequence[tuple[str, Any, Convert]]
    columns: Sequence[Convert]

    def given(self, values: Mapping[str, Any]) -> list[Any]:
        return [
            values.get(name, usual) if convert is None else convert(values.get(name, usual))
            for name, usual, convert in self.values
        ]

    def read(self, row: Sequence[Any]) -> Sequence[Any]:
        read = zip(row, self.columns, strict=True)
        return tuple([value if convert is None else convert(value) for value, convert in read])


class Prepared:
    """One statement with named values. Its text and its types are worked out when it first runs.

    The driver runs it as it is, in the transaction of ``writing()`` or ``reading()``; what it complains of is raised as
    by ``execute``. Of lists of values it knows nothing.
    """

    def __init__(self, statement: Executable) -> None:
        self._statement: Final = statement
        self._plan: _Plan | None = None

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        if not _is_swift(connection):
            return int(connection.execute(self._statement, values).rowcount)
        return int(self._run(connection, values)[0].rowcount)

    def run_many(self, connection: Connection, shared: Mapping[str, Any], rows: Mapping[str, Sequence[Any]]) -> None:
        """An INSERT for each row: ``rows`` has the values of each name that differ, ``shared`` those that all have."""
        if not _is_swift(connection):
            each = (dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True))
            connection.execute(self._statement, [{**shared, **one} for one in each])
            return
        plan = self._planned_for(connection.dialect)
        columns = [
            _all_converted(rows[name], convert)
            if name in rows
            else repeat(_converted(shared.get(name, usual), convert))
            for name, usual, convert in plan.values
        ]
        insert_all(connection, plan.text, list(zip(*columns, strict=False)))

    def row(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """The only row that it finds or, changed, returns."""
        if not _is_swift(connection):
            return connection.execute(self._statement, values).one_or_none()
        cursor, plan = self._run(connection, values)
        found = cursor.fetchall()
        assert len(found) <= 1
        return plan.read(found[0]) if found else None

    def look(self, database: "Database", values: Mapping[str, Any]) -> Sequence[Any] | None:
        """The only row that it finds; a transaction is begun for that only where one glance does not do."""
        glances = database.glances
        if glances.dialect.name == "sqlite" and not database.is_written_here:
            plan = self._planned_for(glances.dialect)
            with contextlib.suppress(glances.dialect.loaded_dbapi.Error):  # asked again, which knows what to make of it
                found = glances.one(plan.text, plan.given(values))
                return None if found is None else plan.read(found)
        with database.reading() as connection:
            return self.row(connection, values)

    def _run(self, connection: Connection, values: Mapping[str, Any]) -> tuple[Any, _Plan]:
        plan = self._planned_for(connection.dialect)
        return execute(connection, plan.text, plan.given(values)), plan

    def _planned_for(self, dialect: Dialect) -> _Plan:
        plan = self._plan
        if plan is None:
            plan = self._plan = _planned(self._statement, dialect)
        return plan


def execute(connection: Connection, statement: str, values: Any = ()) -> Any:
    """A cursor of the driver's, in the transaction that is open; what it complains of is raised as by ``execute``.

    It is not tried again: a disk that is full may have ended the transaction, and a row would be there alone.
    """
    driver: Any = connection.connection.driver_connection
    try:
        return driver.execute(statement, values)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _complaint(connection, statement, error) from error


def insert_all(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """An INSERT of one row, for each of them; several go to SQLite as one, and other threads run until it is done."""
    if not _is_swift(connection):
        connection.exec_driver_sql(statement, list(map(tuple, rows)))
        return
    driver: Any = connection.connection.driver_connection
    whole = len(rows) - len(rows) % _ROWS
    try:
        for begin in range(0, whole, _ROWS):
            driver.execute(_of_several(statement), list(chain.from_iterable(rows[begin : begin + _ROWS])))
        driver.executemany(statement, rows[whole:])
    except connection.dialect.loaded_dbapi.Error as error:
        raise _complaint(connection, statement, error) from error


@lru_cache(maxsize=16)
def _of_several(statement: str) -> str:
    before, row = statement.split(" VALUES ")
    return f"{before} VALUES {', '.join([row] * _ROWS)}"


def _complaint(connection: Connection, statement: str, error: Exception) -> Exception:
    dialect = connection.dialect
    return DBAPIError.instance(statement, None, error, dialect.loaded_dbapi.Error, dialect=dialect)


def _is_swift(connection: Connection) -> bool:
    """Whether the driver is asked; a transaction has begun then, as ``execute`` would have begun it."""
    if connection.dialect.name != "sqlite":
        return False
    if not connection.in_transaction():
        connection.begin()
    return True


def _planned(statement: Any, dialect: Dialect) -> _Plan:
    compiled = statement.compile(dialect=dialect)
    usual, binds = compiled.params, compiled.binds
    values = [
        (name, usual[name], binds[name].type.dialect_impl(dialect).bind_processor(dialect))
        for name in compiled.positiontup
    ]
    columns = [
        column.type.dialect_impl(dialect).result_processor(dialect, None) for column in statement.exported_columns
    ]
    return _Plan(str(compiled), values, columns)


def _converted(value: Any, convert: Convert) -> Any:
    return value if convert is None else convert(value)


def _all_converted(values: Sequence[Any], convert: Convert) -> Sequence[Any]:
    return values if convert is None else [convert(value) for value in values]
