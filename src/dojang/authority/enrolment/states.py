"""The life of an enrolment, in one place: which move is possible from where, and why another is not.

    drafted ──→ waiting ──→ ready ──→ used
       │           │          │
       ├───────────┴──────────┴─→ cancelled · expired · locked (⇄ unlocked by an officer)
       └─→ refused ←┘

An enrolment is ``drafted`` while an identity check that its profile requires is not on record, ``waiting`` while an
approval is missing, then ``ready``: the code works. Where it stands among these three follows from the record alone, so
a code that is unlocked comes back to where it belongs by then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from dojang.errors import NotPermitted, Phrase

State = Literal["drafted", "waiting", "ready", "used", "expired", "cancelled", "refused", "locked"]
Event = Literal["settle", "approve", "refuse", "use", "cancel", "expire", "lock", "unlock"]

OPEN: Final = ("drafted", "waiting", "ready")
"""The code may yet be used."""
EXPIRING: Final = (*OPEN, "locked")

WHY: Final[Mapping[str, Phrase]] = MappingProxyType(
    {
        "drafted": Phrase("identity checks that the profile requires are not on record yet"),
        "waiting": Phrase("it waits for approval"),
        "ready": Phrase("it is approved and its code may be used"),
        "used": Phrase("its code has been used"),
        "expired": Phrase("its code has expired"),
        "cancelled": Phrase("it was cancelled"),
        "refused": Phrase("it was refused"),
        "locked": Phrase("its code is locked after wrong tries"),
    }
)
_NEXT: Final[Mapping[str, Phrase]] = MappingProxyType(
    {
        "drafted": Phrase("Record the checks first: dojang ca check add APPLICANT --kind KIND --evidence FILE"),
        "waiting": Phrase("Have another officer approve it: dojang ca enrolment approve REFERENCE"),
        "ready": Phrase("Nothing needs to be done; it can be cancelled: dojang ca code cancel REFERENCE"),
        "locked": Phrase("Unlock it, or cancel it: dojang ca code unlock REFERENCE"),
    }
)
_A_NEW_ONE: Final = Phrase("Make a new code: dojang ca code new --profile PROFILE --subject DN")


class _Move(NamedTuple):
    """From where, and to where; without ``to`` wherever the record puts it."""

    origins: tuple[State, ...]
    to: State | None = None


_MOVES: Final[Mapping[Event, _Move]] = MappingProxyType(
    {
        "settle": _Move(("drafted", "waiting", "ready")),
        "approve": _Move(("waiting",)),
        "refuse": _Move(("drafted", "waiting"), "refused"),
        "use": _Move(("ready",), "used"),
        "cancel": _Move(("drafted", "waiting", "ready", "locked"), "cancelled"),
        "expire": _Move(("drafted", "waiting", "ready", "locked"), "expired"),
        "lock": _Move(("drafted", "waiting", "ready"), "locked"),
        "unlock": _Move(("locked",)),
    }
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the record says: which checks are missing, and how many approvals."""

    checks_missing: tuple[str, ...] = ()
    approvals_missing: int = 0

    @property
    def state(self) -> State:
        if self.checks_missing:
            return "drafted"
        return "waiting" if self.approvals_missing else "ready"


def moved(reference: str, state: State, event: Event, standing: Standing | None = None) -> State:
    """Where ``event`` leads. ``NotPermitted`` with the reason where it leads nowhere."""
    move = _MOVES[event]
    if state not in move.origins:
        problem = Phrase("enrolment {reference}: {detail}", reference=reference, detail=WHY[state])
        raise NotPermitted(problem=problem, remedy=_NEXT.get(state, _A_NEW_ONE))
    if move.to is not None:
        return move.to
    return (standing or Standing()).state


def state_at(state: State, expires_at: datetime, at: datetime) -> State:
    """The state at a moment: what nobody used in time has expired, whether or not that was written down yet."""
    return "expired" if state in EXPIRING and at >= expires_at else state
