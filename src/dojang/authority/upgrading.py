"""Bringing an older database up to date, in place: the old form or the new one, whole, whenever the run is killed."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from dojang.authority.database import SCHEMA, WRITING, schema_of, set_pragma


def upgrade(engine: Engine, *, embedded: bool) -> None:
    """Do every step that is missing, in one transaction; nothing when another process was first."""
    with engine.connect() as plain:
        if embedded:
            set_pragma(plain, "foreign_keys = OFF")
        try:
            connection = plain.execution_options(**{WRITING: True})
            with connection.begin():
                _upgrade(connection, embedded=embedded)
        finally:
            plain.detach()  # its settings are for this only


def _upgrade(connection: Connection, *, embedded: bool) -> None:
    if not embedded:
        connection.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
    found = schema_of(connection, embedded=embedded)
    if found == SCHEMA:
        return
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    if found == "0001" and embedded:
        command.stamp(config, "0001")  # written before there was a note of the version in the database
    command.upgrade(config, SCHEMA)
    if embedded:
        if broken := connection.execute(text("PRAGMA foreign_key_check")).all():
            raise AssertionError(f"{len(broken)} rows refer to nothing")
        connection.execute(text(f"PRAGMA user_version = {int(SCHEMA)}"))
