"""Columns and tables that are alike on SQLite and PostgreSQL, for every room that keeps rows.

A moment is kept as UTC text of one width, so that it sorts as text on both; give and get aware datetimes. A yes or no
is an integer. Partial indexes are used only where a query spells the condition as the index does, literally.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TextClause,
    TypeDecorator,
)

from dojang.errors import Phrase, StateUnreadable

BIG: Final = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER numbers rows by itself there
_PARTIAL: Final[list[tuple[Index, TextClause]]] = []


@lru_cache(maxsize=256)
def moment_text(at: datetime) -> str:
    """A moment as it is kept. Most of those that are written are this second, again and again."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept to the second: ``2026-01-31T12:00:00+00:00``.

    ``StateUnreadable`` for what somebody else has put there.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else moment_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else _moment_in(value)


def _moment_in(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
    except ValueError:
        pass
    raise StateUnreadable(path=Phrase("the database"), problem=Phrase("{text} is no moment", text=ascii(text[:40])))


class Flag(TypeDecorator[bool]):
    """Yes or no, as 1 or 0."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        return None if value is None else bool(value)


def new_metadata() -> MetaData:
    """Where tables are put together; what has no name of its own is named after its table and column."""
    return MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def strict_table(metadata: MetaData, name: str, *parts: Any) -> Table:
    """A table whose columns hold nothing but what they say, on SQLite too."""
    return Table(name, metadata, *parts, sqlite_strict=True)


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """The column holds one of these words."""
    return CheckConstraint(f"{column} IN ({', '.join(map(repr, values))})", name=column)


def partial_index(name: str, *columns: Any, where: TextClause, unique: bool = False) -> None:
    """An index over the rows of which ``where`` is true."""
    _PARTIAL.append((Index(name, *columns, unique=unique, sqlite_where=where), where))


def for_postgres() -> None:
    """Say the conditions of partial indexes in PostgreSQL's words too: that loads what else speaks to it."""
    for index, where in _PARTIAL:
        index.dialect_kwargs["postgresql_where"] = where
