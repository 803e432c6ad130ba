"""While places are asked that may be slow: how many have answered, on a terminal, until all have."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from dojang.cli.context import Invocation
from dojang.cli.language import _

_EVERY = 0.2


@contextlib.contextmanager
def bar_of_places(invocation: Invocation, total: int) -> "Iterator[Callable[[int], None]]":
    """Gives what a place is to call, from any thread, when it has answered; who is late is not heard any more."""
    ended = threading.Event()
    with invocation.out.progress(_("Places that answered"), total, unit="items") as bar:
        turn = threading.Lock()

        def answered(_certificates: int, places: int = 1) -> None:
            with turn:
                if not ended.is_set():
                    bar.advance(places)

        def keep_drawing() -> None:
            while not ended.wait(_EVERY):
                answered(0, 0)

        threading.Thread(target=keep_drawing, daemon=True).start()
        try:
            yield answered
        finally:
            with turn:
                ended.set()
