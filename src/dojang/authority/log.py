"""The log of an embedded database, in which writes wait until they go to where they belong.

SQLite begins it anew when it has been copied and nobody reads from it. Where somebody always does, as with thousands of
glances a second, that moment never comes by itself, and the log grows with every write.
"""

import contextlib
from pathlib import Path
from time import monotonic
from typing import Any, Final

from sqlalchemy import Connection

LONGEST: Final = 32 << 20
"""Twice what SQLite lets wait of itself."""
AGAIN: Final = 10.0
"""Seconds until the next attempt, where somebody goes on reading."""
_WAIT: Final = 100
"""Milliseconds for those who read from it to be done; whoever begins meanwhile reads elsewhere."""


class Log:
    """For one writer at a time."""

    def __init__(self, path: Path) -> None:
        self._path, self._not_before = path, 0.0

    def bound(self, connection: Connection) -> None:
        """Begin it anew if it has become long."""
        if not self._is_long() or monotonic() < self._not_before:
            return
        driver: Any = connection.connection.driver_connection
        with contextlib.suppress(connection.dialect.loaded_dbapi.Error):
            (usual,) = driver.execute("PRAGMA busy_timeout").fetchone()
            try:
                driver.execute(f"PRAGMA busy_timeout = {_WAIT}")
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                driver.execute(f"PRAGMA busy_timeout = {usual}")
        if self._is_long():
            self._not_before = monotonic() + AGAIN

    def _is_long(self) -> bool:
        try:
            return self._path.stat().st_size >= LONGEST
        except OSError:
            return False
