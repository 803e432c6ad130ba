"""What the embedded store of the first release held; it was SQLite and nothing else."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "signer",
        sa.Column("role", sa.Text, sa.CheckConstraint("role IN ('root', 'issuing')"), primary_key=True),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False),
        sa.Column("key_address", sa.Text, nullable=False),
        sa.Column("crl_days", sa.Integer, nullable=False),
        sa.Column("crl_number", sa.Integer, nullable=False, server_default="0"),
        sa.Column("crl_published", sa.Integer, nullable=False, server_default="0"),
        sqlite_strict=True,
    )
    op.create_table(
        "certificate",
        sa.Column("serial", sa.Text, primary_key=True),
        sa.Column("signer", sa.Text, sa.ForeignKey("signer.role"), nullable=False),
        sa.Column("certificate_der", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("not_before_at", "not_after_at", "recorded_at")),
        sa.Column(
            "state",
            sa.Text,
            sa.CheckConstraint("state IN ('issued', 'confirmed', 'suspended', 'revoked')"),
            nullable=False,
        ),
        *(sa.Column(name, sa.Text) for name in ("state_before", "reason", "revoked_at")),
        sa.Column("replaces", sa.Text, sa.ForeignKey("certificate.serial")),
        sa.CheckConstraint("(state IN ('suspended', 'revoked')) = (reason IS NOT NULL AND revoked_at IS NOT NULL)"),
        sqlite_strict=True,
    )
    op.create_index("certificate_by_state", "certificate", ["signer", "state"])
    op.create_index("certificate_by_predecessor", "certificate", ["replaces"])
    op.create_table(
        "submission",
        sa.Column("transaction_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("serial", sa.Text, sa.ForeignKey("certificate.serial"), nullable=False, unique=True),
        sa.Column("cancelled", sa.Integer, nullable=False, server_default="0"),
        sqlite_strict=True,
    )
