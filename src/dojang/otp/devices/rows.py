"""What happens to the row of a device, one statement each; inside a transaction that is open.

A try is charged before its code is compared, and taken back only by a code that is right. So whoever kills the process
at any moment, or asks from everywhere at once, has compared no more codes than were charged.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, bindparam, case, or_, select, update

from dojang.errors import NotFound
from dojang.otp import tables
from dojang.otp.devices.device import TABLE, named

_KEK: Final = tables.otp_kek
_MINE: Final = TABLE.c.id == bindparam("device")
_ACTIVE: Final = TABLE.c.state == "active"

_AT_ONCE: Final = 500
_LOOK: Final = select(TABLE).where(_MINE)
_SOME: Final = select(TABLE).where(TABLE.c.id.in_(bindparam("devices", expanding=True)))
_CHARGE: Final = (
    update(TABLE)
    .where(_MINE, _ACTIVE, TABLE.c.wrong_tries < bindparam("most"))
    .values(wrong_tries=TABLE.c.wrong_tries + 1)
)
_COUNTER: Final = select(TABLE.c.counter).where(_MINE)
_STRAY: Final = update(_KEK).where(tables.IS_CURRENT).values(stray_tries=_KEK.c.stray_tries + 1)
_ACCEPT: Final = (
    update(TABLE)
    .where(_MINE, _ACTIVE, TABLE.c.counter <= bindparam("used"))
    .where(or_(TABLE.c.kind != "ocra", TABLE.c.challenge == bindparam("answered")))
    .values(
        counter=bindparam("used") + 1,
        drift=bindparam("learned"),
        wrong_tries=0,
        challenge=None,
        challenged_at=None,
        last_used_at=bindparam("at"),
    )
)
_REFUND: Final = (
    update(TABLE)
    .where(_MINE, _ACTIVE, TABLE.c.counter == bindparam("seen"))
    .values(wrong_tries=case((TABLE.c.wrong_tries > 0, TABLE.c.wrong_tries - 1), else_=0))
)
_LOCK: Final = (
    update(TABLE)
    .where(_MINE, _ACTIVE, TABLE.c.wrong_tries >= bindparam("most"))
    .values(state="locked", changed_at=bindparam("at"))
)


class Charge(NamedTuple):
    """A try that was charged; ``counter`` is what the device's was then."""

    counter: int


def look(connection: Connection, device: str) -> Row[Any] | None:
    return connection.execute(_LOOK, {"device": device}).one_or_none()


def found(connection: Connection, device: str, owner: str) -> Row[Any]:
    """Raises ``NotFound``."""
    row = look(connection, device)
    if row is None:
        raise NotFound(what=named(device), where=owner, command=f"dojang otp list --ca {owner}")
    return row


def known(connection: Connection, devices: Sequence[str]) -> list[str]:
    """Which of these there are."""
    return [row.id for row in all_of(connection, devices)]


def all_of(connection: Connection, devices: Sequence[str]) -> list[Row[Any]]:
    """The rows of these devices, in their order, so far as there are any."""
    read: dict[str, Row[Any]] = {}
    for start in range(0, len(devices), _AT_ONCE):
        some = devices[start : start + _AT_ONCE]
        read |= {row.id: row for row in connection.execute(_SOME, {"devices": some})}
    return [read[one] for one in devices if one in read]


def charge(connection: Connection, device: str, most: int) -> Charge | None:
    """One more try; ``None`` for a device that may not be tried, which costs as much."""
    if connection.execute(_CHARGE, {"device": device, "most": most}).rowcount:
        return Charge(connection.execute(_COUNTER, {"device": device}).scalar_one())
    connection.execute(_STRAY)
    return None


def accept(connection: Connection, device: str, *, used: int, learned: int, answered: str | None, at: datetime) -> bool:
    """Use up a counter and everything before it; false where that has happened already, or the device is not to be
    used any more, or was asked something else.
    """
    values = {"device": device, "used": used, "learned": learned, "answered": answered, "at": at}
    return bool(connection.execute(_ACCEPT, values).rowcount)


def refund(connection: Connection, device: str, charged: Charge) -> None:
    """Take a charge back, unless a right code has taken all of them back since, or the device was locked by it."""
    connection.execute(_REFUND, {"device": device, "seen": charged.counter})


def lock(connection: Connection, device: str, most: int, at: datetime) -> bool:
    """Lock a device that has had too many wrong tries; whether that was now."""
    return bool(connection.execute(_LOCK, {"device": device, "most": most, "at": at}).rowcount)


def change(connection: Connection, device: str, states: Sequence[str], **values: Any) -> bool:
    """Set columns of a device that is in one of these states; whether it was."""
    mine = (TABLE.c.id == device) & TABLE.c.state.in_(states)
    return bool(connection.execute(update(TABLE).where(mine).values(**values)).rowcount)
