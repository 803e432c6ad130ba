"""What may be tried again, what never is, and how far the climb goes: one table for the whole package."""

from typing import NamedTuple

from dojang.pkcs11 import constants as ck

NEVER, SEARCH, SESSION, REINITIALISE = range(4)
"""The rungs. SEARCH: the handle died, look the object up again. SESSION: new session, and log in again where needed.
REINITIALISE: C_Finalize and C_Initialize, then as SESSION."""


class Rung(NamedTuple):
    """How to recover from a return value.

    ``surely_refused`` is true where the standard says that a function answering this did nothing (2.40, 5.1.6 "at the
    time that the function was invoked"), so that even C_Sign may be called again without a second signature.
    """

    climb: int
    surely_refused: bool


RUNGS: dict[int, Rung] = {
    ck.CKR_OBJECT_HANDLE_INVALID: Rung(SEARCH, True),
    ck.CKR_KEY_HANDLE_INVALID: Rung(SEARCH, True),
    ck.CKR_SESSION_HANDLE_INVALID: Rung(SESSION, True),
    ck.CKR_OPERATION_NOT_INITIALIZED: Rung(SESSION, True),
    ck.CKR_OPERATION_ACTIVE: Rung(SESSION, True),
    ck.CKR_USER_NOT_LOGGED_IN: Rung(SESSION, True),
    ck.CKR_TOKEN_NOT_PRESENT: Rung(SESSION, True),
    ck.CKR_SLOT_ID_INVALID: Rung(SESSION, True),
    ck.CKR_CRYPTOKI_NOT_INITIALIZED: Rung(REINITIALISE, True),
    ck.CKR_SESSION_CLOSED: Rung(SESSION, False),
    ck.CKR_DEVICE_REMOVED: Rung(SESSION, False),
    ck.CKR_TOKEN_NOT_RECOGNIZED: Rung(SESSION, False),
    ck.CKR_DEVICE_ERROR: Rung(REINITIALISE, False),
    ck.CKR_GENERAL_ERROR: Rung(REINITIALISE, False),
}
"""Return values that are not here mean NEVER: wrong and locked PINs, missing mechanisms, refusals, bad data."""

ONCE_MADE_NEVER_AGAIN = frozenset(
    {
        "C_Sign",
        "C_Login",
        "C_GenerateKeyPair",
        "C_GenerateKey",
        "C_CreateObject",
        "C_CopyObject",
        "C_UnwrapKey",
    }
)
"""Functions with an effect that must not happen twice. They are repeated only after an answer that is surely a refusal.
C_Login is here because each call may cost a PIN try."""

WRITING = ONCE_MADE_NEVER_AGAIN - {"C_Sign", "C_Login"} | {"C_SetAttributeValue", "C_InitPIN", "C_SetPIN"}
"""Functions that need room on the token."""

TRIES = {SEARCH: 1, SESSION: 3, REINITIALISE: 1}
"""How often one operation may use each rung. A SEARCH that did not help becomes a SESSION; nothing else is promoted, so
that sessions closed by a neighbour never make us re-initialise a healthy module."""

_NEVER = Rung(NEVER, False)


def wanted_rung(rv: int) -> int:
    """What would have to be done after ``rv`` if the function could be called again."""
    return RUNGS.get(rv, _NEVER).climb


class Climb:
    """The recovery of one operation: asks the table, counts the tries."""

    __slots__ = ("_used",)

    def __init__(self) -> None:
        self._used = {SEARCH: 0, SESSION: 0, REINITIALISE: 0}

    def next_rung(self, function: str, rv: int) -> int:
        """The rung to take after ``function`` answered ``rv``, or NEVER."""
        rung = RUNGS.get(rv, _NEVER)
        if rung.climb == NEVER or (function in ONCE_MADE_NEVER_AGAIN and not rung.surely_refused):
            return NEVER
        climb = rung.climb
        if climb == SEARCH and self._used[SEARCH] >= TRIES[SEARCH]:
            climb = SESSION
        if self._used[climb] >= TRIES[climb]:
            return NEVER
        self._used[climb] += 1
        return climb
