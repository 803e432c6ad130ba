"""What the office says, in the words of JSON; the names are those that ``--json`` prints."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dojang.authority.enrolment.applicants import Applicant, IdentityCheck
from dojang.authority.enrolment.officers import Officer
from dojang.authority.enrolment.records import Enrolment

if TYPE_CHECKING:
    from dojang.authority.factors.evidence import Evidence

Answer = dict[str, Any]


def applicant(one: Applicant) -> Answer:
    return {
        "id": one.id,
        "kind": one.kind,
        "name": one.name,
        "contact": dict(one.contact),
        "number_known": one.has_number,
        "registered_at": _moment(one.registered_at),
        "registered_by": one.registered_by,
    }


def check(one: IdentityCheck) -> Answer:
    return {
        "kind": one.kind,
        "evidence": one.evidence_hash.hex(),
        "checked_at": _moment(one.checked_at),
        "checked_by": one.checked_by,
    }


def enrolment(one: Enrolment) -> Answer:
    """The code is not among it, nor anything it could be found from."""
    return {
        "reference": one.reference,
        "profile": one.terms.profile,
        "subject": one.terms.subject,
        "alternative_names": list(one.terms.alternative_names),
        "years": one.terms.years,
        "state": one.state,
        "reason": one.reason,
        "applicant": one.applicant,
        "pre_authorised": one.pre_authorised,
        "created_at": _moment(one.created_at),
        "created_by": one.created_by,
        "expires_at": _moment(one.expires_at),
        "uses_left": one.uses_left,
        "wrong_tries": one.wrong_tries,
        "locked_at": _moment(one.locked_at),
        "used_at": _moment(one.used_at),
    }


def evidence(one: "Evidence") -> Answer:
    """A factor that was passed; there is no code in it."""
    return {
        "factor": one.factor,
        "device": one.device,
        "passed_at": _moment(one.passed_at),
        "expires_at": _moment(one.expires_at),
        "evidence": one.evidence_hash.hex(),
        "request": one.request_hash.hex(),
        "certificate": one.used_serial,
    }


def officer(one: Officer) -> Answer:
    return {
        "id": one.id,
        "name": one.name,
        "roles": list(one.roles),
        "added_at": _moment(one.added_at),
        "added_by": one.added_by,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
