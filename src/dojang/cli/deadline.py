"""``--timeout``: a command that takes too long is ended, even while it waits inside a driver that does not answer.

Nothing can interrupt a module from outside, so the process ends as if it had been killed. Every verb survives that: the
next run finishes or undoes what was begun.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dojang.errors import TimedOut

if TYPE_CHECKING:
    from dojang.cli.context import Invocation


@contextlib.contextmanager
def kept(invocation: "Invocation", seconds: float) -> Iterator[None]:
    """End the process with ``TimedOut`` unless the block is left, or has given its result, within ``seconds``."""
    turn, left = threading.Lock(), False

    def end() -> None:
        with turn:
            if left or invocation.out.answered:
                return
            error = TimedOut(seconds=f"{seconds:g}")
            invocation.out.failure(invocation.command, error)
            sys.stdout.flush()
            os._exit(error.exit_status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with turn:
            left = True
        timer.cancel()
