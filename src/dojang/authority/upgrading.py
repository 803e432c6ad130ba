"""Bringing an older database up to date, in place: the old form or the new one, whole, whenever the run is killed."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from cryptography import x509
from sqlalchemy import Connection, Engine, insert, text

from dojang.authority import audit, tables
from dojang.authority.audit.record import root_certificate
from dojang.authority.engines import WRITING
from dojang.authority.schema import SCHEMA, schema_of, set_pragma


def upgrade(engine: Engine, name: str, *, embedded: bool) -> None:
    """Do every step that is missing, in one transaction; nothing when another process was first.

    ``name`` is what the authority is called here.
    """
    with engine.connect() as plain:
        if embedded:
            set_pragma(plain, "foreign_keys = OFF")
        try:
            connection = plain.execution_options(**{WRITING: True})
            with connection.begin():
                _upgrade(connection, name, embedded=embedded)
        finally:
            plain.detach()  # its settings are for this only


def _upgrade(connection: Connection, name: str, *, embedded: bool) -> None:
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
    if found == "0001":
        _introduce(connection, name)
    audit.record(connection, event="store-upgraded", subject=name, before=found, after=SCHEMA)


def _introduce(connection: Connection, name: str) -> None:
    """The first form did not say whose records it held, nor since when."""
    root = x509.load_der_x509_certificate(root_certificate(connection))
    row = {"name": name, "state": "founded", "founded_at": root.not_valid_before_utc}
    connection.execute(insert(tables.authority).values(row))
