"""What an authority needs to check one-time passwords and other factors; the tables are all new."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STATES = "state IN ('active', 'locked', 'suspended', 'removed')"


def upgrade() -> None:
    messages = (_message_code, _message_sent, _message_outcome)
    for make in (_otp_kek, _otp_device, _security_card, *messages, _factor_evidence):
        make()
    _partial_index("ix_cmp_transaction_waiting", "cmp_transaction", ["sender_key", "expires_at"], "state = 'waiting'")


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _otp_kek() -> None:
    op.create_table(
        "otp_kek",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key_address", sa.Text(), nullable=False),
        sa.Column("check_value", sa.Text(), nullable=False),
        sa.Column("stray_tries", _BIG, server_default="0", nullable=False),
        sa.Column("state", sa.Text(), server_default="current", nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('current', 'retiring', 'retired')", name="ck_otp_kek_state"),
        sa.PrimaryKeyConstraint("id", name="pk_otp_kek"),
        sqlite_strict=True,
    )
    _partial_index("ux_otp_kek_current", "otp_kek", ["state"], "state = 'current'", unique=True)


def _otp_device() -> None:
    op.create_table(
        "otp_device",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("applicant", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("digits", sa.Integer(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=True),
        sa.Column("suite", sa.Text(), nullable=True),
        sa.Column("wrapped_seed", sa.LargeBinary(), nullable=True),
        sa.Column("kek", sa.Text(), nullable=True),
        sa.Column("exportable", sa.Integer(), server_default="0", nullable=False),
        sa.Column("counter", _BIG, server_default="0", nullable=False),
        sa.Column("drift", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wrong_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("challenge", sa.Text(), nullable=True),
        sa.Column("challenged_at", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.Column("last_used_at", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('totp', 'hotp', 'ocra')", name="ck_otp_device_kind"),
        sa.CheckConstraint("hash IN ('sha1', 'sha256', 'sha512')", name="ck_otp_device_hash"),
        sa.CheckConstraint(_STATES, name="ck_otp_device_state"),
        sa.CheckConstraint("(state = 'removed') = (wrapped_seed IS NULL AND kek IS NULL)", name="ck_otp_device_seed"),
        sa.ForeignKeyConstraint(["kek"], ["otp_kek.id"], name="fk_otp_device_kek"),
        sa.PrimaryKeyConstraint("id", name="pk_otp_device"),
        sqlite_strict=True,
    )
    op.create_index("ix_otp_device_applicant", "otp_device", ["applicant"], unique=False)
    _partial_index("ix_otp_device_kek", "otp_device", ["kek", "id"], "kek IS NOT NULL")


def _security_card() -> None:
    op.create_table(
        "security_card",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("applicant", sa.Text(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("kek", sa.Text(), nullable=True),
        sa.Column("first", sa.Integer(), nullable=True),
        sa.Column("second", sa.Integer(), nullable=True),
        sa.Column("challenged_at", sa.Text(), nullable=True),
        sa.Column("answered", _BIG, server_default="0", nullable=False),
        sa.Column("wrong_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), server_default="unprinted", nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('unprinted', 'active', 'locked', 'removed')", name="ck_security_card_state"),
        sa.CheckConstraint("(state = 'removed') = (sealed IS NULL AND kek IS NULL)", name="ck_security_card_sealed"),
        sa.CheckConstraint("(first IS NULL) = (second IS NULL)", name="ck_security_card_challenge"),
        sa.ForeignKeyConstraint(["kek"], ["otp_kek.id"], name="fk_security_card_kek"),
        sa.PrimaryKeyConstraint("id", name="pk_security_card"),
        sqlite_strict=True,
    )
    op.create_index("ix_security_card_applicant", "security_card", ["applicant"], unique=False)
    _partial_index("ix_security_card_kek", "security_card", ["kek", "id"], "kek IS NOT NULL")


def _message_code() -> None:
    op.create_table(
        "message_code",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("applicant", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("target_tag", sa.LargeBinary(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("tries_left", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="live", nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.CheckConstraint("channel IN ('sms', 'ars', 'mail')", name="ck_message_code_channel"),
        sa.CheckConstraint(
            "state IN ('live', 'pressed', 'used', 'spent', 'replaced', 'unsent')", name="ck_message_code_state"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_message_code"),
        sqlite_strict=True,
    )
    op.create_index("ix_message_code_expires_at", "message_code", ["expires_at"], unique=False)
    is_open = "state IN ('live', 'pressed')"
    _partial_index("ux_message_code_open", "message_code", ["applicant", "purpose"], is_open, unique=True)
    op.create_index("ix_message_code_applicant", "message_code", ["applicant", "purpose", "created_at"], unique=False)


def _message_sent() -> None:
    op.create_table(
        "message_sent",
        sa.Column("number", _BIG, sa.Identity(always=False), nullable=False),
        sa.Column("target_tag", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_message_sent"),
        sqlite_strict=True,
    )
    op.create_index("ix_message_sent_at", "message_sent", ["at"], unique=False)
    op.create_index("ix_message_sent_target", "message_sent", ["target_tag", "at"], unique=False)
    op.create_index("ix_message_sent_source", "message_sent", ["source", "at"], unique=False)


def _message_outcome() -> None:
    op.create_table(
        "message_outcome",
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name="pk_message_outcome"),
        sqlite_strict=True,
    )
    op.create_index("ix_message_outcome_at", "message_outcome", ["at"], unique=False)


def _factor_evidence() -> None:
    op.create_table(
        "factor_evidence",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("applicant", sa.Text(), nullable=False),
        sa.Column("factor", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("passed_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("evidence_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_serial", sa.Text(), nullable=True),
        sa.CheckConstraint("factor IN ('otp', 'card', 'sms', 'mail', 'ars')", name="ck_factor_evidence_factor"),
        sa.ForeignKeyConstraint(["applicant"], ["applicant.id"], name="fk_factor_evidence_applicant"),
        sa.ForeignKeyConstraint(["used_serial"], ["certificate.serial"], name="fk_factor_evidence_used_serial"),
        sa.PrimaryKeyConstraint("id", name="pk_factor_evidence"),
        sqlite_strict=True,
    )
    op.create_index("ix_factor_evidence_expires_at", "factor_evidence", ["expires_at"], unique=False)
    op.create_index("ix_factor_evidence_request", "factor_evidence", ["reference", "request_hash"], unique=False)
    _partial_index("ix_factor_evidence_used", "factor_evidence", ["used_serial"], "used_serial IS NOT NULL")
