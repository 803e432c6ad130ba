"""The database under an authority: the same on SQLite and PostgreSQL."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from dojang.authority import migrations, tables
from dojang.authority.database import Database


def migrated(database_url: str, tmp_path: Path) -> Any:
    """An engine on an empty database that went through every step."""
    url = database_url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.connect() as connection, connection.begin():
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, "head")
    return engine


def test_the_steps_lead_to_the_tables(database_url: str, tmp_path: Path) -> None:
    """What the migrations make is what the code uses, on either database; and so is what a new one gets."""
    engine = migrated(database_url, tmp_path)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": connection.dialect.name != "sqlite"})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://h/x", "postgresql://u:secret@h/x", "postgresql:///x?password=y", "what"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    """Other databases, and passwords, which do not belong into an address."""
    from dojang.errors import InvalidSetting

    with pytest.raises(InvalidSetting) as caught:
        Database.open(url)
    assert "secret" not in str(caught.value)
