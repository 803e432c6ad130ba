"""How many threads work at once: as many as it takes to keep the interpreter busy, and no more.

One thread of Python runs at a time. Where work is Python's for the most part, a second thread only takes turns with
the first at each statement of the database, and an eighth of the time goes into that. Where a key is in an HSM across a
network, or a disk is slow, most of the time is waiting, and more threads get more done.
"""

from typing import Final

_WINDOW: Final = 32
"""Pieces of work between two decisions."""
_TOO_LITTLE, _ENOUGH = 0.65, 0.72
"""Shares of a core's time. One thread that never waits comes to about four fifths beside the event loop."""


class Pace:
    """``hands`` are between 1 and ``most``. Whoever asks sees to it that one thread asks at a time."""

    def __init__(self, most: int) -> None:
        self.hands, self._most = 1, most
        self._since: float | None = None
        self._count, self._work = 0, 0.0

    def quicken(self) -> None:
        """Nothing is done any more while somebody waits: another hand."""
        self._change(1)

    def learn(self, now: float, work: float, *, others_wait: bool) -> None:
        """A piece is done that took so many seconds of a core's time. Only while ``others_wait`` that says anything."""
        if not others_wait:
            self._since = None
        elif self._since is None:
            self._since, self._count, self._work = now, 0, 0.0
        else:
            self._count, self._work = self._count + 1, self._work + work
            if self._count >= _WINDOW:
                self._decide(self._work / max(now - self._since, 1e-9))

    def _decide(self, share: float) -> None:
        self._since = None
        if share < _TOO_LITTLE:
            self._change(1)
        elif share > _ENOUGH:
            self._change(-1)

    def _change(self, by: int) -> None:
        self._since = None
        self.hands = max(1, min(self._most, self.hands + by))
