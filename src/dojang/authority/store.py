"""The records of a local authority: its signers, every certificate it issued, and which question got which answer.

A serial is never used again, a transaction never answered differently. Everything here reads or writes single rows;
what may become of a certificate is decided in ``life``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, insert, literal, or_, select, text, tuple_, update

from dojang.authority.database import Database
from dojang.authority.swift import Prepared
from dojang.authority.tables import CERTIFICATE_STATES, IS_RENEWABLE, authority, certificate, signer, submission
from dojang.errors import NotFound, Phrase

PAGE: Final = 1000
OWN_PROFILES: Final = ("root", "issuing", "cross", "ocsp", "tsa", "cmp", "audit")
"""Those of certificates for keys of authorities, ours and others'."""
_IN_STATE: Final = {name: text(f"certificate.state = '{name}'") for name in CERTIFICATE_STATES}
_IN_NONE: Final = text("1 = 0")


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs certificates: the root's or the issuing authority's."""

    id: str
    role: str
    generation: int
    certificate_der: bytes
    key_address: str
    crl_days: int
    crl_number: int


@dataclass(frozen=True, slots=True)
class Record:
    """One certificate that the authority issued. ``serial`` is hex; ``reason`` is spelt as in RFC 5280.

    ``number`` counts in the order of recording; 0 before that. ``replaced_at`` is there while a successor is in use.
    """

    serial: str
    signer: str
    certificate_der: bytes
    profile: str
    subject: str
    not_before_at: datetime
    not_after_at: datetime
    recorded_at: datetime
    state: str
    reason: str | None = None
    revoked_at: datetime | None = None
    replaces: str | None = None
    key_fingerprint: bytes = b""
    changed_at: datetime | None = None
    state_before: str | None = None
    replaced_at: datetime | None = None
    enrolment: str | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a transaction was and what came of it. ``reason`` is why a reissue revokes the old certificate."""

    kind: str
    fingerprint: bytes
    serial: str
    cancelled: bool
    reason: str | None = None


_FIELDS: Final = [certificate.c[name] for name in Record.__dataclass_fields__]
_RECORDS: Final = select(*_FIELDS)
_FIND: Final = Prepared(_RECORDS.where(certificate.c.serial == bindparam("wanted")))
_SIGNERS: Final = select(*(signer.c[name] for name in Signer.__dataclass_fields__))
_WRITTEN: Final = [name for name in Record.__dataclass_fields__ if name != "number"]
_INSERT: Final = Prepared(insert(certificate).values({name: bindparam(name) for name in _WRITTEN}))
_SAID: Final = list(Answered.__dataclass_fields__)
_ANSWERED: Final = Prepared(
    select(*(submission.c[name] for name in _SAID)).where(submission.c.transaction_id == bindparam("transaction_id"))
)
_ANSWER: Final = Prepared(insert(submission).values({name: bindparam(name) for name in ("transaction_id", *_SAID)}))
_CHANGED: Final = ("state", "state_before", "reason", "revoked_at", "changed_at")


class Store:
    """The records in an open database; ``name`` is the authority's, for messages."""

    def __init__(self, database: Database, name: str) -> None:
        self.database, self.name = database, name

    def close(self) -> None:
        self.database.close()

    def signers(self) -> dict[str, Signer]:
        """The keys in use that issue certificates, by role."""
        current = _SIGNERS.where(text("state = 'current'"), signer.c.role.in_(("root", "issuing")))
        with self.database.reading() as connection:
            return {row.role: Signer(*row) for row in connection.execute(current)}

    def signer(self, signer_id: str) -> Signer:
        """One key that has a certificate, in use or not. Raises ``NotFound``."""
        wanted = _SIGNERS.where(signer.c.id == signer_id, signer.c.certificate_der.is_not(None))
        with self.database.reading() as connection:
            row = connection.execute(wanted).one_or_none()
        if row is None:
            raise NotFound(
                what=Phrase("A key in use for '{role}'", role=signer_id),
                where=Phrase("the authority"),
                command="dojang ca show",
            )
        return Signer(*row)

    def find(self, serial: str) -> Record:
        """One certificate by its serial in hex. Raises ``NotFound``."""
        row = _FIND.look(self.database, {"wanted": serial})
        if row is None:
            raise NotFound(
                what=Phrase("certificate {serial}", serial=serial[:64]),
                where=self.name,
                command=f"dojang ca list --ca {self.name}",
            )
        return Record(*row)

    def records(
        self, *, for_subscribers: bool = False, state: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> list[Record]:
        """A page of certificates in the order of recording, from the first after the serial ``after``.

        ``for_subscribers`` leaves out those for keys of authorities. Raises ``NotFound`` for an unknown ``after``.
        """
        query = _RECORDS.order_by(certificate.c.number).limit(limit)
        if for_subscribers:
            query = query.where(certificate.c.profile.not_in(OWN_PROFILES))
        if state is not None:
            query = query.where(_IN_STATE.get(state, _IN_NONE))
        if after is not None:
            query = query.where(certificate.c.number > self.find(after).number)
        return self._all(query)

    def every(self, **which: Any) -> Iterator[Record]:
        """All of them, a page at a time; what is recorded meanwhile comes last."""
        page = self.records(**which)
        while page:
            yield from page
            page = self.records(**which, after=page[-1].serial)

    def due(
        self, windows: "Sequence[DueWindow]", at: datetime, *, after: str | None = None, limit: int
    ) -> list[Record]:
        """A page of certificates to be renewed at ``at``: confirmed, not replaced, inside their profile's window.

        In the order of profiles, and of expiry within each; the cost is that of the page, however many there are.
        """
        last = None if after is None else self.find(after)
        found: list[Record] = []
        for window in sorted(windows, key=lambda one: one.profile):
            if len(found) >= limit:
                break
            if last is None or window.profile >= last.profile:
                found += self._all(_due(window, at, last).limit(limit - len(found)))
        return found

    def latest_at(self) -> datetime | None:
        """When the last certificate was recorded."""
        last = select(certificate.c.recorded_at).order_by(certificate.c.number.desc()).limit(1)
        with self.database.reading() as connection:
            return connection.execute(last).scalar()

    def with_key(self, key_fingerprint: bytes) -> list[Record]:
        """Every certificate for this key, by the SHA-256 of its SubjectPublicKeyInfo."""
        return self._all(
            _RECORDS.where(certificate.c.key_fingerprint == key_fingerprint).order_by(certificate.c.number)
        )

    def answered(self, transaction_id: str) -> Answered | None:
        """What this transaction got, ``None`` if it is new."""
        row = _ANSWERED.look(self.database, {"transaction_id": transaction_id})
        return None if row is None else Answered(*row)

    def known_among(self, transaction_ids: Sequence[str]) -> set[str]:
        """Those of them that got an answer."""
        column = submission.c.transaction_id
        with self.database.reading() as connection:
            return {
                known
                for begin in range(0, len(transaction_ids), PAGE)
                for known in connection.execute(
                    select(column).where(column.in_(transaction_ids[begin : begin + PAGE]))
                ).scalars()
            }

    def _all(self, query: "Select[Any]") -> list[Record]:
        with self.database.reading() as connection:
            return [Record(*row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class DueWindow:
    """What expires until ``until_at`` and is of this profile can be renewed."""

    profile: str
    until_at: datetime


def mark_founded(database: Database) -> None:
    """Its folder has its name: from now on nobody takes the records for what a killed run left."""
    if database.is_embedded:
        return
    with database.reading() as connection:
        state = connection.execute(select(authority.c.state)).scalar()
    if state != "founded":
        with database.writing() as connection:
            connection.execute(update(authority).values(state="founded"))


def find_record(connection: Connection, serial: str) -> Record | None:
    row = _FIND.row(connection, {"wanted": serial})
    return None if row is None else Record(*row)


def find_answer(connection: Connection, transaction_id: str) -> Answered | None:
    row = _ANSWERED.row(connection, {"transaction_id": transaction_id})
    return None if row is None else Answered(*row)


def insert_record(connection: Connection, record: Record) -> None:
    """Inside ``writing()``. A serial that was used before raises ``sqlalchemy.exc.IntegrityError``."""
    values = {name: getattr(record, name) for name in _WRITTEN}
    _INSERT.run(connection, values | {"changed_at": record.changed_at or record.recorded_at})


def insert_records(connection: Connection, like: Record, columns: Mapping[str, Sequence[Any]]) -> None:
    """Several in one statement: each as ``like``, but for the fields that ``columns`` has, a value for each."""
    shared = {name: getattr(like, name) for name in _WRITTEN} | {"changed_at": like.changed_at or like.recorded_at}
    _INSERT.run_many(connection, shared, columns)


def insert_answers(connection: Connection, like: Answered, columns: Mapping[str, Sequence[Any]]) -> None:
    """The same for what transactions got; ``columns`` has the ``transaction_id`` of each, too."""
    _ANSWER.run_many(connection, {name: getattr(like, name) for name in _SAID}, columns)


def insert_answer(connection: Connection, transaction_id: str, answer: Answered) -> None:
    """Inside ``writing()``."""
    _ANSWER.run(connection, {name: getattr(answer, name) for name in _SAID} | {"transaction_id": transaction_id})


def set_cancelled(connection: Connection, transaction_id: str) -> None:
    """Inside ``writing()``."""
    mine = submission.c.transaction_id == transaction_id
    connection.execute(update(submission).where(mine).values(cancelled=True))


_MOVE: Final = (
    update(certificate)
    .where(certificate.c.serial == bindparam("wanted"))
    .values({name: bindparam(name) for name in _CHANGED})
)
_LAST_LIST: Final = select(signer.c.crl_number).where(signer.c.id == bindparam("holder"))
_MOVED: Final = Prepared(_MOVE)
_TOLD: Final = Prepared(_MOVE.values(listed_after=_LAST_LIST.scalar_subquery()))


def write_life(connection: Connection, record: Record, *, listed: bool) -> None:
    """Make the row say what became of the certificate, and the row of what it replaces whether that is in use.

    ``listed`` when the next revocation list has to say something else of it.
    """
    values: dict[str, Any] = {name: getattr(record, name) for name in _CHANGED} | {"wanted": record.serial}
    if listed:
        _TOLD.run(connection, values | {"holder": record.signer})
    else:
        _MOVED.run(connection, values)
    if record.replaces is not None:
        _note_replaced(connection, record.replaces, record.changed_at)


_MINE, _NOTED = certificate.c.serial == bindparam("old"), certificate.c.replaced_at
# A successor that nobody confirmed does not count: it may have been lost on the way.
_IN_USE: Final = or_(certificate.c.state == "confirmed", certificate.c.state_before == "confirmed")
_SUCCESSOR: Final = Prepared(
    select(certificate.c.serial).where(certificate.c.replaces == bindparam("old"), _IN_USE).limit(1)
)
_IS_REPLACED: Final = Prepared(update(certificate).where(_MINE, _NOTED.is_(None)).values(replaced_at=bindparam("at")))
_IS_NOT: Final = Prepared(update(certificate).where(_MINE, _NOTED.is_not(None)).values(replaced_at=None))


def _note_replaced(connection: Connection, serial: str, at: datetime | None) -> None:
    if _SUCCESSOR.row(connection, {"old": serial}) is not None:
        _IS_REPLACED.run(connection, {"old": serial, "at": at})
    else:
        _IS_NOT.run(connection, {"old": serial})


def _due(window: DueWindow, at: datetime, last: Record | None) -> "Select[Any]":
    column = certificate.c
    query = _RECORDS.where(
        IS_RENEWABLE,
        column.profile == window.profile,
        column.not_after_at > at,
        column.not_after_at <= window.until_at,
    ).order_by(column.not_after_at, column.serial)
    if last is not None and last.profile == window.profile:
        end = literal(last.not_after_at, column.not_after_at.type)  # in a tuple nothing tells its type
        query = query.where(tuple_(column.not_after_at, column.serial) > tuple_(end, last.serial))
    return query
