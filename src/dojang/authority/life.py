"""What may become of a certificate: every move, whether it is legal, and why not. Nothing else changes a state.

    issued ──confirm──► confirmed ──suspend──► suspended          recorded and handed out; arrived and works; on hold
       │  └──suspend──────────────────────────► │  └──restore──► what it was
       └──revoke──► revoked ◄──revoke── any ◄───┘                 final

Two more follow from the records and the clock: ``replaced``, while a successor is confirmed, and ``expired``. A hold
ends six calendar months after it began, or when the certificate expires: nobody can restore it then, and it is revoked.

           issued    confirmed  replaced  suspended  hold over  expired  revoked
confirm    moves     nothing    nothing   refused    refused    refused  refused
suspend    moves     moves      moves     nothing    nothing    refused  refused
restore    nothing   nothing    nothing   moves      refused    refused  refused
revoke     moves     moves      moves     moves      moves      moves    nothing
"""

from calendar import monthrange
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal

from dojang.authority.store import Record
from dojang.errors import AuthorityRefused, Phrase

Move = Literal["confirm", "suspend", "restore", "revoke"]
Standing = Literal["issued", "confirmed", "replaced", "suspended", "hold-over", "expired", "revoked"]
HOLD: Final = "certificateHold"
KEY_COMPROMISE: Final = "keyCompromise"
OVER: Final = "cessationOfOperation"
"""Why something is revoked that nobody confirmed, or that was on hold for too long."""
MONTHS_ON_HOLD: Final = 6
_SECOND: Final = timedelta(seconds=1)
_INSTEAD: Final = Phrase(
    "Issue a new one (dojang cert issue); for the rest of the term of one that was revoked: dojang cert reissue."
)

_NOTHING_TO_DO: Final[set[tuple[Move, Standing]]] = {
    *(("confirm", standing) for standing in ("confirmed", "replaced")),
    *(("suspend", standing) for standing in ("suspended", "hold-over")),
    *(("restore", standing) for standing in ("issued", "confirmed", "replaced")),
}


def standing_of(record: Record, at: datetime, zone: tzinfo = UTC) -> Standing:
    """What the certificate is at that moment. ``zone`` is where its months are counted."""
    if record.state == "revoked":
        return "revoked"
    if at > record.not_after_at:
        return "expired"
    if record.state == "suspended":
        return "hold-over" if at >= hold_ends_at(record, zone) else "suspended"
    if record.state == "issued":
        return "issued"
    return "confirmed" if record.replaced_at is None else "replaced"


def moved(
    record: Record, move: Move, at: datetime, *, authority: str, reason: str | None = None, zone: tzinfo = UTC
) -> Record:
    """The record after the move; the very same one when there is nothing to do. Raises ``AuthorityRefused``.

    ``reason`` is for ``revoke``. What was on hold counts as revoked from the beginning of the hold, and the first
    reason stays; but that the key was compromised may come out later, and then everybody must know (RFC 5280 section
    5.3.1).
    """
    standing = standing_of(record, at, zone)
    if move == "revoke":
        return _revoked(record, at, reason or "unspecified")
    if (move, standing) in _NOTHING_TO_DO or (move, standing, record.state) == ("confirm", "expired", "confirmed"):
        return record
    if (problem := _problem(move, standing)) is not None:
        raise AuthorityRefused(authority=authority, problem=problem, next_step=None if move == "confirm" else _INSTEAD)
    if move == "suspend":
        hold = {"state_before": record.state, "reason": HOLD, "revoked_at": at}
        return replace(record, state="suspended", changed_at=at, **hold)  # type: ignore[arg-type]
    state = "confirmed" if move == "confirm" else record.state_before or "confirmed"
    return replace(record, state=state, state_before=None, reason=None, revoked_at=None, changed_at=at)


def _problem(move: Move, standing: Standing) -> Phrase | None:
    if standing == "revoked":
        return Phrase("the certificate is revoked, which is final")
    if standing == "expired":
        return Phrase("the certificate has expired")
    if standing == "hold-over":
        return Phrase("the certificate was on hold for {months} months, which ended it", months=MONTHS_ON_HOLD)
    if (move, standing) == ("confirm", "suspended"):
        return Phrase("the certificate is {state}", state=Phrase(standing))
    return None


def _revoked(record: Record, at: datetime, reason: str) -> Record:
    if record.state == "revoked" and (reason != KEY_COMPROMISE or record.reason == KEY_COMPROMISE):
        return record
    began_at = record.revoked_at or at
    return replace(record, state="revoked", state_before=None, reason=reason, revoked_at=began_at, changed_at=at)


def hold_ends_at(record: Record, zone: tzinfo = UTC) -> datetime:
    """The first moment at which a hold is over: after six months, or after the certificate if that is sooner."""
    assert record.revoked_at is not None
    return min(months_later(record.revoked_at, MONTHS_ON_HOLD, zone), record.not_after_at + _SECOND)


def months_later(at: datetime, months: int, zone: tzinfo = UTC) -> datetime:
    """The same time of the same day, counted in ``zone``; the last day of a month that has no such day."""
    day = at.astimezone(zone)
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    last = monthrange(year, month)[1]
    return day.replace(year=year, month=month, day=min(day.day, last)).astimezone(UTC)
