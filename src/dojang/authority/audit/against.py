"""Do the tables say what the record says? Whoever can drop a trigger can change a state that everybody believes.

    with Replay() as replay:
        …                                          # it hears every row
        comparison = Comparison(replay)
    comparison.run(connection)                 # comparison.findings, comparison.counts

Compared are certificates (state, reason, since when, and what was told at issue), enrolments, officers, and the keys
of the authority. What is nowhere on record, and what is on record and gone, is found too. All of it in one moment's
view of the database, a page at a time.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dojang.authority.audit.replay import CERTIFICATE, ENROLMENT, OFFICER, OPEN, SIGNER, Replay, Said
from dojang.authority.audit.verify import MOST_FINDINGS, Finding
from dojang.errors import Phrase, StateUnreadable

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Row, Table

_PAGE: Final = 1000
_LISTED: Final = ("suspended", "revoked")
_WORDS: Final = {
    CERTIFICATE: Phrase("certificate"),
    ENROLMENT: Phrase("enrolment"),
    OFFICER: Phrase("officer"),
    SIGNER: Phrase("key"),
}


class Comparison:
    """What was found so far. ``advance`` is called with every row of the tables."""

    def __init__(self, replay: Replay, advance: Callable[[], None] = lambda: None) -> None:
        self._replay, self._advance = replay, advance
        self.counts = dict.fromkeys(_WORDS, 0)
        self.findings: list[Finding] = []
        self._unrecorded_below = 0

    def run(self, connection: "Connection") -> None:
        """Walk over the tables, in a transaction that shows one moment."""
        self._replay.end()
        walks = {
            CERTIFICATE: self._certificates,
            ENROLMENT: self._enrolments,
            OFFICER: self._officers,
            SIGNER: self._signers,
        }
        unreadable = set()
        for kind, walk in walks.items():
            try:
                walk(connection)
            except StateUnreadable as error:  # its other rows stay unseen, and nobody knows what is missing there
                unreadable.add(kind)
                self._find(f"{kind}-unreadable", 0, "", Phrase("{problem}", problem=error.facts["problem"]))
        for said in self._replay.rest():
            problem = Phrase("{what} {subject} is on record and is not in its table", **_named(said.kind, said.subject))
            is_known = said.kind not in unreadable and (said.kind != CERTIFICATE or self._replay.upgraded_at is None)
            if is_known:
                self._find(f"{said.kind}-missing", said.seq, said.subject, problem)

    def _certificates(self, connection: "Connection") -> None:
        from dojang.authority import tables

        one = tables.certificate.c
        told = one.certificate_der, one.profile, one.signer, one.replaces, one.enrolment, one.recorded_at
        known = one.number, one.serial, one.state, one.reason, one.revoked_at, *told
        for row in _rows(connection, one.number, *known):
            self._look_at(CERTIFICATE, row.serial, _of_certificate(row), partial(self._is_older, row))

    def _enrolments(self, connection: "Connection") -> None:
        from dojang.authority import tables
        from dojang.authority.enrolment.states import OPEN as BEFORE_USE

        for row in _rows(connection, tables.enrolment.c.reference, tables.enrolment):
            self._look_at(ENROLMENT, row.reference, _of_enrolment(row), open_states=BEFORE_USE)

    def _officers(self, connection: "Connection") -> None:
        from dojang.authority import tables

        for row in _rows(connection, tables.officer.c.id, tables.officer):
            self._look_at(OFFICER, row.id, _of_officer(row))

    def _signers(self, connection: "Connection") -> None:
        from dojang.authority import tables

        for row in _rows(connection, tables.signer.c.id, tables.signer):
            self._look_at(SIGNER, row.id, _of_signer(row), lambda: self._replay.upgraded_at is not None)

    def _look_at(
        self,
        kind: str,
        subject: str,
        there: Mapping[str, Any],
        may_be_unrecorded: Callable[[], bool] = lambda: False,
        open_states: tuple[str, ...] = (),
    ) -> None:
        self._advance()
        self.counts[kind] += 1
        said = self._replay.take(kind, subject)
        if said is None:
            if not may_be_unrecorded():
                problem = Phrase("{what} {subject} is nowhere on record", **_named(kind, subject))
                self._find(f"{kind}-unrecorded", 0, subject, problem)
            return
        for name, wanted in _expected(said):
            found = there[name]
            if found != wanted and not (name == "state" and wanted == OPEN and found in open_states):
                problem = Phrase(
                    "{what} {subject}: its table says {name} {found}, the record {wanted}",
                    **_named(kind, subject),
                    name=name,
                    found=_shown(found),
                    wanted=_shown(wanted),
                )
                self._find(f"{kind}-differs", said.seq, subject, problem)

    def _is_older(self, row: "Row[Any]") -> bool:
        """The issuing authority's first certificate is told of by the founding; older stores kept no record."""
        upgraded_at = self._replay.upgraded_at
        if upgraded_at is not None and str(_second(row.recorded_at)) <= upgraded_at:
            return True
        founded = self._replay.tiers > 1 and (row.profile, row.signer, row.state) == ("issuing", "root", "confirmed")
        self._unrecorded_below += founded
        return founded and self._unrecorded_below == 1

    def _find(self, kind: str, row: int, subject: str, problem: Phrase) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(kind, row, problem, subject))


def rows_in(connection: "Connection") -> int:
    """How many are compared."""
    from sqlalchemy import func, select

    from dojang.authority import tables

    every = tables.certificate, tables.enrolment, tables.officer, tables.signer
    return sum(connection.execute(select(func.count()).select_from(one)).scalar_one() for one in every)


def _rows(connection: "Connection", by: "Column[Any]", *what: "Column[Any] | Table") -> "Iterator[Row[Any]]":
    from sqlalchemy import select

    query, last = select(*what).order_by(by).limit(_PAGE), None
    while True:
        page = connection.execute(query if last is None else query.where(by > last)).all()
        yield from page
        if len(page) < _PAGE:
            return
        last = getattr(page[-1], by.name)


def _expected(said: Said) -> Iterator[tuple[str, Any]]:
    """What the table has to say."""
    if said.state is not None:
        yield "state", said.state
        if said.kind == CERTIFICATE:
            listed = said.state in _LISTED
            yield "reason", said.reason if listed else None
            yield "revoked_at", said.since if listed else None
    if said.uses is not None:
        yield "uses_left", said.uses
    yield from said.facts.items()


def _of_certificate(row: "Row[Any]") -> Mapping[str, Any]:
    return {
        "state": row.state,
        "reason": row.reason,
        "revoked_at": _second(row.revoked_at),
        "fingerprint": hashlib.sha256(row.certificate_der).hexdigest(),
        "profile": row.profile,
        "signer": row.signer,
        "replaces": row.replaces,
        "enrolment": row.enrolment,
    }


def _of_enrolment(row: "Row[Any]") -> Mapping[str, Any]:
    return {
        "state": row.state,
        "uses_left": row.uses_left,
        "profile": row.profile,
        "applicant": row.applicant,
        "created_by": row.created_by,
        "expires_at": _second(row.expires_at),
    }


def _of_officer(row: "Row[Any]") -> Mapping[str, Any]:
    held = hashlib.sha256(row.certificate_der).hexdigest()
    same = held == bytes(row.fingerprint).hex()
    return {"state": row.state, "roles": _listed(row.roles), "fingerprint": held if same else None}


def _of_signer(row: "Row[Any]") -> Mapping[str, Any]:
    from cryptography import x509

    der = row.certificate_der
    try:
        serial = None if der is None else f"{x509.load_der_x509_certificate(der).serial_number:x}"
    except ValueError:
        serial = None
    digest = None if der is None else hashlib.sha256(der).hexdigest()
    return {"state": row.state, "certificate": serial, "digest": digest}


def _listed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _second(at: Any) -> str | None:
    return None if at is None else str(at.isoformat(timespec="seconds"))[:19]


def _named(kind: str, subject: str) -> dict[str, Any]:
    return {"what": _WORDS[kind], "subject": subject}


def _shown(value: Any) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
