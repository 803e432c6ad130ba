"""A clock that was set back: nothing is issued until it is right again."""

import threading
from datetime import datetime, timedelta
from typing import Final

from dojang.authority.store import Store
from dojang.errors import ClockSetBack

TOLERANCE: Final = timedelta(minutes=10)
"""By how much the clocks of the hosts of one authority may differ, and one may be corrected."""


class Watch:
    """Knows the latest moment that was on record when it began, and every moment since. For many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._latest_at: datetime | None = None
        self._turn = threading.Lock()

    def check(self, at: datetime) -> None:
        """Raise ``ClockSetBack`` when it was later than that before; a term would begin or end at a wrong moment."""
        with self._turn:
            latest_at = self._latest_at or self._store.latest_at() or at
            self._latest_at = max(latest_at, at)
        if at < latest_at - TOLERANCE:
            self._latest_at = self._store.latest_at()  # a clock that was ahead may have been read, and nothing recorded
            if self._latest_at is not None and at < self._latest_at - TOLERANCE:
                raise ClockSetBack(authority=self._store.name, now=at, latest=self._latest_at)
