"""How often messages are sent: to one number or mail address, and for whoever asks from one address.

What a day allows is what can be guessed in it, and how often a person is disturbed: so many codes, so many tries each.

Every message that was made counts, sent or not, from before it is sent. A clock that was set back frees nobody: what
lies in its future counts too, unless so far that no window reaches it.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from dojang.errors import Phrase
from dojang.otp.messages.policy import MessagePolicy
from dojang.otp.tables import message_sent

_DAY: Final = timedelta(days=1)


class Wait(NamedTuple):
    """Why not now, and in how many seconds."""

    problem: Phrase
    seconds: int


def wait_for(
    connection: Connection, policy: MessagePolicy, target_tag: bytes, source: str | None, at: datetime
) -> Wait | None:
    """Whether another message must wait; inside ``writing()``, so that nobody comes in between."""
    to_target = message_sent.c.target_tag == target_tag
    again = _until(connection, to_target, 1, policy.again, policy.window, at)
    if again:
        return Wait(Phrase("the last one was sent just now"), again)
    crowded = _until(connection, to_target, policy.per_target, policy.window, policy.window, at)
    if crowded:
        return Wait(Phrase("too many were sent there"), crowded)
    full = _until(connection, to_target, policy.per_day, _DAY, _DAY, at)
    if full:
        return Wait(Phrase("too many were sent there within a day"), full)
    if source is None:
        return None
    busy = _until(connection, message_sent.c.source == source, policy.per_source, policy.window, policy.window, at)
    return Wait(Phrase("too many were asked for from where you are"), busy) if busy else None


def count(connection: Connection, policy: MessagePolicy, target_tag: bytes, source: str | None, at: datetime) -> None:
    """One more; those that count no longer are forgotten."""
    longest = max(policy.window, _DAY)
    gone = (message_sent.c.at <= at - longest) | (message_sent.c.at > at + longest)
    connection.execute(delete(message_sent).where(gone))
    connection.execute(insert(message_sent).values(target_tag=target_tag, source=source, at=at))


def _until(
    connection: Connection,
    mine: ColumnElement[bool],
    most: int,
    term: timedelta,
    window: timedelta,
    at: datetime,
) -> int:
    """Seconds until fewer than ``most`` of them lie within ``term``; 0 when that is so."""
    recent = mine & (message_sent.c.at > at - term) & (message_sent.c.at <= at + window)
    query = select(message_sent.c.at).where(recent).order_by(message_sent.c.at.desc()).offset(most - 1).limit(1)
    oldest: datetime | None = connection.execute(query).scalar()
    return 0 if oldest is None else max(1, ceil((oldest + term - at).total_seconds()))
