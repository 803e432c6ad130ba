"""Enrolments as values, and as rows of the database."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, bindparam, or_, select

from dojang.authority import tables
from dojang.authority.enrolment.codes import reference_in
from dojang.authority.enrolment.states import EXPIRING, State, state_at
from dojang.errors import NotFound, Phrase

PAGE: Final = 100
_BY_REFERENCE: Final = select(tables.enrolment).where(tables.enrolment.c.reference == bindparam("wanted"))


@dataclass(frozen=True, slots=True)
class Terms:
    """What an authorization code stands for. The certificate is issued by these and by nothing that a request says.

    ``subject`` is a name as RFC 4514 writes it, ``alternative_names`` are written ``dns:…``, ``email:…``; ``years``
    is for profiles that leave a choice.
    """

    profile: str
    subject: str
    alternative_names: tuple[str, ...] = ()
    years: int | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One reference number and what became of it. Its code is nowhere in here."""

    reference: str
    terms: Terms
    state: State
    applicant: str | None
    pre_authorised: bool
    created_at: datetime
    created_by: str
    expires_at: datetime
    uses_left: int
    wrong_tries: int
    locked_at: datetime | None
    used_at: datetime | None
    reason: str | None


def enrolment_of(row: Row[Any], at: datetime) -> Enrolment:
    """``at`` decides whether it has expired."""
    names = tuple(json.loads(row.names))
    return Enrolment(
        reference=row.reference,
        terms=Terms(row.profile, row.subject, names, row.years),
        state=state_at(cast("State", row.state), row.expires_at, at),
        applicant=row.applicant,
        pre_authorised=row.pre_authorised,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        uses_left=row.uses_left,
        wrong_tries=row.wrong_tries,
        locked_at=row.locked_at,
        used_at=row.used_at,
        reason=row.reason,
    )


def row_of(connection: Connection, reference: str) -> Row[Any] | None:
    return connection.execute(_BY_REFERENCE, {"wanted": reference_in(reference)}).one_or_none()


def found(connection: Connection, reference: str, at: datetime, authority: str) -> Enrolment:
    """Raises ``NotFound``; for officers, who may know which references there are."""
    row = row_of(connection, reference)
    if row is None:
        raise NotFound(
            what=Phrase("enrolment {reference}", reference=reference[:64]),
            where=authority,
            command=f"dojang ca enrolment list --ca {authority}",
        )
    return enrolment_of(row, at)


def listed(
    connection: Connection,
    at: datetime,
    *,
    states: Sequence[str] = (),
    applicant: str | None = None,
    after: str | None = None,
    limit: int | None = PAGE,
) -> list[Enrolment]:
    """In the order in which they were made, at most ``limit``; ``after`` is the last reference of the page before."""
    table = tables.enrolment
    query = select(table).order_by(table.c.created_at, table.c.reference).limit(limit)
    if applicant is not None:
        query = query.where(table.c.applicant == applicant)
    if states:
        query = query.where(or_(*_of_states(states, at)))
    if after is not None and (last := row_of(connection, after)) is not None:
        later = (table.c.created_at == last.created_at) & (table.c.reference > after)
        query = query.where(or_(table.c.created_at > last.created_at, later))
    return [enrolment_of(row, at) for row in connection.execute(query)]


def _of_states(states: Sequence[str], at: datetime) -> Iterator[Any]:
    """The condition for each state, where time may have told more than what is written down."""
    table = tables.enrolment
    for state in states:
        condition = table.c.state == state
        if state in EXPIRING:
            condition &= table.c.expires_at > at
        yield condition
        if state == "expired":
            yield table.c.state.in_(EXPIRING) & (table.c.expires_at <= at)
