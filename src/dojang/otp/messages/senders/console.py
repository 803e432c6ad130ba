"""Messages shown where the program runs, on standard error: for development, in an authority for tests alone."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from dojang.otp.messages.reading import SenderTable
    from dojang.otp.messages.sending import Message


@dataclass(frozen=True, slots=True)
class Console:
    """Implements ``Sender``."""

    kind = "console"

    @classmethod
    def from_table(cls, _table: "SenderTable") -> Self:
        return cls()

    def check(self) -> None:
        """There is nothing that could be missing."""

    def send(self, message: "Message") -> None:
        sys.stderr.write(f"[{message.target.channel} {message.target.masked}] {message.text}\n")
        sys.stderr.flush()
