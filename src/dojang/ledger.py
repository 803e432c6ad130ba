"""The record of what happened to every credential, and the journal of what is under way.

Two tables in one SQLite file (mode 0600). ``operations`` is the journal: an operation is written before anything is
made, moves by durable transitions, and is finished or undone. ``events`` is what happened to every credential; it only
grows.
An operation belongs to the process that holds the lock on its owner file; the kernel drops that lock when the process
dies, however it dies, so a live operation is never taken for an incomplete one. No secret is ever written here.
"""

import contextlib
import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from dojang.errors import CredentialBusy, OperationUnfinished, Phrase, StateUnreadable

Fact = str | int | bool | None | Sequence[str]
Statement = tuple[str, tuple[object, ...]]

SCHEMA_VERSION = 1
BUSY_SECONDS = 15.0
_OPEN_OWNER = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
SCHEMA = """
CREATE TABLE operations (
    operation_id TEXT PRIMARY KEY,
    verb TEXT NOT NULL,
    subject_key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'finished', 'undone')),
    step TEXT NOT NULL,
    facts TEXT NOT NULL,
    begun_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    outcome TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE UNIQUE INDEX one_open_operation ON operations (subject_key) WHERE state = 'open';
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    address TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE INDEX events_of_certificate ON events (fingerprint);
CREATE INDEX events_of_address ON events (address);
CREATE TRIGGER events_stand BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events only grow'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events only grow'); END;
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one credential: issued, renewed, retired, deleted, revoked, requested, installed.

    ``fingerprint`` is the SHA-256 of the certificate's DER in hex; for ``requested`` that of its public key.
    """

    event: str
    address: str
    fingerprint: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperationRecord:
    """An operation as the journal holds it; ``step`` is the last transition that is known to have been written."""

    operation_id: str
    verb: str
    subject_key: str
    step: str
    facts: Mapping[str, Fact]
    begun_at: datetime


class Operation:
    """An operation that this process owns until it finishes, undoes or leaves it; a context manager.

    Leaving the context without ``finish`` or ``undo`` keeps it open in the journal, for the next run to recover.
    """

    def __init__(self, ledger: "Ledger", record: OperationRecord, owner_file: int) -> None:
        self._ledger = ledger
        self._owner_file: int | None = owner_file
        self.record = record

    @property
    def operation_id(self) -> str:
        return self.record.operation_id

    def advance(self, step: str, **facts: Fact) -> None:
        """Move to ``step`` and add ``facts``; durable when this returns."""
        merged = {**self.record.facts, **facts}
        self._ledger._write(
            (
                "UPDATE operations SET step = ?, facts = ?, changed_at = ? WHERE operation_id = ?",
                (step, _to_text(merged), _now_text(), self.operation_id),
            )
        )
        record = self.record
        self.record = OperationRecord(
            record.operation_id, record.verb, record.subject_key, step, merged, record.begun_at
        )

    def finish(self, outcome: str, *events: Event) -> None:
        """Close the operation as done; its events are recorded in the same transaction, or neither is."""
        self._close("finished", outcome, events)

    def undo(self, reason: str, *events: Event) -> None:
        """Close the operation as taken back; what it made must be gone by now."""
        self._close("undone", reason, events)

    def _close(self, state: str, outcome: str, events: Sequence[Event]) -> None:
        self._ledger._write(
            (
                "UPDATE operations SET state = ?, outcome = ?, changed_at = ? WHERE operation_id = ?",
                (state, outcome, _now_text(), self.operation_id),
            ),
            *map(_insert, events),
        )
        self._ledger._owner_path(self.operation_id).unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Give the operation up as it stands."""
        if self._owner_file is not None:
            os.close(self._owner_file)
            self._owner_file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()


class Ledger:
    """Opens with :meth:`open`; a context manager. Threads may share one; processes open the same path.

    Everything that cannot be read or written, a full disk or a read-only folder among it, is ``StateUnreadable``.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._owners = path.with_name(path.name + ".owners")
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the ledger at ``path``, creating it (0600) and its folder (0700) when it is not there."""
        return cls(path, connect(path, SCHEMA, SCHEMA_VERSION))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, verb: str, subject_key: str, facts: Mapping[str, Fact]) -> Operation:
        """Write the intent before anything is made; durable when this returns.

        Only one operation at a time is open for a ``subject_key``: ``CredentialBusy`` while another process is at it,
        ``OperationUnfinished`` when one that was cut short has not been recovered yet.
        """
        operation_id, begun_at = uuid4().hex, datetime.now(UTC)
        owner_file = self._take(operation_id)
        assert owner_file is not None, "a fresh identifier has no owner"
        moment = begun_at.isoformat()
        try:
            self._write(
                (
                    "INSERT INTO operations (operation_id, verb, subject_key, state, step, facts, begun_at, changed_at)"
                    " VALUES (?, ?, ?, 'open', 'begun', ?, ?, ?)",
                    (operation_id, verb, subject_key, _to_text(facts), moment, moment),
                )
            )
        except BaseException as error:
            self._owner_path(operation_id).unlink(missing_ok=True)
            os.close(owner_file)
            if isinstance(error, sqlite3.IntegrityError):
                raise self._already_open(subject_key) from error
            raise
        return Operation(
            self, OperationRecord(operation_id, verb, subject_key, "begun", dict(facts), begun_at), owner_file
        )

    def incomplete(self) -> list[OperationRecord]:
        """The open operations whose process is dead, oldest first."""
        return [record for record in self._open_operations() if self._ownerless(record)]

    def resume(self, record: OperationRecord) -> Operation | None:
        """Take over an incomplete operation as it stands now; ``None`` when somebody else took it or closed it."""
        owner_file = self._take(record.operation_id)
        if owner_file is None:
            return None
        for current in self._open_operations(record.operation_id):
            return Operation(self, current, owner_file)
        os.close(owner_file)
        return None

    def record(self, *events: Event) -> None:
        """Add what happened; nothing that was written before changes."""
        self._write(*map(_insert, events))

    def history(self, address: str | None = None, *, fingerprint: str | None = None) -> list[Event]:
        """What happened, oldest first: to one address, to one certificate, or to all."""
        wanted = {"address": address, "fingerprint": fingerprint}
        given = {column: value for column, value in wanted.items() if value is not None}
        # Only a condition that stands alone is looked up in its index.
        where = f" WHERE {' AND '.join(f'{column} = ?' for column in given)}" if given else ""
        query = f"SELECT event, address, fingerprint, facts, at FROM events{where} ORDER BY number"  # noqa: S608 – columns only
        rows = self._read(query, tuple(given.values()))
        return [Event(row[0], row[1], row[2], json.loads(row[3]), datetime.fromisoformat(row[4])) for row in rows]

    def _open_operations(self, operation_id: str | None = None) -> list[OperationRecord]:
        rows = self._read(
            "SELECT operation_id, verb, subject_key, step, facts, begun_at FROM operations"
            " WHERE state = 'open' AND (?1 IS NULL OR operation_id = ?1) ORDER BY begun_at",
            (operation_id,),
        )
        return [
            OperationRecord(row[0], row[1], row[2], row[3], json.loads(row[4]), datetime.fromisoformat(row[5]))
            for row in rows
        ]

    def _already_open(self, subject_key: str) -> CredentialBusy | OperationUnfinished:
        others = [record for record in self._open_operations() if record.subject_key == subject_key]
        if not others:
            return CredentialBusy(verb="change", subject=subject_key)
        other = others[0]
        leaf = OperationUnfinished if self._ownerless(other) else CredentialBusy
        return leaf(verb=other.verb, subject=other.facts.get("address", subject_key))

    def _owner_path(self, operation_id: str) -> Path:
        return self._owners / operation_id

    def _ownerless(self, record: OperationRecord) -> bool:
        owner_file = self._take(record.operation_id)
        if owner_file is None:
            return False
        os.close(owner_file)
        return True

    def _take(self, operation_id: str) -> int | None:
        path = self._owner_path(operation_id)
        with state_errors(self.path):
            try:
                descriptor = os.open(path, _OPEN_OWNER, 0o600)
            except FileNotFoundError:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                descriptor = os.open(path, _OPEN_OWNER, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if isinstance(error, BlockingIOError):
                    return None
                raise
        return descriptor

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[str, ...]]:
        with self._lock, state_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def _write(self, *statements: Statement) -> None:
        """Every change of the ledger goes through here: one transaction, durable on return."""
        with self._lock, state_errors(self.path), transaction(self._connection):
            for query, values in statements:
                self._connection.execute(query, values)


def connect(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """An SQLite file of ours for many threads and processes: made (0600, its folder 0700) where it is not there, every
    change durable when its transaction has ended.
    """
    with state_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path, schema, version)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path, schema, version)
        except BaseException:
            connection.close()
            raise
    return connection


def _make(path: Path, schema: str, version: int) -> None:
    """The file is whole when anybody sees it first, however many come at the same time.

    Nobody opens it but SQLite: whoever closes a file lets go of all locks that his process has on it (POSIX).
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            return
        new = path.with_name(f"{path.name}.new")
        for ending in ("", "-journal", "-wal", "-shm"):  # of one that was killed here
            new.with_name(new.name + ending).unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            _prepare(connection, path, schema, version)
        new.rename(path)
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; waits for whoever else is writing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself already (a full disk).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def state_errors(path: Path) -> Iterator[None]:
    """``StateUnreadable`` for what SQLite and the system say of the file."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise StateUnreadable(path=str(path), problem=str(error)) from error
    except OSError as error:
        raise StateUnreadable(path=str(path), problem=error.strerror or str(error)) from error


def _prepare(connection: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    written = connection.execute("PRAGMA user_version").fetchone()[0]
    if written > version:
        raise StateUnreadable(
            path=str(path), problem=Phrase("a newer dojang wrote it (version {version})", version=written)
        )
    if written == version:
        return
    with transaction(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _statements(schema):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("PRAGMA journal_mode = WAL")


def _statements(script: str) -> Iterator[str]:
    # ``executescript`` commits what is open first, which would tear the schema from its version.
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _insert(event: Event) -> Statement:
    moment = (event.at or datetime.now(UTC)).isoformat()
    return (
        "INSERT INTO events (at, event, address, fingerprint, facts) VALUES (?, ?, ?, ?, ?)",
        (moment, event.event, event.address, event.fingerprint, _to_text(event.facts)),
    )


_encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


def _to_text(facts: Mapping[str, Fact]) -> str:
    return _encoder.encode(dict(facts))


def _now_text() -> str:
    return datetime.now(UTC).isoformat()
