"""The database of a local authority: one SQLite file, private to its owner, durable when a call returns.

States of a certificate: ``issued`` (recorded and handed out) → ``confirmed`` (arrived and works) → ``suspended`` ⇄
``confirmed`` → ``revoked``, which is final. A serial is never used again, a transaction never answered differently.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dojang.errors import NotFound, Phrase, StateUnreadable

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE signer (
    role TEXT PRIMARY KEY CHECK (role IN ('root', 'issuing')),
    certificate_der BLOB NOT NULL,
    key_address TEXT NOT NULL,
    crl_days INTEGER NOT NULL,
    crl_number INTEGER NOT NULL DEFAULT 0,
    crl_published INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE certificate (
    serial TEXT PRIMARY KEY,
    signer TEXT NOT NULL REFERENCES signer (role),
    certificate_der BLOB NOT NULL UNIQUE,
    profile TEXT NOT NULL,
    subject TEXT NOT NULL,
    not_before_at TEXT NOT NULL,
    not_after_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('issued', 'confirmed', 'suspended', 'revoked')),
    state_before TEXT,
    reason TEXT,
    revoked_at TEXT,
    replaces TEXT REFERENCES certificate (serial),
    CHECK ((state IN ('suspended', 'revoked')) = (reason IS NOT NULL AND revoked_at IS NOT NULL))
) STRICT;
CREATE INDEX certificate_by_state ON certificate (signer, state);
CREATE INDEX certificate_by_predecessor ON certificate (replaces);
CREATE TABLE submission (
    transaction_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    serial TEXT NOT NULL UNIQUE REFERENCES certificate (serial),
    cancelled INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
_WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs: the root's or the issuing authority's."""

    role: str
    certificate_der: bytes
    key_address: str
    crl_days: int
    crl_number: int


@dataclass(frozen=True, slots=True)
class Record:
    """One certificate that the authority issued. ``serial`` is hex; ``reason`` is spelt as in RFC 5280."""

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


@dataclass(frozen=True, slots=True)
class Answered:
    """What a transaction was and what came of it."""

    kind: str
    fingerprint: bytes
    serial: str
    cancelled: bool


class Store:
    """One open database. Threads of this process take turns; processes take turns in SQLite."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def create(cls, path: Path) -> "Store":
        """A new, empty database, readable by its owner only. Raises ``StateUnreadable``."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise StateUnreadable(path=path, problem=error.strerror or Phrase("it cannot be written")) from error
        store = cls(path, _connect(path))
        with store.reading() as database:
            database.execute("PRAGMA journal_mode = WAL")  # kept in the file
        with store.writing() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return store

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The database that is there. Raises ``StateUnreadable``."""
        store = cls(path, _connect(path))
        with store.reading() as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            problem = Phrase("it has the form {found}, this dojang knows {known}", found=version, known=SCHEMA_VERSION)
            raise StateUnreadable(path=path, problem=problem)
        return store

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One thread at a time; SQLite's complaints become ``StateUnreadable``."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise StateUnreadable(path=self.path, problem=error) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and nobody else writes meanwhile; on disk when the block has ended."""
        with self.reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")

    def signers(self) -> dict[str, Signer]:
        """By role, the root first."""
        with self.reading() as database:
            rows = database.execute(
                "SELECT role, certificate_der, key_address, crl_days, crl_number FROM signer ORDER BY role DESC"
            )
            return {row[0]: Signer(*row) for row in rows}

    def find(self, serial: str) -> Record:
        """One certificate by its serial in hex. Raises ``NotFound``."""
        found = next(self.records("serial = ?", serial), None)
        if found is None:
            where = self.path.parent.name
            raise NotFound(
                what=Phrase("certificate {serial}", serial=serial[:64]),
                where=where,
                command=f"dojang ca list --ca {where}",
            )
        return found

    def records(self, where: str = "TRUE", *values: object) -> Iterator[Record]:
        """Certificates in the order they were issued. ``where`` is SQL of ours, never of a user."""
        with self.reading() as database:
            query = f"SELECT {_COLUMNS} FROM certificate WHERE {where} ORDER BY rowid"  # noqa: S608
            rows = database.execute(query, values).fetchall()
        return map(_record, rows)

    def answered(self, transaction_id: str) -> Answered | None:
        """What this transaction got, ``None`` if it is new."""
        with self.reading() as database:
            row = database.execute(
                "SELECT kind, fingerprint, serial, cancelled FROM submission WHERE transaction_id = ?",
                (transaction_id,),
            ).fetchone()
        return Answered(row[0], row[1], row[2], bool(row[3])) if row else None


_COLUMNS = (
    "serial, signer, certificate_der, profile, subject, not_before_at, not_after_at, recorded_at, state, reason,"
    " revoked_at, replaces"
)


def insert_record(database: sqlite3.Connection, record: Record) -> None:
    """Inside ``writing()``. A serial that was used before raises ``sqlite3.IntegrityError``."""
    database.execute(
        f"INSERT INTO certificate ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            record.serial,
            record.signer,
            record.certificate_der,
            record.profile,
            record.subject,
            record.not_before_at.isoformat(),
            record.not_after_at.isoformat(),
            record.recorded_at.isoformat(),
            record.state,
            record.reason,
            record.revoked_at and record.revoked_at.isoformat(),
            record.replaces,
        ),
    )


def _record(row: tuple[object, ...]) -> Record:
    serial, signer, der, profile, subject, before, after, recorded, state, reason, revoked, replaces = row
    assert isinstance(der, bytes)
    return Record(
        serial=str(serial),
        signer=str(signer),
        certificate_der=der,
        profile=str(profile),
        subject=str(subject),
        not_before_at=datetime.fromisoformat(str(before)),
        not_after_at=datetime.fromisoformat(str(after)),
        recorded_at=datetime.fromisoformat(str(recorded)),
        state=str(state),
        reason=None if reason is None else str(reason),
        revoked_at=None if revoked is None else datetime.fromisoformat(str(revoked)),
        replaces=None if replaces is None else str(replaces),
    )


def _connect(path: Path) -> sqlite3.Connection:
    try:
        address = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            address, uri=True, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.executescript("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
    except sqlite3.Error as error:
        raise StateUnreadable(path=path, problem=error) from error
    return connection
