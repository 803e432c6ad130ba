"""The finger on a security key: touches it when a test says so, or never."""

import threading
from typing import Final

PATIENCE: Final = 15.0


class Finger:
    """``patience`` is how many seconds the key waits for it; ``waiting`` is set while the key blinks."""

    def __init__(self) -> None:
        self.patience = PATIENCE
        self.waiting = threading.Event()
        self._touched = threading.Event()

    def touch(self) -> None:
        """Touch the key; a touch that nobody waits for is kept for the next who does."""
        self._touched.set()

    def touches(self) -> bool:
        """Wait for a touch, and take it; false when the patience is at its end."""
        self.waiting.set()
        try:
            return self._touched.wait(self.patience)
        finally:
            self._touched.clear()
            self.waiting.clear()
