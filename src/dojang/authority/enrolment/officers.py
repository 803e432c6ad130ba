"""Officers: people whose certificate, with its key on a token, opens the office to them from anywhere.

    registrar   applicants, identity checks, codes
    approver    approves or refuses what another has registered
    revoker     revokes, suspends, restores
    auditor     reads everything, the audit record too

An officer is a subject: when the certificate is renewed, the new one takes the place of the old, and the two never
count as two people; nor does a key that two subjects share. A certificate counts while it is registered, valid, and
neither revoked nor on hold: one of this authority's by its own records, another's by a path to the anchors of
``authority.toml`` and the lists named there.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from cryptography import x509
from sqlalchemy import Connection, Row, insert, select, update

from dojang.authority import audit, tables
from dojang.authority.audit.actor import current_actor
from dojang.authority.database import Database
from dojang.authority.enrolment.policy import EnrolmentPolicy
from dojang.errors import AlreadyExists, InvalidSetting, NotFound, NotPermitted, Phrase, Usage
from dojang.x509.keys import same_key
from dojang.x509.name import format_name
from dojang.x509.path import check_path
from dojang.x509.reading import certificates_in, read_certificate

Role = Literal["registrar", "approver", "revoker", "auditor"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
_ID_BYTES: Final = 6
_GOOD: Final = ("issued", "confirmed")


@dataclass(frozen=True, slots=True)
class Officer:
    """Somebody with roles. ``actor`` is what the audit record calls him."""

    id: str
    name: str
    certificate_der: bytes
    roles: tuple[Role, ...]
    state: str
    added_at: datetime
    added_by: str

    @property
    def actor(self) -> str:
        return f"officer:{self.id}"

    def check_role(self, role: Role) -> None:
        """Raises ``NotPermitted``."""
        if role not in self.roles:
            raise NotPermitted(
                problem=Phrase("{name} is no {role} here", name=self.name, role=role),
                remedy=Phrase("Have an officer with that role do it; 'dojang ca officer list' shows who has."),
            )


class Officers:
    """The officers of one authority."""

    def __init__(
        self, database: Database, authority: str, policy: EnrolmentPolicy, clock: Callable[[], datetime]
    ) -> None:
        self._database, self._authority, self._policy, self._clock = database, authority, policy, clock

    def add(self, certificate_der: bytes, roles: Sequence[str]) -> Officer:
        """Register a certificate, in the place of an earlier one of the same subject.

        ``NotPermitted`` for one that would not count, ``AlreadyExists`` when nothing would change, ``Usage``.
        """
        wanted = _roles(roles)
        subject = read_certificate(certificate_der).subject
        officer_id = _id_of(subject)
        values: dict[str, Any] = {
            "name": format_name(subject),
            "certificate_der": certificate_der,
            "fingerprint": hashlib.sha256(certificate_der).digest(),
            "roles": json.dumps(wanted),
            "state": "active",
            "added_at": self._clock(),
            "added_by": current_actor(),
            "removed_at": None,
        }
        with self._database.writing() as connection:
            self._check_standing(connection, certificate_der)
            _check_alone(connection, officer_id, certificate_der)
            before = _row(connection, officer_id)
            if before is None:
                connection.execute(insert(tables.officer).values(id=officer_id, **values))
            else:
                _check_change(before, values, self._authority)
                connection.execute(update(tables.officer).where(tables.officer.c.id == officer_id).values(**values))
            self._tell_added(connection, officer_id, values, wanted, is_new=before is None)
            return self._found(connection, officer_id)

    def remove(self, officer_id: str, reason: str = "") -> Officer:
        """From now on the certificate opens nothing. ``NotFound``."""
        with self._database.writing() as connection:
            before = self._found(connection, officer_id)
            mine = tables.officer.c.id == before.id
            values = {"state": "removed", "removed_at": self._clock()}
            connection.execute(update(tables.officer).where(mine).values(**values))
            details: dict[str, Any] = {"roles": list(before.roles), "reason": reason[:200] or None}
            audit.record(connection, event="officer-removed", subject=officer_id, at=self._clock(), **details)
            return before

    def listed(self) -> list[Officer]:
        """Those who are registered now, in the order of their names."""
        table = tables.officer
        query = select(table).where(table.c.state == "active").order_by(table.c.name)
        with self._database.reading() as connection:
            return [_officer(row) for row in connection.execute(query)]

    def officer_of(self, certificate_der: bytes) -> Officer:
        """Whose certificate this is. ``NotPermitted`` when it is nobody's, or does not count any more."""
        table = tables.officer
        mine = (table.c.fingerprint == hashlib.sha256(certificate_der).digest()) & (table.c.state == "active")
        with self._database.reading() as connection:
            row = connection.execute(select(table).where(mine)).one_or_none()
            if row is None:
                raise _not_accepted(Phrase("it is not registered for an officer"))
            self._check_standing(connection, certificate_der)
        return _officer(row)

    def _found(self, connection: Connection, officer_id: str) -> Officer:
        row = _row(connection, officer_id)
        if row is None or row.state != "active":
            raise NotFound(
                what=Phrase("officer {id}", id=officer_id[:64]),
                where=self._authority,
                command=f"dojang ca officer list --ca {self._authority}",
            )
        return _officer(row)

    def _check_standing(self, connection: Connection, certificate_der: bytes) -> None:
        at, certificate = self._clock(), read_certificate(certificate_der)
        table = tables.certificate
        own = select(table.c.state).where(table.c.certificate_der == certificate_der)
        state = connection.execute(own).scalar()
        if state is None:
            self._check_path(certificate_der, at)
        elif state not in _GOOD:
            raise _not_accepted(Phrase("it is {state}", state=Phrase(state)))
        elif not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise _not_accepted(Phrase("it is not valid now"))

    def _check_path(self, certificate_der: bytes, at: datetime) -> None:
        policy = self._policy
        anchors = [der for path in policy.officer_anchors for der in certificates_in(_content(path), path)]
        if not anchors:
            raise _not_accepted(Phrase("this authority did not issue it, and no other is trusted for officers"))
        report = check_path(
            certificate_der,
            intermediates_der=(),
            anchors_der=anchors,
            crls_der=[_content(path) for path in policy.officer_crls],
            at=at,
            purpose="signing",
            require_revocation=bool(policy.officer_crls),
        )
        if not report.ok:
            raise _not_accepted(Phrase("{problems}", problems=report.problems))

    def _tell_added(
        self, connection: Connection, officer_id: str, values: dict[str, Any], roles: list[str], *, is_new: bool
    ) -> None:
        told: dict[str, Any] = {"roles": roles, "certificate": values["fingerprint"].hex(), "name": values["name"]}
        event = "officer-added" if is_new else "officer-changed"
        audit.record(connection, event=event, subject=officer_id, at=self._clock(), **told)


def _roles(wanted: Sequence[str]) -> list[str]:
    unknown = [role for role in wanted if role not in ROLES]
    if unknown or not wanted:
        raise Usage(problem=Phrase("an officer is one or more of: {roles}", roles=", ".join(ROLES)))
    return [role for role in ROLES if role in wanted]


def _id_of(subject: x509.Name) -> str:
    """The same for one name, whatever kinds of string and spaces it is written with (RFC 5280 section 7.1)."""
    words = unicodedata.normalize("NFKC", format_name(subject)).casefold().split()
    return hashlib.sha256(" ".join(words).encode()).digest()[:_ID_BYTES].hex()


def _check_alone(connection: Connection, officer_id: str, certificate_der: bytes) -> None:
    """Whoever holds one key is one person, under whatever names. ``NotPermitted`` when another officer has it."""
    table, key = tables.officer, read_certificate(certificate_der).public_key()
    others = select(table.c.certificate_der).where(table.c.state == "active", table.c.id != officer_id)
    if any(same_key(read_certificate(der).public_key(), key) for der in connection.execute(others).scalars()):
        raise _not_accepted(Phrase("another officer has its key"))


def _check_change(before: Row[Any], values: dict[str, Any], authority: str) -> None:
    same = all(getattr(before, name) == values[name] for name in ("fingerprint", "roles", "state"))
    if same:
        raise AlreadyExists(
            what=Phrase("Officer {name}", name=before.name),
            where=authority,
            next_step="Nothing needs to be done; 'dojang ca officer list' shows everybody.",
        )


def _not_accepted(problem: Phrase) -> NotPermitted:
    return NotPermitted(
        problem=Phrase("the officer's certificate is not accepted: {problem}", problem=problem),
        remedy=Phrase("Register a valid one: dojang ca officer add --certificate FILE --role ROLE"),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidSetting(path=path, problem=error.strerror or Phrase("it cannot be read")) from error


def _row(connection: Connection, officer_id: str) -> Row[Any] | None:
    table = tables.officer
    return connection.execute(select(table).where(table.c.id == officer_id)).one_or_none()


def _officer(row: Row[Any]) -> Officer:
    return Officer(
        id=row.id,
        name=row.name,
        certificate_der=row.certificate_der,
        roles=tuple(json.loads(row.roles)),
        state=row.state,
        added_at=row.added_at,
        added_by=row.added_by,
    )
