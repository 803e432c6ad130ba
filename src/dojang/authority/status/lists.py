"""Publishing revocation lists: complete ones, and deltas that say what changed since one (RFC 5280 section 5.2.4).

Each key has lists of its own, of what it signed, and one row of numbers for both kinds. Numbers only grow: a number is
taken, durably, before the list is signed, so a run killed in the middle skips one and never uses one twice. A list
holds all that was recorded before its number was taken. Of two runs at once the later number stays.

A certificate notes the number after which its standing changed, so that a delta is found without reading its base. It
takes back (``removeFromCRL``) whatever came off hold since the base, listed anywhere or not. Entries of certificates
that have expired stay: whoever verifies an old signature still wants to know.

Whenever a key is there to sign a list, it also signs the head of the audit record.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from sqlalchemy import Connection, and_, delete, insert, select, update

from dojang.authority import audit, revocation
from dojang.authority.audit.sealing import seal
from dojang.authority.status.list_signing import REMOVED, Entry, Scope, sign_list
from dojang.authority.status.settings import StatusSettings
from dojang.authority.tables import IS_LISTED, certificate, crl, signer
from dojang.errors import DojangError, RootOffline

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.database import Database

_LEFT: Final = 0.25
"""A list is published anew when no more than this part of its time is left."""
_KEPT: Final = 2
_log = logging.getLogger("dojang.status")


class Listed(NamedTuple):
    """A list that was signed, not what is in it."""

    number: int
    base_number: int | None
    this_update_at: datetime
    next_update_at: datetime

    def is_due(self, at: datetime) -> bool:
        return at >= self.next_update_at - (self.next_update_at - self.this_update_at) * _LEFT


class _Signer(NamedTuple):
    id: str
    certificate_der: bytes
    crl_days: int


_SIGNER: Final = select(signer.c.id, signer.c.certificate_der, signer.c.crl_days)
_LISTED: Final = select(crl.c.number, crl.c.base_number, crl.c.this_update_at, crl.c.next_update_at)
_IS_COMPLETE, _IS_DELTA = crl.c.base_number.is_(None), crl.c.base_number.is_not(None)


class Lists:
    """The lists of one authority. ``key`` gives the private key of a signer, ``file_of`` where its list also lies.

    A delta lies beside that, with ``delta-`` before the name.
    """

    def __init__(
        self,
        database: "Database",
        key: "Callable[[str], PrivateKey]",
        file_of: Callable[[str], Path],
        settings: StatusSettings | None = None,
    ) -> None:
        self._database, self._key, self._file_of = database, key, file_of
        self._settings = settings or StatusSettings()
        self._warned: dict[str, date] = {}

    def publish(self, name: str, at: datetime) -> bytes:
        """The complete list of a signer; where there are deltas, also one to it from the list before.

        Those two say the same (RFC 5280 section 5.2.4): they are read at once.
        """
        own, base = self._signer(name), self._base(name, at) if self._settings.has_deltas else None
        number = self._take_number(name)
        with self._database.reading() as connection:
            entries = _entries(connection, name)
            changes = _changes(connection, name, base.number) if base else []
        until_at, addresses = at + timedelta(days=own.crl_days), self._delta_addresses(name)
        list_der = self._publish(own, entries, Scope(number, at, until_at, delta_addresses=addresses))
        if base:
            self._publish(own, changes, self._delta_scope(number, base, at))
        seal(self._database, self._key, at, signer=name)
        return list_der

    def publish_delta(self, name: str, at: datetime) -> bytes:
        """What changed since the last complete list; that one anew, where it is over."""
        base = self._base(name, at)
        if base is None:
            return self.publish(name, at)
        own, number = self._signer(name), self._take_number(name)
        with self._database.reading() as connection:
            changes = _changes(connection, name, base.number)
        list_der = self._publish(own, changes, self._delta_scope(number, base, at))
        seal(self._database, self._key, at, signer=name)
        return list_der

    def tell(self, name: str, at: datetime) -> bytes:
        """The state of a certificate has changed: publish at once what the settings say."""
        if self._settings.has_deltas and self._settings.on_revocation == "delta":
            return self.publish_delta(name, at)
        return self.publish(name, at)

    def publish_due(self, at: datetime) -> list[str]:
        """Publish every list that is over soon, or does not tell of a change; the signers that have a new one.

        Whoever makes a change tells of it at once; but that run may have been killed, or its key have been away.
        A root that is offline is passed over; another failure is raised when everything else is done.
        """
        done, failure = [], None
        for name in self._in_service(at):
            try:
                if self._publish_if_due(name, at):
                    done.append(name)
            except RootOffline as error:
                self._warn(name, error, at.date())
            except DojangError as error:
                failure = error
        if failure is not None:
            raise failure
        return done

    def _warn(self, name: str, error: DojangError, day: date) -> None:
        """Once a day, since it is tried every minute."""
        if self._warned.get(name) != day:
            self._warned[name] = day
            _log.warning("the list of %s is due and cannot be signed here: %s", name, error.code)

    def _publish_if_due(self, name: str, at: datetime) -> bool:
        complete = self._newest(name, delta=False)
        if complete is None or complete.is_due(at):
            self.publish(name, at)
            return True
        last = self._newest(name, delta=True) if self._settings.has_deltas else None
        if self._is_untold(name, complete, last):
            self.tell(name, at)
            return True
        if not self._settings.has_deltas:
            return False
        if last is not None and not last.is_due(at):
            return False
        if last is None and not self._leads_to_deltas(name):  # it was made before there were any
            self.publish(name, at)
        else:
            self.publish_delta(name, at)
        return True

    def _leads_to_deltas(self, name: str) -> bool:
        """Whether the complete list says where they are, if anybody can say that."""
        query = select(crl.c.der).where(crl.c.signer == name, _IS_COMPLETE).order_by(crl.c.number.desc()).limit(1)
        with self._database.reading() as connection:
            newest = x509.load_der_x509_crl(connection.execute(query).scalar_one())
        said = any(isinstance(one.value, x509.FreshestCRL) for one in newest.extensions)
        return said or not self._delta_addresses(name)

    def _is_untold(self, name: str, complete: Listed, delta: Listed | None) -> bool:
        """Whether something changed that no list tells of which has to; in doubt, as while one was made, yes."""
        told = complete.number
        if delta is not None and self._settings.on_revocation == "delta":
            told = max(told, delta.number)
        later = select(certificate.c.serial).where(certificate.c.signer == name, certificate.c.listed_after >= told)
        with self._database.reading() as connection:
            return connection.execute(later.limit(1)).first() is not None

    def _in_service(self, at: datetime) -> list[str]:
        """The signers that have lists: all that are not retired and have not expired."""
        query = _SIGNER.where(signer.c.role.in_(("root", "issuing")), signer.c.state != "retired").order_by(signer.c.id)
        with self._database.reading() as connection:
            rows = [_Signer(*row) for row in connection.execute(query)]
        return [one.id for one in rows if at < _certificate(one).not_valid_after_utc]

    def _base(self, name: str, at: datetime) -> Listed | None:
        """The last complete list, while it holds."""
        found = self._newest(name, delta=False)
        return found if found is not None and at < found.next_update_at else None

    def _delta_scope(self, number: int, base: Listed, at: datetime) -> Scope:
        return Scope(number, at, at + self._settings.delta_term, base.number)

    def _publish(self, own: _Signer, entries: Sequence[Entry], scope: Scope) -> bytes:
        list_der = self._signed(own, entries, scope)
        self._record(own.id, scope, list_der)
        return list_der

    def _signed(self, own: _Signer, entries: Sequence[Entry], scope: Scope) -> bytes:
        return sign_list(_certificate(own), self._key(own.id), entries, scope)

    def _record(self, name: str, scope: Scope, list_der: bytes) -> None:
        """Put it in the place of the one before, unless that has a later number."""
        delta = scope.base_number is not None
        with self._database.writing() as connection:
            newest = _newest(connection, name, delta=delta)
            if newest is not None and newest.number >= scope.number:
                return
            facts = {"number": scope.number, "base_number": scope.base_number, "der": list_der}
            moments = {"this_update_at": scope.this_update_at, "next_update_at": scope.next_update_at}
            connection.execute(insert(crl), {"signer": name, **facts, **moments})
            _drop_old(connection, name, delta=delta)
            is_older = and_(signer.c.id == name, signer.c.crl_published < scope.number)
            connection.execute(update(signer).where(is_older).values(crl_published=scope.number))
            audit.record(
                connection,
                event="crl-published",
                subject=f"{name} {scope.number}",
                at=scope.this_update_at,
                signer=name,
                number=scope.number,
                base=scope.base_number,
                next_update=audit.moment_text(scope.next_update_at),
            )
            path = self._file_of(name)
            revocation.write_in_place(path.with_name(f"delta-{path.name}") if delta else path, list_der)

    def _take_number(self, name: str) -> int:
        with self._database.writing() as connection:
            taken = {"crl_number": signer.c.crl_number + 1}
            query = update(signer).where(signer.c.id == name).values(taken).returning(signer.c.crl_number)
            return int(connection.execute(query).scalar_one())

    def _newest(self, name: str, *, delta: bool) -> Listed | None:
        with self._database.reading() as connection:
            return _newest(connection, name, delta=delta)

    def _signer(self, name: str) -> _Signer:
        """With its key in reach: no number is spent where nothing can be signed."""
        self._key(name)
        with self._database.reading() as connection:
            return _Signer(*connection.execute(_SIGNER.where(signer.c.id == name)).one())

    def _delta_addresses(self, name: str) -> tuple[str, ...]:
        base = self._settings.base.rstrip("/")
        return (f"{base}/crl/{name}-delta.crl",) if base and self._settings.has_deltas else ()


def _newest(connection: Connection, name: str, *, delta: bool) -> Listed | None:
    query = _LISTED.where(crl.c.signer == name, _IS_DELTA if delta else _IS_COMPLETE)
    row = connection.execute(query.order_by(crl.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else Listed(*row)


def _drop_old(connection: Connection, name: str, *, delta: bool) -> None:
    """Keep the newest and the one before; all that was in older ones is in these."""
    mine = and_(crl.c.signer == name, _IS_DELTA if delta else _IS_COMPLETE)
    kept = select(crl.c.number).where(mine).order_by(crl.c.number.desc()).offset(_KEPT - 1).limit(1)
    oldest = connection.execute(kept).scalar_one_or_none()
    if oldest is not None:
        connection.execute(delete(crl).where(mine, crl.c.number < oldest))


def _entries(connection: Connection, name: str) -> list[Entry]:
    query = select(certificate.c.serial, certificate.c.revoked_at, certificate.c.reason)
    rows = connection.execute(query.where(certificate.c.signer == name, IS_LISTED).order_by(certificate.c.number))
    return [Entry(int(serial, 16), revoked_at, reason) for serial, revoked_at, reason in rows]


def _changes(connection: Connection, name: str, base_number: int) -> list[Entry]:
    query = select(certificate.c.serial, certificate.c.revoked_at, certificate.c.reason, certificate.c.changed_at)
    after = certificate.c.listed_after >= base_number  # the base was read after its number had been taken
    rows = connection.execute(query.where(certificate.c.signer == name, after).order_by(certificate.c.number))
    return [
        Entry(int(serial, 16), revoked_at or changed_at, reason or REMOVED)
        for serial, revoked_at, reason, changed_at in rows
    ]


def _certificate(own: _Signer) -> x509.Certificate:
    return x509.load_der_x509_certificate(own.certificate_der)
