"""Where each conversation stands, in the database: so that any process answers the next message, and a message that
comes again gets the same answer.

    waiting ──→ granted ──→ confirmed
       │           └──────→ rejected
       └──→ refused                      done (revocations, implicit confirmation)
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, insert, select, update

from dojang.authority import tables

State = Literal["waiting", "granted", "confirmed", "rejected", "refused", "done"]
LONGEST_ID: Final = 64


class Overtaken(Exception):
    """Another thread or process has answered in this conversation meanwhile."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which conversation: its transactionID, and who speaks. Two senders never meet in one."""

    transaction_id: bytes
    sender: bytes

    @property
    def text(self) -> str:
        """The same as one text."""
        return f"cmp:{self.sender.hex()}:{self.transaction_id.hex()}"


@dataclass(frozen=True, slots=True)
class Turn:
    """The last message of a conversation and its answer.

    ``our_nonce`` is in the answer, and the next message repeats it. ``details`` is JSON: what is needed later.
    """

    state: State
    kind: str
    request_hash: bytes
    response_der: bytes
    our_nonce: bytes
    serial: str | None
    expires_at: datetime
    details: str = "{}"


def turn_at(connection: Connection, place: Place) -> Turn | None:
    """The last turn, ``None`` for a conversation that is new."""
    table = tables.cmp_transaction
    row = connection.execute(select(table).where(_is_at(place))).one_or_none()
    return None if row is None else _turn(row)


def begin(connection: Connection, place: Place, turn: Turn, at: datetime) -> None:
    """Inside ``writing()``. Raises ``Overtaken`` when the conversation has begun already."""
    if turn_at(connection, place) is not None:
        raise Overtaken
    connection.execute(
        insert(tables.cmp_transaction).values(
            transaction_id=place.transaction_id, sender_key=place.sender, **_values(turn, at)
        )
    )


def go_on(connection: Connection, place: Place, before: Turn, turn: Turn, at: datetime) -> None:
    """Inside ``writing()``. Raises ``Overtaken`` unless ``before`` is still the last turn."""
    same = _is_at(place) & (tables.cmp_transaction.c.request_hash == before.request_hash)
    changed = connection.execute(update(tables.cmp_transaction).where(same).values(**_values(turn, at)))
    if changed.rowcount != 1:
        raise Overtaken


def forget(connection: Connection, at: datetime) -> int:
    """Inside ``writing()``. Remove what has ended and is kept no longer; how many conversations that were."""
    table = tables.cmp_transaction
    return int(connection.execute(delete(table).where(table.c.expires_at <= at)).rowcount)


def _is_at(place: Place) -> Any:
    table = tables.cmp_transaction
    return (table.c.transaction_id == place.transaction_id) & (table.c.sender_key == place.sender)


def _values(turn: Turn, at: datetime) -> dict[str, Any]:
    return {
        "state": turn.state,
        "kind": turn.kind,
        "request_hash": turn.request_hash,
        "response_der": turn.response_der,
        "sender_nonce": turn.our_nonce,
        "serial": turn.serial,
        "details": turn.details,
        "changed_at": at,
        "expires_at": turn.expires_at,
    }


def _turn(row: Any) -> Turn:
    return Turn(
        state=row.state,
        kind=row.kind,
        request_hash=row.request_hash,
        response_der=row.response_der,
        our_nonce=row.sender_nonce,
        serial=row.serial,
        expires_at=row.expires_at,
        details=row.details,
    )
