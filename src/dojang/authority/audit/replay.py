"""What the record says of everything that it speaks of: its rows played again, in the order in which they were written.

What comes of them is kept in a file of its own that has no name and is gone with the process, so a million
certificates need no more memory than a thousand. Each thing is there with its state, what was told of it when it was
made, and the number of the last row about it. ``against`` holds the tables against it.
"""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dojang.authority.audit.chain import Entry, clean
from dojang.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from sqlite3 import Cursor

CERTIFICATE, ENROLMENT, OFFICER, SIGNER = "certificate", "enrolment", "officer", "signer"
OPEN: Final = "open"
"""The state of an enrolment where older rows do not tell which of the states before its use."""

_SCRATCH: Final = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;
CREATE TABLE said (
    kind TEXT, subject TEXT, seq INTEGER, state TEXT, before TEXT, reason TEXT, since TEXT, uses INTEGER, facts TEXT,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;
"""
_INTO: Final = "INSERT INTO said (seq, kind, subject, "
_OR: Final = " ON CONFLICT (kind, subject) DO UPDATE SET seq = excluded.seq, "
_TELL: Final = (
    f"{_INTO}state, uses, facts) VALUES (?, ?, ?, ?, ?, ?){_OR}state = coalesce(excluded.state, state),"
    " uses = coalesce(excluded.uses, uses), facts = coalesce(excluded.facts, facts)"
)
_SUSPEND: Final = (
    f"{_INTO}state, reason, since) VALUES (?, ?, ?, 'suspended', ?, ?){_OR}"
    "before = state, state = 'suspended', reason = excluded.reason, since = excluded.since"
)
_RESTORE: Final = (
    "UPDATE said SET seq = ?, state = before, before = NULL, reason = NULL, since = NULL WHERE kind = ? AND subject = ?"
)
_REVOKE: Final = (
    f"{_INTO}state, reason, since) VALUES (?, ?, ?, 'revoked', ?, ?){_OR}"
    "before = NULL, state = 'revoked', reason = excluded.reason, since = coalesce(since, excluded.since)"
)
_TAKE: Final = (
    "DELETE FROM said WHERE kind = ? AND subject = ? RETURNING kind, subject, seq, state, reason, since, uses, facts"
)
_REST: Final = "SELECT kind, subject, seq, state, reason, since, uses, facts FROM said ORDER BY seq"
_ISSUED: Final = ("fingerprint", "profile", "signer", "replaces", "enrolment")
_MAY_BE_NONE: Final = ("replaces", "enrolment")
_CREATED: Final = ("profile", "applicant")
_ENDED: Final = {
    "enrolment-refused": "refused",
    "enrolment-cancelled": "cancelled",
    "enrolment-expired": "expired",
    "enrolment-locked": "locked",
}
_OPENED: Final = ("enrolment-approved", "enrolment-settled", "enrolment-unlocked")


class Said(NamedTuple):
    """What is on record of one thing; ``None`` for what is not. ``since`` is to the second, as the tables have it."""

    kind: str
    subject: str
    seq: int
    state: str | None
    reason: str | None
    since: str | None
    uses: int | None
    facts: Mapping[str, Any]


class Replay:
    """Takes row after row. A context manager.

    ``DatabaseUnavailable`` where its own file finds no room.
    """

    def __init__(self) -> None:
        import sqlite3

        self._failure = sqlite3.Error
        self._scratch = sqlite3.connect("", isolation_level=None)
        self._scratch.executescript(_SCRATCH)
        self._scratch.execute("BEGIN")
        self._signers: dict[str, dict[str, Any]] = {}
        self.upgraded_at: str | None = None
        """When a store without a record got one: of what was there already, nothing is on record."""
        self.tiers = 0

    def __enter__(self) -> "Replay":
        return self

    def __exit__(self, *_error: object) -> None:
        self._scratch.close()

    def hear(self, entry: Entry) -> None:
        """The next row."""
        kind = entry.event.partition("-")[0]
        listener = {
            CERTIFICATE: self._certificate,
            ENROLMENT: self._enrolment,
            OFFICER: self._officer,
            SIGNER: self._signer,
            "authority": self._authority,
            "store": self._store,
        }.get(kind)
        if listener is not None:
            listener(entry, _details(entry))

    def end(self) -> None:
        """No more rows come: from now on what they said can be taken."""
        for name, one in self._signers.items():
            self._tell(one["seq"], SIGNER, name, one["state"], one["facts"])

    def take(self, kind: str, subject: str) -> Said | None:
        """What is on record of it, which is struck off the list."""
        row = self._run(_TAKE, (kind, subject)).fetchone()
        return None if row is None else _said(row)

    def rest(self) -> "list[Said]":
        """The first of those that nobody took."""
        return [_said(row) for row in self._run(f"{_REST} LIMIT 100", ())]

    def _run(self, statement: str, values: tuple[Any, ...]) -> "Cursor":
        try:
            return self._scratch.execute(statement, values)
        except self._failure as error:
            raise DatabaseUnavailable(where=_scratch_folder(), problem=str(error)) from error

    def _tell(
        self, seq: int, kind: str, subject: str, state: str | None, facts: Any = None, uses: int | None = None
    ) -> None:
        told = None if facts is None else json.dumps(facts)
        self._run(_TELL, (seq, kind, subject, state, uses, told))

    def _certificate(self, entry: Entry, told: Mapping[str, Any]) -> None:
        about = entry.seq, CERTIFICATE, entry.subject
        if entry.event == "certificate-issued":
            facts = {name: told.get(name) for name in _ISSUED if name in told or name in _MAY_BE_NONE}
            self._tell(*about, "issued", facts)
        elif entry.event == "certificate-confirmed":
            self._tell(*about, "confirmed")
        elif entry.event == "certificate-suspended":
            self._run(_SUSPEND, (*about, _text(told.get("reason")), entry.at[:19]))
        elif entry.event == "certificate-restored":
            self._run(_RESTORE, about)
        elif entry.event == "certificate-revoked":
            self._run(_REVOKE, (*about, _text(told.get("reason")), entry.at[:19]))

    def _enrolment(self, entry: Entry, told: Mapping[str, Any]) -> None:
        about = entry.seq, ENROLMENT, entry.subject
        if entry.event == "enrolment-created":
            facts = {name: told.get(name) for name in _CREATED}
            facts |= {"created_by": entry.actor, "expires_at": str(told.get("expires_at"))[:19]}
            self._tell(*about, _text(told.get("state")) or OPEN, facts, _number(told.get("uses")))
        elif entry.event in _OPENED:
            self._tell(*about, _text(told.get("state")) or OPEN)
        elif entry.event == "enrolment-used":
            left = _number(told.get("uses_left"))
            self._tell(*about, "used" if left == 0 else None, None, left)
        elif entry.event in _ENDED:
            self._tell(*about, _ENDED[entry.event])

    def _officer(self, entry: Entry, told: Mapping[str, Any]) -> None:
        if entry.event == "officer-removed":
            self._tell(entry.seq, OFFICER, entry.subject, "removed")
        else:
            facts = {"roles": told.get("roles"), "fingerprint": told.get("certificate")}
            known = {name: fact for name, fact in facts.items() if fact is not None}  # older rows told less
            self._tell(entry.seq, OFFICER, entry.subject, "active", known)

    def _signer(self, entry: Entry, told: Mapping[str, Any]) -> None:
        if entry.event == "signer-added":
            serial, role = _text(told.get("certificate")), _text(told.get("role")) or ""
            self._add_signer(entry, role, _text(told.get("state")), {"certificate": serial} if serial else {})
            if serial and role != "root":  # whose own certificate is nowhere but beside its key
                self._tell(entry.seq, CERTIFICATE, serial, "confirmed")
        elif entry.event == "signer-cross-signed":
            self._tell(entry.seq, CERTIFICATE, _text(told.get("serial")) or "", "confirmed")
        elif entry.event == "signer-switched":
            self._set_signer(entry.seq, entry.subject, "current")
            if before := _text(told.get("before")):
                self._set_signer(entry.seq, before, "retiring")
        elif entry.event == "signer-retired":
            self._set_signer(entry.seq, entry.subject, "retired")

    def _add_signer(self, entry: Entry, role: str, state: str | None, facts: dict[str, Any]) -> None:
        """Who did the same until now steps down; an OCSP key goes on answering for what its issuer signed."""
        if state == "current":
            for name, one in self._signers.items():
                if (one["role"], one["state"]) == (role, "current") and name != entry.subject:
                    self._set_signer(entry.seq, name, "retiring" if role == "ocsp" else "retired")
        self._signers[entry.subject] = {"seq": entry.seq, "role": role, "state": state, "facts": facts}

    def _set_signer(self, seq: int, name: str, state: str) -> None:
        one = self._signers.setdefault(name, {"role": "", "facts": {}})
        one |= {"seq": seq, "state": state}

    def _authority(self, entry: Entry, told: Mapping[str, Any]) -> None:
        if entry.event == "authority-founded":
            self.tiers = _number(told.get("tiers")) or 1
            self._add_signer(_of(entry, "root"), "root", "current", {"digest": _text(told.get("certificate"))})
            if self.tiers > 1:
                self._add_signer(_of(entry, "issuing"), "issuing", "current", {})

    def _store(self, entry: Entry, told: Mapping[str, Any]) -> None:
        if told.get("before") == "0001":
            self.upgraded_at = entry.at[:19]


def _of(entry: Entry, name: str) -> Entry:
    from dataclasses import replace

    return replace(entry, subject=name)


def _scratch_folder() -> str:
    """Where SQLite puts what has no name."""
    return os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 - only said


def _said(row: Any) -> Said:
    said = Said._make(row)
    return said._replace(facts=json.loads(row[-1]) if row[-1] else {})


def _details(entry: Entry) -> Mapping[str, Any]:
    """As they were written; a row that somebody changed may hold anything."""
    try:
        found = json.loads(entry.details)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 1 << 62 else None
