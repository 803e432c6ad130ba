"""What became of a code by message, and how whoever typed one is told.

What is told of a code that is not live is the same for every code that may have been typed: it was compared with none.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import AnswerPending, MessageCodeRefused, Phrase

if TYPE_CHECKING:
    from sqlalchemy import Row

_SKEW: Final = timedelta(seconds=30)  # of the clocks of hosts that share a database
_WHY: Final = {
    "none": Phrase("none was sent for this"),
    "live": Phrase("it is to be typed"),
    "early": Phrase("it was made in the future; the clock was set back"),
    "expired": Phrase("its time is over"),
    "used": Phrase("it was used already"),
    "pressed": Phrase("it was used already"),
    "spent": Phrase("it was tried too often"),
    "replaced": Phrase("another has taken its place, or the address has changed"),
    "unsent": Phrase("it did not reach anybody"),
}
_ANOTHER: Final = Phrase("Ask for another code.")
_AGAIN: Final = Phrase("Type the six digits of the newest message.")
_PRESS: Final = Phrase("Take the call and press the digits that are shown, then ask again.")


def state_at(row: "Row[Any]", lifetime: timedelta, at: datetime) -> str:
    """The state now: what is open may have run out of time or of tries without anybody writing it down.

    What was pressed in time is kept for as long again, until whoever asked for it comes to know.
    """
    if row.state == "pressed":
        return "pressed" if at < row.expires_at + lifetime else "expired"
    if row.state != "live":
        return str(row.state)
    if at < row.created_at - _SKEW:
        return "early"
    if at >= row.expires_at:
        return "expired"
    return "live" if row.tries_left > 0 else "spent"


def not_live(authority: str, state: str) -> MessageCodeRefused:
    """For a code that is not live, or was not given."""
    remedy = _AGAIN if state == "live" else _ANOTHER
    return MessageCodeRefused(authority=authority, problem=_WHY[state], remedy=remedy, state=state, tries_left=0)


def wrong(authority: str, tries_left: int) -> MessageCodeRefused:
    """For a code that was compared."""
    if not tries_left:
        return not_live(authority, "spent")
    problem = Phrase("it is wrong; tries left: {left}", left=tries_left)
    return MessageCodeRefused(authority=authority, problem=problem, remedy=_AGAIN, state="live", tries_left=tries_left)


def to_be_pressed(authority: str, tries_left: int) -> MessageCodeRefused:
    """For digits that were typed and are shown for a call."""
    problem = Phrase("it is to be pressed in the call")
    return MessageCodeRefused(authority=authority, problem=problem, remedy=_PRESS, state="live", tries_left=tries_left)


def not_pressed_yet(authority: str) -> AnswerPending:
    """For who asks before the call was answered."""
    problem = Phrase("the digits have not been pressed yet")
    return AnswerPending(authority=authority, problem=problem, next_step=_PRESS)
