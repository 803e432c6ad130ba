"""Which code of each seed is next, and which was accepted last: written down before anybody sees a code or an answer.

One small SQLite file of the state folder, for many threads and processes. A process that is killed between writing and
showing has lost a counter, never given one out twice. What is kept here only grows. A row outlives its seed: should
the key come back from a backup of its token, its counter does not start anew.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from dojang.errors import CounterUnknown, InvalidOtp, NotPermitted, Phrase
from dojang.ledger import connect, state_errors, transaction

FILE_NAME: Final = "otp-counters.sqlite"
LARGEST: Final = (1 << 63) - 2
"""SQLite's integers have a sign; nobody gets as far as RFC 4226's eight bytes either."""
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE counters (
    seed TEXT PRIMARY KEY,
    shown INTEGER NOT NULL CHECK (shown >= 0),
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    drift INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TRIGGER counters_grow BEFORE UPDATE ON counters
WHEN NEW.shown < OLD.shown OR NEW.accepted < OLD.accepted
BEGIN SELECT RAISE(ABORT, 'a counter never goes back'); END;
CREATE TRIGGER counters_stay BEFORE DELETE ON counters BEGIN SELECT RAISE(ABORT, 'a counter never goes back'); END;
"""


class Count(NamedTuple):
    """What is known of a seed: the next counter to be shown, the first that is still accepted, and, for codes by time,
    how many steps its device goes before the clock here.
    """

    shown: int = 0
    accepted: int = 0
    drift: int = 0


class Counters:
    """The counts in one file; a context manager. Threads may share one, processes open the same path."""

    def __init__(self, path: Path) -> None:
        """The file is made (0600) where it is not there; ``StateUnreadable``."""
        self._path = path
        self._connection = connect(path, _SCHEMA, _VERSION)
        self._lock = threading.Lock()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def known(self, seed: str) -> Count | None:
        """What is written of a seed; nothing where its codes were never counted here."""
        with self._lock, state_errors(self._path):
            return self._read(seed)

    def begin(self, seed: str, counter: int) -> None:
        """Count a seed from ``counter``; where it was counted before, on from there. ``InvalidOtp`` for absurd ones."""
        if not 0 <= counter <= LARGEST:
            raise InvalidOtp(problem=Phrase("a counter is a number from 0 to {largest}", largest=LARGEST))
        with self._writing():
            self._raise_to(seed, shown=counter, accepted=counter)

    def take(self, seed: str) -> int:
        """The next counter, which is used up when this returns, whatever becomes of its code; ``CounterUnknown``."""
        with self._writing():
            count = self._read(seed)
            if count is None:
                raise CounterUnknown(what=Phrase("this seed"))
            if count.shown > LARGEST:
                raise NotPermitted(problem=Phrase("the counter has reached its end"), remedy=Phrase("Add a new seed."))
            self._raise_to(seed, shown=count.shown + 1)
        return count.shown

    def accept(self, seed: str, counter: int, *, drift: int | None = None) -> bool:
        """Whether ``counter`` is accepted, which it is once; none before it is accepted or shown any more."""
        with self._writing():
            count = self._read(seed) or Count()
            fresh = counter >= count.accepted
            if fresh:
                self._raise_to(seed, shown=counter + 1, accepted=counter + 1, drift=drift)
        return fresh

    def forward(self, seed: str, counter: int) -> None:
        """Go on with ``counter``; ``NotPermitted`` where that would be back."""
        with self._writing():
            count = self._read(seed)
            if not 0 <= counter <= LARGEST or (count is not None and counter < count.shown):
                raise NotPermitted(
                    problem=Phrase(
                        "a counter goes forward only, and {next} is next", next=0 if count is None else count.shown
                    ),
                    remedy=Phrase("Give a counter that has not been used."),
                )
            self._raise_to(seed, shown=counter, accepted=counter)

    def _read(self, seed: str) -> Count | None:
        row = self._connection.execute("SELECT shown, accepted, drift FROM counters WHERE seed = ?", (seed,)).fetchone()
        return None if row is None else Count(*row)

    def _raise_to(self, seed: str, *, shown: int = 0, accepted: int = 0, drift: int | None = None) -> None:
        self._connection.execute(
            "INSERT INTO counters (seed, shown, accepted, drift) VALUES (?1, ?2, ?3, coalesce(?4, 0))"
            " ON CONFLICT (seed) DO UPDATE SET shown = max(shown, ?2), accepted = max(accepted, ?3),"
            " drift = coalesce(?4, drift)",
            (seed, shown, accepted, drift),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Everything that changes a count goes through here: one writer at a time, durable when it has ended."""
        with self._lock, state_errors(self._path), transaction(self._connection):
            yield
