"""What a certificate centre keeps besides: generations of keys, enrolment, conversations, lists, the audit, jobs.

The tables of the first release are put aside, made anew and filled; the fingerprints of keys are computed once.
"""

from collections.abc import Iterator
from hashlib import sha256

import sqlalchemy as sa
from alembic import op
from cryptography import x509

from dojang.authority.audit.guards import triggers
from dojang.authority.migrations.centre_tables import make_tables
from dojang.x509.keys import spki_of

revision = "0002"
down_revision = "0001"

_OLD = ("signer", "certificate", "submission")
_CHUNK = 1000
_FILL = (
    "INSERT INTO signer (id, role, certificate_der, key_address, crl_days, crl_number, crl_published)"
    " SELECT role, role, certificate_der, key_address, crl_days, crl_number, crl_published FROM old_signer",
    "INSERT INTO certificate (serial, signer, certificate_der, profile, subject, key_fingerprint, not_before_at,"
    " not_after_at, recorded_at, changed_at, state, state_before, reason, revoked_at, replaces)"
    " SELECT serial, signer, certificate_der, profile, subject, certificate_der, not_before_at,"
    " not_after_at, recorded_at, coalesce(revoked_at, recorded_at), state, state_before, reason, revoked_at, replaces"
    " FROM old_certificate{in_order}",
    "INSERT INTO submission (transaction_id, kind, fingerprint, serial, cancelled)"
    " SELECT transaction_id, kind, fingerprint, serial, cancelled FROM old_submission",
    "UPDATE certificate SET replaced_at = (SELECT max(s.recorded_at) FROM old_certificate AS s"
    " WHERE s.replaces = certificate.serial AND (s.state = 'confirmed' OR s.state_before = 'confirmed'))"
    " WHERE serial IN (SELECT replaces FROM old_certificate WHERE state = 'confirmed' OR state_before = 'confirmed')",
)


def upgrade() -> None:
    connection = op.get_bind()
    in_order = " ORDER BY rowid" if connection.dialect.name == "sqlite" else ""
    for name in ("certificate_by_state", "certificate_by_predecessor"):
        op.drop_index(name)
    for name in _OLD:
        op.rename_table(name, f"old_{name}")
    make_tables()
    for table in ("audit", "audit_head"):
        for statement in triggers(table, connection.dialect.name):
            op.execute(statement)
    for statement in _FILL:
        connection.execute(sa.text(statement.format(in_order=in_order)))
    for rows in _fingerprints(connection):
        connection.execute(sa.text("UPDATE certificate SET key_fingerprint = :print WHERE number = :number"), rows)
    for name in reversed(_OLD):
        op.drop_table(f"old_{name}")


def _fingerprints(connection: sa.Connection) -> Iterator[list[dict[str, object]]]:
    chunk = sa.text("SELECT number, certificate_der FROM certificate WHERE number > :last ORDER BY number LIMIT :limit")
    last = 0
    while found := connection.execute(chunk, {"last": last, "limit": _CHUNK}).all():
        yield [{"number": number, "print": _fingerprint(certificate_der)} for number, certificate_der in found]
        last = found[-1].number


def _fingerprint(certificate_der: bytes) -> bytes:
    return sha256(spki_of(x509.load_der_x509_certificate(certificate_der).public_key())).digest()
