"""Work in a thread of its own: whoever waits for it can give up, or be interrupted.

Python takes Ctrl-C between its own steps only. A library that waits for a daemon or a card would keep it for as long.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


def aside(work: Callable[[], Result], name: str) -> Callable[[float | None], Result]:
    """Begin ``work`` in a thread called ``name``, which nobody waits for at the end of the process.

    What is returned waits for it, for so many seconds (``queue.Empty``) or without end, and ends as it ended.
    """
    outcome: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(), None))
        except BaseException as error:
            outcome.put((None, error))

    def wait(patience: float | None) -> Result:
        result, error = outcome.get(timeout=patience)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # no error, so this is what ``work`` returned

    threading.Thread(target=run, name=name, daemon=True).start()
    return wait
