"""Where each conversation stands, in the database: so that any process answers the next message, and a message that
comes again gets the same answer.

    waiting ──→ granted ──→ confirmed
       │           └──────→ rejected
       └──→ refused                      done (revocations, implicit confirmation)
"""

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from dojang.authority import tables
from dojang.authority.glance import Aside, Beside, Glance
from dojang.authority.revocation import CMP
from dojang.authority.swift import Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dojang.authority.database import Database

State = Literal["waiting", "granted", "confirmed", "rejected", "refused", "done"]
LONGEST_ID: Final = 64


class Overtaken(Exception):
    """Another thread or process has answered in this conversation meanwhile."""


class Place(NamedTuple):
    """Which conversation: its transactionID, and who speaks. Two senders never meet in one."""

    transaction_id: bytes
    sender: bytes

    @property
    def text(self) -> str:
        """The same as one text."""
        return f"{CMP}{self.sender.hex()}:{self.transaction_id.hex()}"


class Turn(NamedTuple):
    """The last message of a conversation and its answer.

    ``our_nonce`` is in the answer, and the next message repeats it. ``details`` is JSON: what is needed later.
    """

    state: State
    kind: str
    request_hash: bytes
    response_der: bytes
    our_nonce: bytes
    serial: str | None
    details: str
    expires_at: datetime


def turn_at(database: "Database", place: Place) -> Turn | None:
    """The last turn, ``None`` for a conversation that is new."""
    row = _GLANCE.one(database, _values_of(place))
    return None if row is None else turn_in(row)


def beside_turn(place: Place) -> Aside:
    """The same, to be brought along with something else; ``turn_in`` reads it."""
    return Aside(_BESIDE, _values_of(place))


def turn_in(row: "Sequence[Any]") -> Turn | None:
    """``None`` for columns that are empty."""
    state, kind, request_hash, response_der, our_nonce, serial, details, expires_at = row
    if state is None:
        return None
    until_at = datetime.fromisoformat(expires_at)
    return Turn(state, kind, request_hash, response_der, our_nonce, serial, details, until_at)


def begin(connection: Connection, place: Place, turn: Turn, at: datetime) -> None:
    """Inside ``writing()``. Raises ``Overtaken`` when the conversation has begun already."""
    values = {"transaction_id": place.transaction_id, "sender_key": place.sender, **_values(turn, at)}
    if _begun(connection.dialect.name).row(connection, values) is None:
        raise Overtaken


def go_on(connection: Connection, place: Place, before: Turn, turn: Turn, at: datetime) -> None:
    """Inside ``writing()``. Raises ``Overtaken`` unless ``before`` is still the last turn."""
    where = {"transaction": place.transaction_id, "sender": place.sender, "before": before.request_hash}
    if _GONE_ON.run(connection, {**where, **_values(turn, at)}) != 1:
        raise Overtaken


def make_room(connection: Connection, sender: bytes, most: int) -> None:
    """Inside ``writing()``. Of what waits for this sender, forget the oldest, so that with one more it is ``most``."""
    waiting = _table.c.sender_key == sender, tables.IS_WAITING
    newest_first = select(_table.c.transaction_id).where(*waiting).order_by(_table.c.expires_at.desc())
    for old in connection.execute(newest_first.offset(max(most, 1) - 1)).scalars().all():
        connection.execute(delete(_table).where(*waiting, _table.c.transaction_id == old))


def forget(connection: Connection, at: datetime) -> int:
    """Inside ``writing()``. Remove what has ended and is kept no longer; how many conversations that were."""
    table = tables.cmp_transaction
    return int(connection.execute(delete(table).where(table.c.expires_at <= at)).rowcount)


def _values_of(place: Place) -> dict[str, bytes]:
    return {"transaction": place.transaction_id, "sender": place.sender}


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


@cache
def _begun(dialect: str) -> Prepared:
    """Inserted, or left as it is; the one word of SQL that the two databases spell alike and SQLAlchemy does not."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    written: dict[str, Any] = {name: bindparam(name) for name in (*_PLACE, *_WRITTEN)}
    return Prepared(insert(_table).values(written).on_conflict_do_nothing().returning(_table.c.state))


_table: Final = tables.cmp_transaction
_PLACE: Final = ("transaction_id", "sender_key")
_READ: Final = ("state", "kind", "request_hash", "response_der", "sender_nonce", "serial", "details", "expires_at")
_HERE: Final = (_table.c.transaction_id == bindparam("transaction")) & (_table.c.sender_key == bindparam("sender"))
_BESIDE: Final = Beside(_table, _HERE, [_table.c[name] for name in _READ])
_GLANCE: Final = Glance(select(*_BESIDE.columns).where(_HERE))
_WRITTEN: Final = ("changed_at", *_READ)
_GONE_ON: Final = Prepared(
    update(_table)
    .where(_HERE, _table.c.request_hash == bindparam("before"))
    .values({name: bindparam(name) for name in _WRITTEN})
)
