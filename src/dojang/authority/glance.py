"""One row, found by one query that is asked thousands of times a second, with as little around it as can be.

The text of the query is made once, and the driver runs it as it is: no transaction, no types. Columns come as they are
kept, moments as text. What the driver complains of is asked again in the ordinary way, which knows what to make of it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Engine

    from dojang.authority.database import Database

Values = Mapping[str, str | bytes]


class Glance:
    """A query with named values, all of them text or bytes."""

    def __init__(self, query: "Select[Any]") -> None:
        self._query: Final = query
        self._texts: dict[str, tuple[str, list[str] | None]] = {}

    def one(self, database: "Database", values: Values) -> "Sequence[Any] | None":
        """The only row, or ``None``. Raises what ``reading`` raises."""
        engine = database.glances
        found = self._texts.get(engine.dialect.name) or self._compiled(engine)
        try:
            return _run(engine, *found, values)
        except (SQLAlchemyError, engine.dialect.dbapi.Error):  # type: ignore[union-attr]  # every driver has it
            with database.reading() as connection:
                row = connection.exec_driver_sql(found[0], _given(found[1], values)).one_or_none()
            return None if row is None else tuple(row)

    def _compiled(self, engine: "Engine") -> tuple[str, list[str] | None]:
        compiled = self._query.compile(engine)
        order = list(compiled.positiontup or ()) if compiled.positional else None
        found = self._texts[engine.dialect.name] = (str(compiled), order)
        return found


def _run(engine: "Engine", query: str, order: list[str] | None, values: Values) -> "Sequence[Any] | None":
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        try:
            cursor.execute(query, _given(order, values))
            row: Sequence[Any] | None = cursor.fetchone()
            return row
        finally:
            cursor.close()
    except BaseException:
        connection.invalidate()  # lost, perhaps
        raise
    finally:
        connection.close()


def _given(order: list[str] | None, values: Values) -> Any:
    return values if order is None else tuple(values[name] for name in order)
