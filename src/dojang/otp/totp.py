"""Codes by time (RFC 6238)."""

from datetime import UTC, datetime, timedelta

from dojang.otp import hotp
from dojang.otp.truncation import Hmac

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def step(at: datetime, period: int) -> int:
    """The number of the time step that ``at`` is in; steps begin with 1970 and take ``period`` seconds."""
    return (at - EPOCH) // timedelta(seconds=period)


def begins_at(number: int, period: int) -> datetime:
    """When a time step begins."""
    return EPOCH + timedelta(seconds=number * period)


def remaining(at: datetime, period: int) -> int:
    """The seconds that the step of ``at`` has left, begun ones included: from ``period`` down to 1."""
    left = begins_at(step(at, period) + 1, period) - at
    return -(-left // timedelta(seconds=1))


def code(hmac: Hmac, at: datetime, *, digits: int = 6, period: int = 30) -> str:
    """The code of a moment, which is HOTP with the time step for a counter."""
    return hotp.code(hmac, step(at, period), digits)


def steps(now: int, *, drift: int = 0, back: int = 1, ahead: int = 1, after: int | None = None) -> range:
    """The steps that are good at step ``now`` for a clock that goes ``drift`` steps before ours.

    None that is ``after`` or earlier: a code of that step has been used, and what is used or older is never good again.
    """
    first = max(now + drift - back, 0 if after is None else after + 1)
    return range(first, max(now + drift + ahead + 1, first))
