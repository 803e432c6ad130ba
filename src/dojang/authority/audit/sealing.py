"""Signing a head over what is on record now, and keeping it."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from dojang.authority.audit.heads import Head, sign_text, text_of
from dojang.authority.audit.reading import last_row, newest_head
from dojang.authority.audit.record import moment_text, root_certificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

    from dojang.authority.database import Database

_PREFERRED: Final = ("audit", "issuing", "root")


def seal(database: "Database", key: "Callable[[str], PrivateKey]", at: datetime, *, signer: str | None = None) -> Head:
    """The head over the last row, signed now unless one is there already; there must be a row.

    ``key`` gives the private key of a signer by its id: of ``signer``, or of the one for heads, which is the current
    one of the role ``audit`` if there is one, else the one that issues. It is used outside any transaction; rows that
    come meanwhile are covered by the next head.
    """
    entries, last_hash = last_row(database)
    newest = newest_head(database)
    if newest is not None and newest.entries == entries:
        return newest
    signer = signer or sealing_signer(database)
    with database.reading() as connection:
        root_der = root_certificate(connection)
    moment = moment_text(at)
    signature = sign_text(key(signer), text_of(root_der, entries, last_hash, moment))
    _keep(database, entries, last_hash, moment, signer, signature)
    kept = newest_head(database)
    assert kept is not None, "it was just written"
    return kept


def sealing_signer(database: "Database") -> str:
    """The id of the signer whose key signs heads."""
    from sqlalchemy import select

    from dojang.authority.tables import IS_CURRENT, signer

    with database.reading() as connection:
        current = {row.role: str(row.id) for row in connection.execute(select(signer).where(IS_CURRENT))}
    return next(current[role] for role in _PREFERRED if role in current)


def _keep(database: "Database", entries: int, last_hash: str, moment: str, signer: str, signature: bytes) -> None:
    """Unless another process was faster with a head over the same row, or a later one."""
    from sqlalchemy import select

    from dojang.authority.tables import audit_head

    with database.writing() as connection:
        if connection.execute(select(audit_head.c.seq).where(audit_head.c.seq >= entries)).first() is None:
            row = {"seq": entries, "hash": bytes.fromhex(last_hash), "signed_at": moment}
            connection.execute(audit_head.insert(), {**row, "signer": signer, "signature": signature})
