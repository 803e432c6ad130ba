"""Applicants, persons and businesses, and what was checked of their identity.

A resident or business number is kept nowhere. Where one is given, the token computes HMAC-SHA256 of it under the secret
that codes are computed from, and that is kept: the same applicant is found when he comes twice, and nobody who has the
database, but not the token, can find out a number by trying all of them.

Of a check there are the time, who made it, its kind, and the SHA-256 of its evidence; the evidence itself stays with
the office.
"""

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, insert, select, update

from dojang.authority import audit, tables
from dojang.authority.audit.actor import current_actor
from dojang.authority.enrolment.records import PAGE
from dojang.errors import AlreadyExists, NotFound, Phrase, Usage
from dojang.otp.messages.codes import forget
from dojang.otp.messages.targets import Channel, target_of

Kind = Literal["person", "business"]
KINDS: Final = ("person", "business")
CONTACTS: Final = ("email", "phone", "address", "contact-name", "language")
LANGUAGES: Final = ("ko", "en")
_REACHED_BY: Final[Mapping[str, tuple[Channel, ...]]] = {"phone": ("sms", "ars"), "email": ("mail",)}
_LONGEST: Final = 200
_ID_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """That somebody looked. ``evidence_hash`` is SHA-256."""

    kind: str
    evidence_hash: bytes
    checked_at: datetime
    checked_by: str


@dataclass(frozen=True, slots=True)
class Applicant:
    """``contact`` has some of ``CONTACTS``, ``language`` for that of messages among them.

    ``has_number`` says that a number is known by its keyed hash.
    """

    id: str
    kind: Kind
    name: str
    contact: Mapping[str, str]
    has_number: bool
    registered_at: datetime
    registered_by: str


def add(
    connection: Connection,
    *,
    kind: Kind,
    name: str,
    contact: Mapping[str, str],
    number_tag: bytes | None,
    at: datetime,
    authority: str,
    countries: Collection[str] | None = None,
) -> Applicant:
    """A new applicant, inside ``writing()``. ``AlreadyExists`` when the number is known, ``Usage``.

    ``countries`` are those that the authority sends messages to, where it says which.
    """
    _check_texts({"name": name})
    _check_contact(contact, countries)
    _check_new(connection, number_tag, authority)
    new = secrets.token_hex(_ID_BYTES)
    values = {
        "id": new,
        "kind": kind,
        "name": name,
        "details": json.dumps(dict(contact), ensure_ascii=False),
        "number_tag": number_tag,
        "registered_at": at,
        "registered_by": current_actor(),
    }
    connection.execute(insert(tables.applicant).values(**values))
    audit.record(connection, event="applicant-added", subject=new, at=at, kind=kind)
    return show(connection, new, authority)


def change(
    connection: Connection,
    applicant: str,
    *,
    contact: Mapping[str, str],
    without: Collection[str] = (),
    at: datetime,
    authority: str,
    countries: Collection[str] | None = None,
) -> Applicant:
    """Another way to reach an applicant, or ``without`` one, inside ``writing()``. ``NotFound``, ``Usage``.

    Codes that are on their way to where he was reached before are worthless from now on, and so is what he passed with
    codes from there and has not used: it may be gone because it was stolen.
    """
    _check_contact(contact, countries)
    before = show(connection, applicant, authority).contact
    after = {key: text for key, text in {**before, **contact}.items() if key not in without}
    changed = [key for key in CONTACTS if before.get(key) != after.get(key)]
    if changed:
        mine = tables.applicant.c.id == applicant
        connection.execute(update(tables.applicant).where(mine).values(details=json.dumps(after, ensure_ascii=False)))
        channels = [channel for key in changed for channel in _REACHED_BY.get(key, ())]
        forget(connection, applicant, channels)
        _lapse(connection, applicant, channels, at)
        shown = {key: _masked(key, after[key]) for key in _REACHED_BY if key in changed and key in after}
        audit.record(connection, event="applicant-changed", subject=applicant, at=at, changed=changed, **shown)
    return show(connection, applicant, authority)


def show(connection: Connection, applicant: str, authority: str) -> Applicant:
    """Raises ``NotFound``."""
    table = tables.applicant
    row = connection.execute(select(table).where(table.c.id == applicant)).one_or_none()
    if row is None:
        raise NotFound(
            what=Phrase("applicant {id}", id=applicant[:64]),
            where=authority,
            command=f"dojang ca applicant list --ca {authority}",
        )
    return _applicant(row)


def listed(connection: Connection, *, after: str | None = None, limit: int = PAGE) -> list[Applicant]:
    """In the order in which they were added; ``after`` is the last one of the page before."""
    table = tables.applicant
    query = select(table).order_by(table.c.registered_at, table.c.id).limit(limit)
    if after is not None:
        last = select(table.c.registered_at).where(table.c.id == after).scalar_subquery()
        query = query.where((table.c.registered_at > last) | ((table.c.registered_at == last) & (table.c.id > after)))
    return [_applicant(row) for row in connection.execute(query)]


def record_check(
    connection: Connection, applicant: str, *, kind: str, evidence_hash: bytes, at: datetime, authority: str
) -> IdentityCheck:
    """Put a check on record, inside ``writing()``. ``NotFound`` for the applicant."""
    show(connection, applicant, authority)
    check = IdentityCheck(kind, evidence_hash, at, current_actor())
    connection.execute(
        insert(tables.identity_check).values(
            id=secrets.token_hex(16),
            applicant=applicant,
            kind=kind,
            evidence_hash=evidence_hash,
            checked_at=at,
            checked_by=check.checked_by,
        )
    )
    audit.record(connection, event="check-recorded", subject=applicant, at=at, kind=kind, evidence=evidence_hash.hex())
    return check


def checks_of(connection: Connection, applicant: str) -> list[IdentityCheck]:
    """Oldest first."""
    table = tables.identity_check
    query = select(table).where(table.c.applicant == applicant).order_by(table.c.checked_at, table.c.kind)
    rows = connection.execute(query)
    return [IdentityCheck(row.kind, row.evidence_hash, row.checked_at, row.checked_by) for row in rows]


def _lapse(connection: Connection, applicant: str, factors: Collection[str], at: datetime) -> None:
    """What was passed with these factors and not used is good for nothing from now on."""
    table = tables.factor_evidence
    mine = (table.c.applicant == applicant) & table.c.factor.in_(factors) & table.c.used_serial.is_(None)
    connection.execute(update(table).where(mine, table.c.expires_at > at).values(expires_at=at))


def _masked(key: str, text: str) -> str:
    """A telephone number or mail address that was checked, as it may be told."""
    return target_of(_REACHED_BY[key][0], text, None).masked


def _check_texts(texts: Mapping[str, str]) -> None:
    for key, text in texts.items():
        if not text.strip() or len(text) > _LONGEST or not text.isprintable():
            raise Usage(
                problem=Phrase("the {key} of an applicant has 1 to {limit} characters", key=key, limit=_LONGEST)
            )


def _check_contact(contact: Mapping[str, str], countries: Collection[str] | None) -> None:
    """What cannot be reached later is refused now, while somebody is there to mend it."""
    _check_texts(contact)
    _check_language(contact.get("language", LANGUAGES[0]))
    for key in _REACHED_BY.keys() & contact.keys():
        try:
            target_of(_REACHED_BY[key][0], contact[key], countries)
        except ValueError as error:
            problem = Phrase("the {key} of an applicant cannot be used: {problem}", key=key, problem=error.args[0])
            raise Usage(problem=problem) from error


def _check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise Usage(problem=Phrase("messages are in one of these languages: {known}", known=", ".join(LANGUAGES)))


def _check_new(connection: Connection, number_tag: bytes | None, authority: str) -> None:
    table = tables.applicant
    if number_tag is None:
        return
    known = connection.execute(select(table.c.id).where(table.c.number_tag == number_tag)).scalar()
    if known is not None:
        next_step = f"See who it is: dojang ca applicant show {known}"
        raise AlreadyExists(what=Phrase("An applicant with this number"), where=authority, next_step=next_step)


def _applicant(row: Row[Any]) -> Applicant:
    return Applicant(
        id=row.id,
        kind=row.kind,
        name=row.name,
        contact=json.loads(row.details),
        has_number=row.number_tag is not None,
        registered_at=row.registered_at,
        registered_by=row.registered_by,
    )
