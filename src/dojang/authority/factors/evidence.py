"""Evidence that a factor was passed: when, by which device, for which request. It expires, and is used once.

No code is here, nor anything that one could be found from.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from dojang.authority import audit, tables
from dojang.authority.audit.record import moment_text
from dojang.authority.factors.claims import NO_REFERENCE, Claim

_TABLE: Final = tables.factor_evidence
_ID_BYTES: Final = 16
_SKEW: Final = timedelta(seconds=30)  # of the clocks of hosts that share a database


@dataclass(frozen=True, slots=True)
class Evidence:
    """One factor that was passed. ``used_serial`` is the certificate that was issued on it."""

    id: str
    applicant: str
    reference: str
    request_hash: bytes
    factor: str
    device: str | None
    passed_at: datetime
    expires_at: datetime
    evidence_hash: bytes
    used_serial: str | None


def write(
    connection: Connection, claim: Claim, factor: str, device: str | None, at: datetime, lifetime: timedelta
) -> Evidence:
    """Inside ``writing()``: on record, with its row in the audit."""
    new = secrets.token_hex(_ID_BYTES)
    found = Evidence(
        id=new,
        applicant=claim.applicant,
        reference=claim.reference,
        request_hash=claim.request_hash,
        factor=factor,
        device=device,
        passed_at=at,
        expires_at=at + lifetime,
        evidence_hash=_hash_of(new, claim, factor, device, at),
        used_serial=None,
    )
    connection.execute(insert(_TABLE).values(**asdict(found)))
    audit.record(
        connection,
        event="factor-passed",
        subject=claim.applicant,
        at=at,
        factor=factor,
        device=device,
        reference=_told(claim.reference),
        evidence=found.evidence_hash.hex(),
        expires_at=moment_text(found.expires_at),
    )
    return found


def standing(connection: Connection, claim: Claim, at: datetime) -> list[Evidence]:
    """What was passed for this request, is not too old and was not used; oldest first."""
    mine = (_TABLE.c.reference == claim.reference) & (_TABLE.c.request_hash == claim.request_hash)
    fresh = _TABLE.c.used_serial.is_(None) & (_TABLE.c.expires_at > at) & (_TABLE.c.passed_at <= at + _SKEW)
    query = select(_TABLE).where(mine, fresh).order_by(_TABLE.c.passed_at, _TABLE.c.id)
    return [_evidence(row) for row in connection.execute(query)]


def use(connection: Connection, claim: Claim, found: Sequence[Evidence], serial: str, at: datetime) -> None:
    """Inside the transaction that records the certificate ``serial``: from now on it is good for nothing else."""
    chosen = _TABLE.c.id.in_([one.id for one in found])
    connection.execute(update(_TABLE).where(chosen).values(used_serial=serial))
    audit.record(
        connection,
        event="factors-used",
        subject=claim.applicant,
        at=at,
        serial=serial,
        reference=_told(claim.reference),
        factors=[one.factor for one in found],
        evidence=[one.evidence_hash.hex() for one in found],
    )


def of_reference(connection: Connection, reference: str) -> list[Evidence]:
    """All that was ever passed for an enrolment and for what came of it, oldest first."""
    query = select(_TABLE).where(_TABLE.c.reference == reference).order_by(_TABLE.c.passed_at, _TABLE.c.id)
    return [_evidence(row) for row in connection.execute(query)]


def _hash_of(new: str, claim: Claim, factor: str, device: str | None, at: datetime) -> bytes:
    digest = hashlib.sha256(b"dojang evidence 1")
    texts = (new, claim.applicant, claim.reference, factor, device or "", moment_text(at))
    for part in (*(text.encode() for text in texts), claim.request_hash):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _evidence(row: Row[Any]) -> Evidence:
    return Evidence(**row._asdict())


def _told(reference: str) -> str | None:
    return None if reference == NO_REFERENCE else reference
