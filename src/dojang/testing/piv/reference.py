"""The PIN and the PUK ("reference data"): compared in full, counted, and locked when the counter is at zero."""

import hmac

from dojang.testing.piv.apdu import Refused, Status

LENGTH = 8
_PADDING = 0xFF


class ReferenceData:
    """One secret with its counter. ``presented`` is how often somebody had it compared, right or wrong."""

    def __init__(self, value: str, *, tries: int, digits_only: bool, shortest: int) -> None:
        self.tries = tries
        self.tries_left = tries
        self.presented = 0
        self._digits_only = digits_only
        self._shortest = shortest
        self._value = self._checked(value.encode().ljust(LENGTH, bytes([_PADDING])))

    def check(self, padded: bytes) -> None:
        """Compare; ``Refused`` with 63Cx for a wrong one and 6983 once none is left. Right ones refill the counter."""
        if self.tries_left == 0:
            raise Refused(Status.BLOCKED)
        self._checked(padded)
        self.presented += 1
        if not hmac.compare_digest(padded, self._value):
            self.tries_left -= 1
            raise Refused(Status.TRIES | self.tries_left if self.tries_left else Status.BLOCKED)
        self.tries_left = self.tries

    def change(self, padded: bytes) -> None:
        """Set a new one; the counter is full again."""
        self._value = self._checked(padded)
        self.tries_left = self.tries

    def _checked(self, padded: bytes) -> bytes:
        """``padded`` if it has the form of SP 800-73-4, part 2, 2.4.3; what has not costs no try (6A80)."""
        body = padded.rstrip(bytes([_PADDING]))
        if len(padded) != LENGTH or len(body) < self._shortest or (self._digits_only and not body.isdigit()):
            raise Refused(Status.WRONG_DATA)
        return padded
