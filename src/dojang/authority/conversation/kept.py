"""The keys of conversations that are under way, in memory: so that who has proved to know a code proves it again, with
his next message, without the token computing the code anew and hundreds of hashes after that.

A key is found by the mark of the code and the parameters that it was derived with, among them the salt that the sender
chose for this conversation. It is taken out to be used, and wiped when it is not needed any more: when the conversation
has ended, after a minute though nobody asks anything, or when a thousand others came after it. Whether the code may be
used is asked each time.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from dojang.cmp.macs import Mac

MOST: Final = 1024
SECONDS: Final = 60.0
Name = tuple[bytes, bytes]


class KeptKeys:
    """For many threads; whoever takes one has it alone."""

    def __init__(
        self, *, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._kept: dict[Name, tuple[float, Mac]] = {}
        self._turn = threading.Lock()
        self._alarm: threading.Timer | None = None  # rings while a key is kept

    def take(self, name: Name) -> Mac | None:
        """The key of this name, if it is here; it is not any more."""
        with self._turn:
            self._forget(self._most)
            kept = self._kept.pop(name, None)
        return None if kept is None else kept[1]

    def keep(self, name: Name, mac: Mac) -> None:
        """For the next message. Whoever gives it away does not use it any more."""
        with self._turn:
            self._drop(name)
            self._forget(self._most - 1)
            self._kept[name] = self._clock() + self._seconds, mac
            if self._alarm is None or not self._alarm.is_alive():  # it does not live on in the child of a fork
                self._set_alarm()

    def _set_alarm(self) -> None:
        """For all that is kept now; what comes meanwhile waits for the next, half as long again at most."""
        self._alarm = threading.Timer(self._seconds / 2, self._ring)
        self._alarm.daemon = True
        self._alarm.start()

    def _ring(self) -> None:
        with self._turn:
            self._forget(self._most)
            self._alarm = None
            if self._kept:
                self._set_alarm()

    def _forget(self, room: int) -> None:
        """What is too old, or too much. The oldest stand first."""
        now = self._clock()
        while self._kept:
            name = next(iter(self._kept))
            if len(self._kept) <= room and self._kept[name][0] > now:
                break
            self._drop(name)

    def _drop(self, name: Name) -> None:
        if name in self._kept:
            self._kept.pop(name)[1].wipe()
