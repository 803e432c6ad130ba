"""Job engines over a database of their own, on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dojang.authority.database import Database
from dojang.authority.jobs.embedded import EmbeddedEngine
from dojang.authority.jobs.engine import JobEngine
from dojang.authority.jobs.postgres import ProcrastinateEngine

QUICK, SLOW, LONG = 0.4, 1.5, 60.0
"""Seconds that a claim lasts: where one is to run out, where it is kept for longer, and where nobody is to lose it."""


class SetBack:
    """The clock of this machine, set back or forward as a test likes."""

    def __init__(self) -> None:
        self.off = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.off


def engine_on(
    database: Database, clock: Callable[[], datetime] | None = None, *, claim_seconds: float = LONG
) -> JobEngine:
    if database.is_embedded:
        return EmbeddedEngine(database, clock=clock or SetBack(), claim_seconds=claim_seconds)
    return ProcrastinateEngine(database, claim_seconds=claim_seconds)


@pytest.fixture
def database(database_url) -> Iterator[Database]:
    made = Database.create(database_url)
    yield made
    made.close()


@pytest.fixture
def open_engine(database) -> Iterator[Callable[..., JobEngine]]:
    """Each call is as another process would open it."""
    opened: list[JobEngine] = []

    def make(claim_seconds: float = LONG) -> JobEngine:
        opened.append(engine_on(database, claim_seconds=claim_seconds))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def engine(open_engine) -> JobEngine:
    return open_engine()
