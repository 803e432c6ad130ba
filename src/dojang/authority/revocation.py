"""Revoking, suspending and restoring in the store, and the revocation list that tells everybody.

Numbers of lists only grow: a number is taken, durably, before the list is signed, so a run killed in the middle skips
one and never uses one twice. Of two runs at once the later number stays on disk; each list holds all that was recorded
when its number was taken.
"""

import os
import re
import sqlite3
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from dojang.authority.certificate import RevokedEntry, sign_crl
from dojang.authority.store import Record, Signer, Store
from dojang.errors import AuthorityRefused, FileUnwritable, NotFound, Phrase, Usage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

REASONS = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
HOLD = "certificateHold"
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


def mark_revoked(store: Store, serial: str, reason: str, at: datetime) -> Record:
    """For good. Returns the record as it is then."""
    with store.writing() as database:
        set_revoked(database, serial, reason, at)
    return store.find(serial)


def set_revoked(database: sqlite3.Connection, serial: str, reason: str, at: datetime) -> None:
    """Inside ``writing()``. What was on hold counts from that moment, and the first reason stays.

    But that a key was compromised may come out later, and then everybody must know (RFC 5280 section 5.3.1).
    """
    database.execute(
        "UPDATE certificate"
        " SET state = 'revoked', reason = ?, revoked_at = coalesce(revoked_at, ?), state_before = NULL"
        " WHERE serial = ? AND (state != 'revoked' OR ? = 'keyCompromise')",
        (reason, at.isoformat(), serial, reason),
    )


def mark_suspended(store: Store, serial: str, at: datetime, authority: str) -> Record:
    """On hold until ``mark_restored``; on hold already is nothing to do."""
    with store.writing() as database:
        record = store.find(serial)
        if record.state == "revoked":
            raise AuthorityRefused(authority=authority, problem=Phrase("the certificate is revoked, which is final"))
        if record.state != "suspended":
            database.execute(
                "UPDATE certificate SET state = 'suspended', state_before = state, reason = ?, revoked_at = ?"
                " WHERE serial = ?",
                (HOLD, at.isoformat(), serial),
            )
    return store.find(serial)


def mark_restored(store: Store, serial: str, at: datetime, authority: str) -> Record:
    """Back from hold, while the certificate has not expired; not on hold at all is nothing to do."""
    with store.writing() as database:
        record = store.find(serial)
        if record.state == "revoked":
            raise AuthorityRefused(authority=authority, problem=Phrase("the certificate is revoked, which is final"))
        if at > record.not_after_at:
            raise AuthorityRefused(authority=authority, problem=Phrase("the certificate has expired"))
        if record.state == "suspended":
            database.execute(
                "UPDATE certificate SET state = state_before, state_before = NULL, reason = NULL, revoked_at = NULL"
                " WHERE serial = ?",
                (serial,),
            )
    return store.find(serial)


def publish(store: Store, signer: Signer, key: "PrivateKey", path: Path, at: datetime) -> bytes:
    """Sign the complete list of ``signer`` with the next number and put it in place of the old file at once."""
    number = _take_number(store, signer.role)
    issuer = x509.load_der_x509_certificate(signer.certificate_der)
    with store.writing() as database:
        entries = _entries(store, signer.role)
        next_update_at = at + timedelta(days=signer.crl_days)
        crl_der = sign_crl(issuer, key, entries, number=number, this_update_at=at, next_update_at=next_update_at)
        newest = database.execute("SELECT crl_published FROM signer WHERE role = ?", (signer.role,)).fetchone()[0]
        if number > newest:
            write_in_place(path, crl_der)
            database.execute("UPDATE signer SET crl_published = ? WHERE role = ?", (number, signer.role))
    return crl_der


def _take_number(store: Store, role: str) -> int:
    with store.writing() as database:
        row = database.execute(
            "UPDATE signer SET crl_number = crl_number + 1 WHERE role = ? RETURNING crl_number", (role,)
        ).fetchone()
    return int(row[0])


def _entries(store: Store, role: str) -> list[RevokedEntry]:
    """Expired ones stay listed: whoever verifies an old signature still wants to know."""
    return [
        RevokedEntry(int(record.serial, 16), record.revoked_at, record.reason)
        for record in store.records("signer = ? AND state IN ('suspended', 'revoked')", role)
        if record.revoked_at is not None and record.reason is not None
    ]


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
