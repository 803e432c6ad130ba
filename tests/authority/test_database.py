"""The database under an authority: the same on SQLite and PostgreSQL."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine, insert, select, text
from sqlalchemy.exc import OperationalError

from dojang.authority import audit, migrations, tables
from dojang.authority.audit.guards import triggers
from dojang.authority.database import Database
from dojang.authority.enrolment.lookup import look_up
from dojang.errors import DatabaseUnavailable, InvalidSetting, NotFound, StateUnreadable
from dojang.otp import tables as otp_tables
from dojang.testing.postgres import PrivatePostgres, private_postgres

AT = datetime(2026, 1, 1, tzinfo=UTC)


def migrated(database_url: str, step: str = "head") -> Any:
    """An engine on an empty database that went through every step, or as far as ``step``."""
    url = database_url.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.connect() as connection, connection.begin():
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        command.upgrade(config, step)
    return engine


def whole_schema() -> MetaData:
    """The authority's own tables and those of one-time passwords, as one."""
    whole = MetaData()
    for table in (*tables.metadata.sorted_tables, *otp_tables.metadata.sorted_tables):
        table.to_metadata(whole)
    return whole


def guards_of(connection: Connection) -> set[str]:
    """The triggers that are there."""
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }
    return set(connection.execute(text(query[connection.dialect.name])).scalars())


def wanted_guards(dialect: str) -> set[str]:
    """Those of the tables whose rows are only added."""
    statements = [one for table in ("audit", "audit_head") for one in triggers(table, dialect)]
    return {name for one in statements for name in re.findall(r"CREATE TRIGGER (\w+)", one)}


@pytest.mark.parametrize("opened_at", ["head", "0002"])
def test_the_steps_lead_to_the_tables(database_url: str, opened_at: str) -> None:
    """What the migrations make is what the code uses, on either database; also where an older one is opened."""
    engine = migrated(database_url, opened_at)
    with engine.begin() as connection:  # the record of what happened begins with the root certificate
        connection.execute(insert(tables.signer).values(id="root", role="root", certificate_der=b"0", key_address="-"))
    Database.open(database_url).close()
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": connection.dialect.name != "sqlite"}
        )
        assert compare_metadata(context, whole_schema()) == []
        assert guards_of(connection) == wanted_guards(connection.dialect.name)
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://h/x", "postgresql://u:secret@h/x", "postgresql:///x?password=y", "what"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    """Other databases, and passwords, which do not belong into an address."""
    with pytest.raises(InvalidSetting) as caught:
        Database.open(url)
    assert "secret" not in str(caught.value)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database.create(database_url)
    yield made
    made.close()


def officers(database: Database) -> list[str]:
    with database.reading() as connection:
        return sorted(connection.execute(select(tables.admin_request.c.id)).scalars())


def add(connection: Connection, name: str) -> str:
    connection.execute(insert(tables.admin_request).values(id=name, officer="kim", accepted_at=AT))
    return name


def test_a_place_is_told_as_people_write_it(database_url: str) -> None:
    """Without the driver that is used, so that it can be given as an address again."""
    database = Database.create(database_url)
    assert unquote(str(database.place)) in (database_url, database_url.removeprefix("sqlite:///"))
    database.close()


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    """What fails leaves nothing; what was written is seen by whoever reads in it, and by others afterwards."""
    with contextlib.suppress(ZeroDivisionError), database.writing() as connection:
        add(connection, "lost")
        assert officers(database) == ["lost"]
        raise ZeroDivisionError
    with database.writing() as connection:
        add(connection, "kept")
    assert officers(database) == ["kept"]


def test_one_writes_at_a_time(database: Database) -> None:
    """Of threads that read a number and write the next one, none writes what another wrote; openings are no matter."""
    other = Database.open(database.url)

    def count(mine: Database) -> None:
        for _ in range(20):
            with mine.writing() as connection:
                add(connection, f"{len(officers(mine)):03}")

    threads = [threading.Thread(target=count, args=(one,)) for one in (database, other) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert officers(database) == [f"{number:03}" for number in range(80)]


def test_what_is_done_together_fails_apart(database: Database) -> None:
    """Several at once, some wrong: each has its own answer or error, and only the wrong ones leave nothing."""

    def wrong(connection: Connection) -> str:
        add(connection, "wrong")
        raise NotFound(what="x", where="y", command="z")

    works = [partial(add, name=name) for name in ("a", "b")]
    answers = database.together_all([works[0], wrong, partial(add, name="a"), works[1]])
    assert [answers[0], answers[3]] == ["a", "b"]
    assert isinstance(answers[1], NotFound)
    assert isinstance(answers[2], StateUnreadable)  # a broken constraint that nobody answered
    assert officers(database) == ["a", "b"]


def test_threads_share_a_transaction_and_each_gets_its_answer(database: Database) -> None:
    """Forty threads: each name is written once and answered to who asked; with far fewer transactions than threads."""
    begun, honest, gate = [], database.writing, threading.Event()

    @contextlib.contextmanager
    def counted() -> Iterator[Connection]:
        with honest() as connection:
            begun.append(1)
            gate.wait(10)
            yield connection

    database.writing = counted
    answers: dict[str, str] = {}

    def ask(name: str) -> None:
        answers[name] = database.together(lambda connection: add(connection, name))

    names = [f"{number:02}" for number in range(40)]
    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    while len(database._batch._waiting) < 39:  # all but the first wait, for that holds the transaction open
        time.sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join()
    assert answers == {name: name for name in names}
    assert officers(database) == names
    assert len(begun) == 2


def test_who_is_at_work_goes_along(database: Database) -> None:
    """What another thread carries out is done in the name of who asked for it."""
    with audit.acting("officer:kim"):
        assert database.together(lambda _connection: audit.current_actor()) == "officer:kim"


def test_nobody_is_answered_before_it_is_durable(database: Database) -> None:
    """When the end of the transaction fails, everybody in it hears so, and nothing is there."""
    honest, failing = database.writing, DatabaseUnavailable(where="there", problem="gone")

    @contextlib.contextmanager
    def lost() -> Iterator[Connection]:
        with contextlib.suppress(ZeroDivisionError), honest() as connection:
            yield connection
            raise ZeroDivisionError
        raise failing

    database.writing = lost
    answers = database.together_all([partial(add, name="a"), partial(add, name="b")])
    assert answers == [failing, failing]
    database.writing = honest
    assert officers(database) == []


def test_a_transaction_inside_another_is_a_mistake(database: Database) -> None:
    """It would not be durable when its block has ended."""
    with database.writing(), pytest.raises(RuntimeError, match="transaction"), database.writing():
        pass


def test_closing_waits_for_nobody(database: Database) -> None:
    """Neither for a writer that waits for a token, nor for itself; the writer ends well, and nothing stays open."""
    inside, let_go = threading.Event(), threading.Event()

    def write() -> None:
        with database.writing() as connection:
            connection.execute(text("CREATE TABLE late (number INTEGER)"))
            inside.set()
            assert let_go.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    assert inside.wait(30)
    begun = time.monotonic()
    database.close()
    assert time.monotonic() - begun < 5
    let_go.set()
    writer.join()
    assert database._writing is None
    with database.writing() as connection:
        assert connection.execute(text("SELECT count(*) FROM late")).scalar() == 0
        database.close()
    assert database._writing is None


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    """Nothing of the transaction is there, and it goes on when there is room."""
    database = Database.create(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with database.reading() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(DatabaseUnavailable, match="full") as caught:
        database.together(lambda connection: [add(connection, f"{number}" * 500) for number in range(100)])
    assert caught.value.retryable
    with database.reading() as connection:
        connection.execute(text("PRAGMA max_page_count = 1000000"))
    assert officers(database) == []
    database.together(partial(add, name="again"))
    assert officers(database) == ["again"]
    database.close()


def test_a_transaction_that_ended_by_itself_is_not_taken_for_done(tmp_path: Path) -> None:
    """A full disk makes SQLite undo everything; what is written after that, by whoever overlooked it, is no success."""
    database = Database.create(f"sqlite:///{tmp_path / 'x.sqlite'}")

    def overlook(connection: Connection) -> None:
        add(connection, "first")
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with contextlib.suppress(OperationalError):
            for number in range(100):
                add(connection, f"{number}" * 900)

    with pytest.raises(DatabaseUnavailable):
        database.together(overlook)
    assert officers(database) == []
    database.close()


@pytest.fixture(scope="module")
def durable() -> Iterator[PrivatePostgres]:
    """A server of its own, which may be struck down; it keeps what it said it had kept."""
    with private_postgres(durable=True) as server:
        yield server


def test_a_server_that_is_struck_down_loses_nothing(durable: PrivatePostgres) -> None:
    """Under load: who was answered finds it there, who was not is told to try again, and lost connections come back."""
    database = Database.create(durable.new_database())
    told: list[str] = []
    refused: list[DatabaseUnavailable] = []
    over = threading.Event()

    def keep_adding(mark: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                told.append(database.together(partial(add, name=f"{mark}{number}")))
            except DatabaseUnavailable as error:
                refused.append(error)

    threads = [threading.Thread(target=keep_adding, args=(mark,)) for mark in "abcd"]
    for thread in threads:
        thread.start()
    _wait_for(lambda: len(told) > 50)
    for _ in range(2):
        before = len(refused)
        durable.stop(immediate=True)
        _wait_for(lambda known=before: len(refused) > known)
        durable.start()
        after = len(told)
        _wait_for(lambda known=after: len(told) > known + 50)
    over.set()
    for thread in threads:
        thread.join()
    assert set(told) <= set(officers(database))
    assert len(set(told)) == len(told)
    assert all(error.exit_status == 11 and error.retryable for error in refused)
    database.close()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    """It can be tried again; the message says where it should be."""
    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        Database.open(f"postgresql:///nowhere?host={tmp_path}")


def test_a_database_without_an_authority_is_said_so(postgres: PrivatePostgres) -> None:
    """It is left as it is."""
    url = postgres.new_database()
    with pytest.raises(StateUnreadable, match="form"):
        Database.open(url)


def _wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_glance_sees_what_its_thread_has_written(database: Database) -> None:
    """Before it is committed and, where it is rolled back, not after it; nobody else sees it."""
    tried = insert(tables.source_tries).values(source="192.0.2.1", at=AT + timedelta(1))

    def tries() -> int:
        return look_up(database, "0123456789", "192.0.2.1", AT, AT).tries

    with contextlib.suppress(ZeroDivisionError), database.writing() as connection:
        connection.execute(tried)
        assert tries() == 1
        with ThreadPoolExecutor(1) as other:
            assert other.submit(tries).result() == 0
        raise ZeroDivisionError
    assert tries() == 0


def test_a_database_that_is_closed_keeps_no_connection_of_a_glance(tmp_path: Path) -> None:
    """Neither one that was free at its end, nor one that is used after it; that gets its answer all the same."""
    database = Database.create(f"sqlite:///{tmp_path / 'store.sqlite'}")
    assert look_up(database, "0123456789", "192.0.2.1", AT, AT).known is None
    glances: Any = database.glances
    assert len(glances._free) == 1
    database.close()
    assert glances._free == []
    assert glances.one("SELECT ?", ("a",)) == ("a",)
    assert glances._free == []
