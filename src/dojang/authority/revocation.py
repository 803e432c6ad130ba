"""Revoking, suspending and restoring in the store. The lists that tell everybody are ``status.lists``."""

import os
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from sqlalchemy import Connection, Select, or_, select, text

from dojang.authority import audit
from dojang.authority.base import Entry
from dojang.authority.life import KEY_COMPROMISE, OVER, Move, hold_ends_at, moved
from dojang.authority.store import Record, Store, find_record, write_life
from dojang.authority.tables import certificate, submission
from dojang.errors import FileUnwritable, NotFound, Phrase, Usage

REASONS = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
_EVENTS = {"revoke": "certificate-revoked", "suspend": "certificate-suspended", "restore": "certificate-restored"}
CMP = "cmp:"
"""How the names of transactions begin that came over CMP."""
_AT_ONCE = 500  # in one transaction, so that others come in between
_LONGEST_SERIAL = 128  # as text: 20 octets, colons and some room; more is cut and will not be found


def serial_of(text: str) -> str:
    """A serial as the store spells it, from hex in any case, with colons or leading zeros. Raises ``NotFound``."""
    digits = re.sub(r"[:\s]|^0x", "", text[:_LONGEST_SERIAL].strip().lower()).lstrip("0")
    if not re.fullmatch(r"[0-9a-f]{1,40}", digits):
        what = Phrase("certificate {serial}", serial=text[:64])
        raise NotFound(what=what, where=Phrase("the authority"), command="dojang ca list")
    return digits


def reason_of(text: str) -> str:
    """A reason as RFC 5280 spells it, from ``keyCompromise``, ``key-compromise`` or ``key_compromise``."""
    plain = re.sub("[-_ ]", "", text).lower()
    found = next((reason for reason in REASONS if reason.lower() == plain), None)
    if found is None:
        problem = Phrase(
            "'{reason}' is not a reason; choose one of {reasons}", reason=text[:64], reasons=", ".join(REASONS)
        )
        raise Usage(problem=problem)
    return found


def change(
    store: Store,
    serial: str,
    move: Move,
    at: datetime,
    *,
    reason: str | None = None,
    zone: tzinfo = UTC,
    entry: Entry | None = None,
) -> Record:
    """Move a certificate as ``life`` allows; returns the record as it is then. Raises what ``life`` raises."""
    with store.database.writing() as connection:
        if entry is not None:
            entry(connection)
        return make_move(connection, store.find(serial), move, at, authority=store.name, reason=reason, zone=zone)


def make_move(
    connection: Connection,
    record: Record,
    move: Move,
    at: datetime,
    *,
    authority: str,
    reason: str | None = None,
    zone: tzinfo = UTC,
) -> Record:
    """The same inside ``writing()``, put on record.

    A compromised key takes with it what it asked for itself and nobody has confirmed: that may be a thief's. The list
    that tells of it is the next one where another key signed it; the OCSP answer is a new one at once.
    """
    changed = moved(record, move, at, authority=authority, reason=reason, zone=zone)
    if changed is not record:
        write_life(connection, changed, listed=move in _EVENTS)
        if move in _EVENTS:
            told = {"reason": changed.reason} if changed.reason else {}
            audit.record(connection, event=_EVENTS[move], subject=record.serial, at=at, **told)
        if move == "revoke" and changed.reason == KEY_COMPROMISE:
            for successor in _asked_for_with(connection, record.serial):
                make_move(connection, successor, "revoke", at, authority=authority, reason=KEY_COMPROMISE, zone=zone)
    return changed


def _asked_for_with(connection: Connection, serial: str) -> list[Record]:
    """What was asked for with a certificate's key in its place, and nobody has confirmed, on hold or not.

    That are renewals, and over CMP reissues too: with a code, nothing is asked for in the place of anything.
    """
    own = certificate.c.serial == submission.c.serial
    with_key = or_(submission.c.kind == "renew", submission.c.transaction_id.startswith(CMP, autoescape=True))
    asked = (certificate.c.replaces == serial) & with_key
    unconfirmed = or_(certificate.c.state == "issued", certificate.c.state_before == "issued")
    query = select(certificate.c.serial).join(submission, own).where(asked, unconfirmed)
    return [one for found in connection.execute(query).scalars().all() if (one := find_record(connection, found))]


def revoke_unconfirmed(store: Store, recorded_until_at: datetime, at: datetime) -> list[Record]:
    """Revoke what was recorded until then and never confirmed; the list is not published. Again, it finds nothing."""
    waiting = select(certificate.c.serial).where(
        text("state = 'issued'"), certificate.c.recorded_at <= recorded_until_at
    )
    return _revoke_all(store, waiting, at, lambda record: record.state == "issued")


def revoke_overdue_holds(store: Store, at: datetime, zone_of: Callable[[Record], tzinfo]) -> list[Record]:
    """Revoke what was on hold for six months, or expired so; the list is not published. Again, it finds nothing."""
    held = select(certificate.c.serial).where(text("state = 'suspended'"))
    return _revoke_all(store, held, at, lambda one: one.state == "suspended" and at >= hold_ends_at(one, zone_of(one)))


def _revoke_all(store: Store, serials: Select[str], at: datetime, is_over: Callable[[Record], bool]) -> list[Record]:
    with store.database.reading() as connection:
        found = list(connection.execute(serials).scalars())
    revoked = []
    for begin in range(0, len(found), _AT_ONCE):
        with store.database.writing() as connection:
            for serial in found[begin : begin + _AT_ONCE]:
                record = find_record(connection, serial)
                if record is not None and is_over(record):
                    revoked.append(make_move(connection, record, "revoke", at, authority=store.name, reason=OVER))
    return revoked


def write_in_place(path: Path, content: bytes) -> None:
    """The old file or the new one, whole, whenever the power goes. Raises ``FileUnwritable``."""
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise FileUnwritable(path=path, problem=error.strerror or Phrase("it cannot be written")) from error
