"""The log of an embedded database stays short, whoever reads from it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from dojang.authority.database import Database
from dojang.authority.log import LONGEST

MEBI = 1 << 20


@contextmanager
def read_without_pause(database: Database, readers: int) -> Iterator[None]:
    """Each looks at one moment for a while, and there is no moment that none of them looks at."""
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with database.reading() as connection:
                connection.execute(text("SELECT count(*) FROM much")).scalar()
                time.sleep(0.01)

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def written(database: Database, path: Path, mebibytes: int) -> int:
    """How long the log was at most while so much was written."""
    most = 0
    for _ in range(mebibytes):
        with database.writing() as connection:
            connection.execute(text("INSERT INTO much (data) VALUES (zeroblob(1048576))"))
        most = max(most, Path(f"{path}-wal").stat().st_size)
    return most


def test_the_log_begins_anew_beside_readers_that_never_pause(tmp_path: Path) -> None:
    """Four times its length is written while somebody reads at every moment; it stays short, and nothing is lost."""
    path = tmp_path / "store.sqlite"
    database = Database.create(f"sqlite:///{path}")
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE much (data BLOB)"))
    with read_without_pause(database, 4):
        assert written(database, path, 128) < LONGEST + 4 * MEBI
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*), sum(length(data)) FROM much")).one() == (128, 128 * MEBI)
    database.close()


def test_one_who_reads_for_long_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While he looks at one moment the log grows, and is tried again now and then; after that it is short again."""
    monkeypatch.setattr("dojang.authority.log.AGAIN", 0.3)
    path = tmp_path / "store.sqlite"
    database = Database.create(f"sqlite:///{path}")
    with database.writing() as connection:
        connection.execute(text("CREATE TABLE much (data BLOB)"))
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM much")).scalar() == 0
        begin = time.monotonic()
        assert written(database, path, 64) > LONGEST
        assert time.monotonic() - begin < 30
        assert connection.execute(text("SELECT count(*) FROM much")).scalar() == 0
    time.sleep(0.3)
    written(database, path, 1)
    assert Path(f"{path}-wal").stat().st_size < LONGEST
    database.close()
