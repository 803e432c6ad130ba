"""Wrong codes, counted: for each reference until it is locked, for each source in a window that slides.

A wrong try is on disk before its answer leaves. A right code takes back the count of its reference, never that of its
source: who has a code of his own could otherwise go on guessing those of others.
"""

from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from dojang.authority import audit, tables
from dojang.authority.enrolment.policy import EnrolmentPolicy
from dojang.authority.enrolment.records import row_of
from dojang.authority.enrolment.states import OPEN


def tries_from(connection: Connection, source: str, policy: EnrolmentPolicy, at: datetime) -> int:
    """How many wrong codes came from there within the window."""
    table = tables.source_tries
    recent = (table.c.source == source) & (table.c.at > at - policy.source_window)
    return connection.execute(select(func.count()).select_from(table).where(recent)).scalar_one()


def count_wrong(connection: Connection, reference: str, source: str, policy: EnrolmentPolicy, at: datetime) -> None:
    """One more for both; the reference is locked when it is one too many."""
    tried = _count_for_reference(connection, reference, policy, at)
    audit.record(connection, event="code-wrong", subject=reference, at=at, source=source, tries=tried)
    count_source(connection, source, policy, at)


def count_source(connection: Connection, source: str, policy: EnrolmentPolicy, at: datetime) -> None:
    """One more wrong code from there, of whatever kind."""
    table = tables.source_tries
    connection.execute(delete(table).where(table.c.at <= at - policy.source_window))
    connection.execute(insert(table).values(source=source, at=at))
    from_there = tries_from(connection, source, policy, at)
    if from_there == policy.source_tries:
        audit.record(connection, event="source-locked", subject=source, at=at, tries=from_there)


def _count_for_reference(connection: Connection, reference: str, policy: EnrolmentPolicy, at: datetime) -> int:
    table = tables.enrolment
    mine = table.c.reference == reference
    connection.execute(update(table).where(mine).values(wrong_tries=table.c.wrong_tries + 1))
    row = row_of(connection, reference)
    if row is None:
        return 0
    if row.wrong_tries >= policy.tries and row.state in OPEN:
        connection.execute(update(table).where(mine).values(state="locked", locked_at=at))
        audit.record(connection, event="enrolment-locked", subject=reference, at=at, tries=row.wrong_tries)
    return int(row.wrong_tries)


def forgive(connection: Connection, reference: str) -> None:
    """A right code came before the reference was locked."""
    table = tables.enrolment
    mine = (table.c.reference == reference) & (table.c.state != "locked")
    connection.execute(update(table).where(mine).values(wrong_tries=0))
