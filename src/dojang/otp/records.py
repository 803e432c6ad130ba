"""What the verifying side is given by whoever owns the database: its transactions, its record of events, its secret."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
Clock = Callable[[], datetime]


class Records(Protocol):
    """A database, for many threads and processes."""

    def reading(self) -> "AbstractContextManager[Connection]":
        """A look at what is committed."""
        ...

    def writing(self) -> "AbstractContextManager[Connection]":
        """All or nothing, one writer at a time; durable when the block has ended."""
        ...

    def together(self, work: "Callable[[Connection], T]") -> T:
        """``work`` in one transaction with what others want done at the same time; durable when this returns.

        It may run on another thread, and again when another failed: it does nothing but read and write there.
        """
        ...


class Note(Protocol):
    """Puts an event on record, inside a transaction: it is there with the rest of it or not at all."""

    def __call__(
        self,
        connection: "Connection",
        *,
        event: str,
        subject: str,
        actor: str | None = None,
        at: datetime | None = None,
        **details: str | int | list[str] | None,
    ) -> None:
        """``actor`` is who is at work unless said otherwise; ``details`` are what the event may tell."""
        ...


class NoteMany(Protocol):
    """The same for many subjects at once, each with its details."""

    def __call__(
        self,
        connection: "Connection",
        *,
        event: str,
        told: Iterable[tuple[str, Mapping[str, str | int | list[str] | None]]],
        at: datetime,
    ) -> None: ...


class TokenSecret(Protocol):
    """A secret on a token. Nobody sees it; what it computes tells nothing about it."""

    def digest(self, message: bytes) -> bytes:
        """HMAC-SHA256 of the message under it."""
        ...
