"""An end for what goes over the network, however slowly the other side drips."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Deadline:
    """After ``seconds`` the connection is cut off, so that whoever waits for it gets an ``OSError`` or an end of file.

    ``connected`` gives the socket as it is by then; a timeout of its own covers the time before there is one.
    """

    def __init__(self, seconds: float, connected: Callable[[], socket.socket | None]) -> None:
        self._connected = connected
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.has_passed = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.has_passed = True
        found = self._connected()
        if found is not None:
            with contextlib.suppress(OSError):
                # Of the plain socket: TLS would first say goodbye, and wait for an answer.
                socket.socket.shutdown(found, socket.SHUT_RDWR)
