"""Whose request it is that factors are passed for, so that they are good for that one request and for no other.

An applicant is known by the enrolment that a request goes back to: the one whose code is used, or the one of the
certificate that is renewed or reissued, however often that was done before. Without a code, whoever runs the authority
names him.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from dojang.authority import tables
from dojang.authority.base import Submission
from dojang.authority.rules import refusal
from dojang.errors import AuthorityRefused, Phrase
from dojang.x509.name import format_name

if TYPE_CHECKING:
    from cryptography import x509

NO_REFERENCE = "-"


@dataclass(frozen=True, slots=True)
class Claim:
    """One request: what for, by which profile, for which name and key, and who asks.

    ``reference`` is the enrolment that it goes back to, ``replaces`` the serial of the certificate before.
    """

    occasion: str
    profile: str
    subject: str
    spki_der: bytes
    applicant: str
    reference: str = NO_REFERENCE
    replaces: str | None = None

    @property
    def request_hash(self) -> bytes:
        """What evidence is bound to; another request has another one."""
        digest = hashlib.sha256(b"dojang factors 1")
        texts = (self.occasion, self.profile, self.subject, self.applicant, self.reference, self.replaces or "")
        for part in (*(text.encode() for text in texts), self.spki_der):
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the claim of a certificate goes back to."""

    applicant: str | None
    reference: str = NO_REFERENCE


def claim_of(
    connection: Connection, authority: str, submission: Submission, subject: "x509.Name", spki_der: bytes
) -> Claim:
    """``subject`` and key are those of the certificate that is to be. ``AuthorityRefused`` for nobody's request."""
    replaces = None if submission.replaces_der is None else _serial_of(submission.replaces_der)
    origin = _origin(connection, submission.enrolment, replaces)
    applicant = origin.applicant or submission.applicant
    if applicant is None:
        raise _nobody(authority)
    if submission.applicant not in (None, applicant):
        raise refusal(authority, "the certificate is another applicant's")
    if origin.applicant is None:
        _check_known(connection, authority, applicant)
    return Claim(
        occasion=submission.kind,
        profile=submission.profile,
        # A code stands for a name, and so does a certificate, whose name a renewal may change.
        subject="" if submission.enrolment or replaces else format_name(subject),
        spki_der=spki_der,
        applicant=applicant,
        reference=origin.reference,
        replaces=replaces,
    )


def _origin(connection: Connection, reference: str | None, replaces: str | None) -> Origin:
    """By its code, or by what the certificates before it were issued on."""
    while reference is None and replaces is not None:
        table = tables.certificate
        query = select(table.c.enrolment, table.c.replaces).where(table.c.serial == replaces)
        row = connection.execute(query).one_or_none()
        if row is None:
            return Origin(None)
        if row.enrolment is None and (passed := _passed_for(connection, replaces)) is not None:
            return passed
        reference, replaces = row.enrolment, row.replaces
    if reference is None:
        return Origin(None)
    enrolment = tables.enrolment
    applicant = connection.execute(select(enrolment.c.applicant).where(enrolment.c.reference == reference)).scalar()
    return Origin(applicant, reference)


def _passed_for(connection: Connection, serial: str) -> Origin | None:
    """Who passed factors for a certificate that was issued without a code."""
    table = tables.factor_evidence
    query = select(table.c.applicant, table.c.reference).where(table.c.used_serial == serial).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Origin(row.applicant, row.reference)


def _check_known(connection: Connection, authority: str, applicant: str) -> None:
    table = tables.applicant
    if connection.execute(select(table.c.id).where(table.c.id == applicant)).scalar() is None:
        raise refusal(authority, "it knows no applicant {id}", id=applicant[:64])


def _nobody(authority: str) -> AuthorityRefused:
    return AuthorityRefused(
        authority=authority,
        problem=Phrase("it asks for factors, and does not know whose they would be"),
        next_step=Phrase("Name the applicant with --applicant, when the code is made or to an authority here."),
    )


def _serial_of(certificate_der: bytes) -> str:
    from dojang.x509.reading import read_certificate

    return f"{read_certificate(certificate_der).serial_number:x}"
