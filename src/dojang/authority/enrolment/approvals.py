"""Approvals: whose voice counts, how many are missing, and the signed orders kept as evidence.

Where four eyes are wanted, two different people must stand behind a code: who registered it, and who approves it. Where
two ``officers`` are wanted, only who acted with the key of a registered certificate counts, so that a code that was
registered without one needs two approvals.
"""

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, select

from dojang.authority import tables
from dojang.authority.audit.actor import current_actor
from dojang.authority.enrolment.policy import FourEyes
from dojang.errors import NotPermitted, Phrase

OFFICER: Final = "officer:"
_VOICES: Final = 2


def is_officer(actor: str) -> bool:
    return actor.startswith(OFFICER)


def missing(connection: Connection, reference: str, created_by: str, four_eyes: FourEyes) -> int:
    """How many approvals are still wanted."""
    if four_eyes == "none":
        return 0
    voices = {created_by, *_approvers(connection, reference)}
    counted = [one for one in voices if four_eyes == "people" or is_officer(one)]
    return max(0, _VOICES - len(counted))


def check_voice(connection: Connection, reference: str, created_by: str, four_eyes: FourEyes) -> None:
    """Whether who is at work now may approve. ``NotPermitted``."""
    actor = current_actor()
    if four_eyes == "officers" and not is_officer(actor):
        raise NotPermitted(
            problem=Phrase("only an officer may approve this, with the key of a registered certificate"),
            remedy=Phrase("Sign the approval: --officer 'pkcs11:token=LABEL;object=NAME'"),
        )
    if actor == created_by:
        raise NotPermitted(
            problem=Phrase("who registered an enrolment cannot approve it"),
            remedy=Phrase("Have another officer approve it: dojang ca enrolment approve REFERENCE"),
        )
    if actor in _approvers(connection, reference):
        raise NotPermitted(
            problem=Phrase("you have approved it already"),
            remedy=Phrase("Have another officer approve it: dojang ca enrolment approve REFERENCE"),
        )


def write(connection: Connection, reference: str, decision: str, at: datetime, evidence: bytes | None) -> str:
    """Put a decision of who is at work on record; returns its id."""
    values = {"id": secrets.token_hex(16), "subject": reference, "officer": current_actor(), "decision": decision}
    connection.execute(insert(tables.approval).values(**values, decided_at=at, evidence=evidence))
    return str(values["id"])


def _approvers(connection: Connection, reference: str) -> set[str]:
    table = tables.approval
    wanted = (table.c.subject == reference) & (table.c.decision == "approved")
    return set(connection.execute(select(table.c.officer).where(wanted)).scalars())
