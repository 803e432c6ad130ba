"""A claim on the credential that an operation replaces, from its beginning to its end."""

import contextlib
import platform
from datetime import UTC, datetime
from functools import cache
from typing import TypeGuard

from dojang.errors import CredentialBusy, DeviceFailure, DeviceRefused, Phrase, TokenFull, UnsupportedError
from dojang.ledger import Operation
from dojang.locations.base import Location
from dojang.locations.claims import Claim, HoldsClaims

# How tokens say that they keep no such objects; one that is broken says so again at the next step.
_CANNOT = (DeviceRefused, DeviceFailure, TokenFull, UnsupportedError)


def take_claim(operation: Operation, location: Location) -> bool:
    """Keep others with a ledger of their own away from the credential; ``CredentialBusy`` while one is at it.

    The operation's facts name the certificate (``old_fingerprint``) and the claim; nothing may have been made yet. A
    location that can hold no claim is gone without: the authority replaces a certificate once only. Returns whether
    there is one now.
    """
    facts, left = operation.record.facts, False
    if _holds_claims(location):
        claim = Claim(str(facts["old_fingerprint"]), operation.operation_id, platform.node(), datetime.now(UTC))
        try:
            other = location.claim_board().take(claim)
            left = other is None
        except _CANNOT:
            other = None
        if other is not None:
            verb = Phrase("{verb}, on {holder}", verb=operation.record.verb, holder=other.holder)
            raise CredentialBusy(verb=verb, subject=facts["address"])
    return left


def check_claim(operation: Operation, location: Location) -> None:
    """``CredentialBusy`` where the claim that ``take_claim`` left is gone: after an hour, which a machine may sleep
    through, somebody else may have broken it and be at work. Nothing is put beside what is theirs.
    """
    facts = operation.record.facts
    if not (facts.get("claimed") and _holds_claims(location)):
        return
    if not location.claim_board().stands(str(facts["old_fingerprint"]), operation.operation_id):
        raise CredentialBusy(verb=operation.record.verb, subject=facts["address"])


def drop_claim(operation: Operation, location: Location) -> None:
    """Take back what ``take_claim`` left, if it came to that."""
    facts = operation.record.facts
    if _holds_claims(location) and "old_fingerprint" in facts:
        with contextlib.suppress(*_CANNOT):
            location.claim_board().drop(str(facts["old_fingerprint"]), operation.operation_id)


def _holds_claims(location: Location) -> TypeGuard[HoldsClaims]:
    return _can_hold_claims(type(location))


@cache
def _can_hold_claims(kind: type) -> bool:
    """Asked of its class, and once: each renewal wants to know three times."""
    return issubclass(kind, HoldsClaims)
