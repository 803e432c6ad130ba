"""One connection to the agent, from the side of who asks. Loaded by every short command, so it imports next to nothing.

``_socket`` is what ``socket`` is made of; without the latter's classes a command starts a fifth sooner.
"""

import _socket
import os
import sys

from dojang.agent.wire import EXTENSION, LONGEST_FRAME, Malformed, Reader, frame, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_TYPE = bytes((EXTENSION,))
_AT_ONCE: "Final" = 65536
_PEER: "Final" = 12  # bytes of struct ucred; the user id is in the middle


class Gone(Exception):
    """There is no agent, or no longer. ``asked``: the request had left, so it may have been carried out."""

    def __init__(self, *, asked: bool) -> None:
        super().__init__()
        self.asked = asked


class Channel:
    """A connection; for one thread at a time."""

    __slots__ = ("_socket",)

    def __init__(self, connected: "_socket.socket") -> None:
        self._socket = connected

    def __del__(self) -> None:
        self._socket.close()

    @classmethod
    def open(cls, path: str) -> "Channel":
        """Connect to the agent whose socket is at ``path``. ``Gone`` where none listens, or one of another user."""
        if sys.platform != "linux":
            raise Gone(asked=False)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        channel = cls(connection)
        try:
            connection.connect(path)
            peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER)
        except OSError:
            raise Gone(asked=False) from None
        if peer[4:8] != os.getuid().to_bytes(4, sys.byteorder):
            raise Gone(asked=False)
        return channel

    def close(self) -> None:
        self._socket.close()

    def extension(self, name: bytes, *fields: bytes) -> "tuple[int, Reader]":
        """Ask one of dojang's own requests: the status of the answer, and the fields after it."""
        body = self.ask(frame(_TYPE, string(name), *fields))
        reader = Reader(body, 5 + len(name))
        if body[:1] != b"\x1d" or body[5 : 5 + len(name)] != name:
            raise Malformed
        return reader.byte(), reader

    def ask(self, request: bytes) -> bytes:
        """Send a frame and receive the body of the next; ``Gone``."""
        connection = self._socket
        asked = False
        try:
            connection.sendall(request)
            asked = True
            received = connection.recv(_AT_ONCE)
            if len(received) >= 4 and len(received) == 4 + int.from_bytes(received[:4], "big"):
                return received[4:]
            return self._rest(received)
        except OSError:
            raise Gone(asked=asked) from None

    def _rest(self, received: bytes) -> bytes:
        while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], "big"):
            more = self._socket.recv(_AT_ONCE)
            if not more or len(received) > LONGEST_FRAME:
                raise Gone(asked=True)
            received += more
        return received[4:]
