"""The schema of an authority's database: which version is there, and making all of it where there is none."""

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, MetaData, text

from dojang.authority import tables
from dojang.authority.engines import WRITING
from dojang.columns import for_postgres
from dojang.errors import AlreadyExists, Phrase

if TYPE_CHECKING:
    from dojang.authority.database import Database

SCHEMA: Final = "0003"


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


def make_tables(connection: Connection, database: "Database", name: str) -> None:
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


def _check_vacant(connection: Connection, database: "Database", schema: list[MetaData], name: str) -> None:
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
