"""How many messages one process has on their way at once, so that a gateway that hangs does not take all its threads.

Whoever finds no room is told so at once, before anything is made or counted: to wait for room would take a thread too.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from dojang.otp.messages.targets import CHANNELS, Channel

# A centre works with eight threads: two are left to whatever else it does, and a channel that hangs leaves some to
# the others.
MOST: Final = 6
MOST_OF_A_CHANNEL: Final = 4
_RETRY_AFTER: Final = 2

_room: Final = threading.BoundedSemaphore(MOST)
_rooms: Final[Mapping[Channel, threading.BoundedSemaphore]] = MappingProxyType(
    {channel: threading.BoundedSemaphore(MOST_OF_A_CHANNEL) for channel in CHANNELS}
)


class NoRoom(Exception):
    """Too many are on their way; in ``seconds`` there may be room."""

    seconds = _RETRY_AFTER


@contextlib.contextmanager
def room_for(channel: Channel) -> Iterator[None]:
    """Room for one message as long as the block takes. Raises ``NoRoom`` at once."""
    with contextlib.ExitStack() as taken:
        for room in (_rooms[channel], _room):
            if not room.acquire(blocking=False):
                raise NoRoom
            taken.callback(room.release)
        yield
