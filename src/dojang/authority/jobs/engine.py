"""What every job engine promises, whatever keeps the jobs.

- Of one kind and key at most one job waits, and at most one runs, over all processes.
- A job is claimed by one process; if that process dies, another one gets the job once the claim has run out.
- A job is gone when it is done. One that failed waits again, for the moment it is put off to.
- Jobs carry ids, never keys or PINs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from dojang.authority.database import Database

Payload = Mapping[str, str | int]
NOTHING: Final[Payload] = MappingProxyType({})
CLAIM_SECONDS: Final = 60.0
"""How long a claim lasts when nobody renews it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. ``attempt`` counts from 1; it also tells one claim of the job from the next."""

    id: int
    kind: str
    key: str
    run_at: datetime
    attempt: int
    payload: Payload = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Standing:
    """A job in the table, for people: ``waiting`` or ``running``; ``failures`` is how often it was put off."""

    kind: str
    key: str
    state: str
    run_at: datetime
    failures: int


class JobEngine(Protocol):
    """Keeps jobs. Every call is durable when it returns, and may raise ``DatabaseUnavailable``."""

    def now(self) -> datetime:
        """The moment by the clock that decides what is due; all processes see the same."""
        ...

    def enqueue(self, kind: str, key: str, run_at: datetime, payload: Payload = NOTHING) -> bool:
        """Have it done once, at ``run_at`` at the latest; false when one waits already, which is brought forward."""
        ...

    def claim(self, kinds: Collection[str]) -> Job | None:
        """A job of these kinds that is due; this process must ``keep`` it, and end it with ``done`` or ``fail``."""
        ...

    def keep(self) -> None:
        """Renew the claims of this process, and let go of those of processes that died."""
        ...

    def done(self, job: Job) -> None:
        """It is done and gone; nothing happens when the claim was lost meanwhile."""
        ...

    def fail(self, job: Job, retry_at: datetime) -> None:
        """It waits again; where another of its kind and key waits already, that one is enough."""
        ...

    def standing(self) -> list[Standing]:
        """What waits and what runs, the next first."""
        ...

    def close(self) -> None:
        """Let go of everything this process claimed."""
        ...


def job_engine(database: "Database") -> JobEngine:
    """The engine that belongs to the database: our own on SQLite, procrastinate on PostgreSQL."""
    if database.is_embedded:
        from dojang.authority.jobs.embedded import EmbeddedEngine

        return EmbeddedEngine(database)
    from dojang.authority.jobs.postgres import ProcrastinateEngine

    return ProcrastinateEngine(database)
