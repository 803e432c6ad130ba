"""The tables of a certificate centre, as the second step makes them; ``authority.tables`` says what they are for."""

import sqlalchemy as sa
from alembic import op

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def make_tables() -> None:
    for make in _IN_ORDER:
        make()


def _partial_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _admin_request() -> None:
    op.create_table(
        "admin_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("officer", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_admin_request"),
        sqlite_strict=True,
    )
    op.create_index("ix_admin_request_accepted_at", "admin_request", ["accepted_at"], unique=False)


def _applicant() -> None:
    op.create_table(
        "applicant",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number_tag", sa.LargeBinary(), nullable=True),
        sa.Column("details", sa.Text(), server_default="{}", nullable=False),
        sa.Column("state", sa.Text(), server_default="registered", nullable=False),
        sa.Column("registered_at", sa.Text(), nullable=False),
        sa.Column("registered_by", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('person', 'business')", name="ck_applicant_kind"),
        sa.PrimaryKeyConstraint("id", name="pk_applicant"),
        sa.UniqueConstraint("number_tag", name="uq_applicant_number_tag"),
        sqlite_strict=True,
    )


def _approval() -> None:
    op.create_table(
        "approval",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("officer", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.Text(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_approval"),
        sqlite_strict=True,
    )
    op.create_index("ix_approval_subject", "approval", ["subject"], unique=False)
    op.create_index("ux_approval_voice", "approval", ["subject", "officer", "decision"], unique=True)


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", _BIG, autoincrement=False, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
        sqlite_strict=True,
    )


def _authority() -> None:
    op.create_table(
        "authority",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("founded_at", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('founding', 'founded')", name="ck_authority_state"),
        sa.PrimaryKeyConstraint("name", name="pk_authority"),
        sqlite_strict=True,
    )


def _cmp_transaction() -> None:
    op.create_table(
        "cmp_transaction",
        sa.Column("transaction_id", sa.LargeBinary(), nullable=False),
        sa.Column("sender_key", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("response_der", sa.LargeBinary(), nullable=True),
        sa.Column("sender_nonce", sa.LargeBinary(), nullable=True),
        sa.Column("recipient_nonce", sa.LargeBinary(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("serial", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), server_default="{}", nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "sender_key", name="pk_cmp_transaction"),
        sqlite_strict=True,
    )
    op.create_index("ix_cmp_transaction_expires_at", "cmp_transaction", ["expires_at"], unique=False)


def _job() -> None:
    op.create_table(
        "job",
        sa.Column("id", _BIG, sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), server_default="{}", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'running')", name="ck_job_state"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sqlite_strict=True,
    )
    op.create_index("ix_job_due", "job", ["state", "run_at"], unique=False)
    _partial_index("ux_job_waiting", "job", ["kind", "key"], "state = 'waiting'", unique=True)


def _job_outcome() -> None:
    op.create_table(
        "job_outcome",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=False),
        sa.Column("done_at", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("turn", _BIG, nullable=True),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_job_outcome"),
        sqlite_strict=True,
    )


def _officer() -> None:
    op.create_table(
        "officer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("certificate_der", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("added_at", sa.Text(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_officer"),
        sa.UniqueConstraint("fingerprint", name="uq_officer_fingerprint"),
        sqlite_strict=True,
    )


def _signer() -> None:
    op.create_table(
        "signer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), server_default="1", nullable=False),
        sa.Column("certificate_der", sa.LargeBinary(), nullable=True),
        sa.Column("key_address", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="current", nullable=False),
        sa.Column("crl_days", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crl_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crl_published", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "role IN ('root', 'issuing', 'ocsp', 'tsa', 'cmp', 'codes', 'audit')", name="ck_signer_role"
        ),
        sa.CheckConstraint("state IN ('next', 'current', 'retiring', 'retired')", name="ck_signer_state"),
        sa.PrimaryKeyConstraint("id", name="pk_signer"),
        sqlite_strict=True,
    )
    _partial_index("ux_signer_current", "signer", ["role"], "state = 'current'", unique=True)
    op.create_index("ux_signer_generation", "signer", ["role", "generation"], unique=True)


def _source_tries() -> None:
    op.create_table(
        "source_tries",
        sa.Column("number", _BIG, sa.Identity(always=False), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_source_tries"),
        sqlite_strict=True,
    )
    op.create_index("ix_source_tries_at", "source_tries", ["at"], unique=False)
    op.create_index("ix_source_tries_window", "source_tries", ["source", "at"], unique=False)


def _audit_head() -> None:
    op.create_table(
        "audit_head",
        sa.Column("seq", _BIG, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", sa.Text(), nullable=False),
        sa.Column("signer", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["signer"], ["signer.id"], name="fk_audit_head_signer"),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_head"),
        sqlite_strict=True,
    )


def _crl() -> None:
    op.create_table(
        "crl",
        sa.Column("id", _BIG, sa.Identity(always=False), nullable=False),
        sa.Column("signer", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("base_number", sa.Integer(), nullable=True),
        sa.Column("this_update_at", sa.Text(), nullable=False),
        sa.Column("next_update_at", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["signer"], ["signer.id"], name="fk_crl_signer"),
        sa.PrimaryKeyConstraint("id", name="pk_crl"),
        sqlite_strict=True,
    )
    _partial_index("ux_crl_complete", "crl", ["signer", "number"], "base_number IS NULL", unique=True)
    _partial_index("ux_crl_delta", "crl", ["signer", "number"], "base_number IS NOT NULL", unique=True)


def _enrolment() -> None:
    op.create_table(
        "enrolment",
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("applicant", sa.Text(), nullable=True),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("names", sa.Text(), server_default="[]", nullable=False),
        sa.Column("years", sa.Integer(), nullable=True),
        sa.Column("pre_authorised", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=False),
        sa.Column("uses_left", sa.Integer(), server_default="1", nullable=False),
        sa.Column("wrong_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_at", sa.Text(), nullable=True),
        sa.Column("used_at", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["applicant"], ["applicant.id"], name="fk_enrolment_applicant"),
        sa.PrimaryKeyConstraint("reference", name="pk_enrolment"),
        sqlite_strict=True,
    )
    op.create_index("ix_enrolment_applicant", "enrolment", ["applicant"], unique=False)
    op.create_index("ix_enrolment_created", "enrolment", ["created_at", "reference"], unique=False)
    op.create_index("ix_enrolment_expires_at", "enrolment", ["expires_at"], unique=False)
    op.create_index("ix_enrolment_state", "enrolment", ["state"], unique=False)


def _identity_check() -> None:
    op.create_table(
        "identity_check",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("applicant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("evidence_hash", sa.LargeBinary(), nullable=True),
        sa.Column("checked_at", sa.Text(), nullable=False),
        sa.Column("checked_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["applicant"], ["applicant.id"], name="fk_identity_check_applicant"),
        sa.PrimaryKeyConstraint("id", name="pk_identity_check"),
        sqlite_strict=True,
    )
    op.create_index("ix_identity_check_applicant", "identity_check", ["applicant"], unique=False)


def _certificate() -> None:
    op.create_table(
        "certificate",
        sa.Column("number", _BIG, sa.Identity(always=False), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("signer", sa.Text(), nullable=False),
        sa.Column("certificate_der", sa.LargeBinary(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("key_fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("not_before_at", sa.Text(), nullable=False),
        sa.Column("not_after_at", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_before", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.Column("listed_after", sa.Integer(), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("replaced_at", sa.Text(), nullable=True),
        sa.Column("enrolment", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('suspended', 'revoked')) = (reason IS NOT NULL AND revoked_at IS NOT NULL)",
            name="ck_certificate_reason",
        ),
        sa.CheckConstraint("state IN ('issued', 'confirmed', 'suspended', 'revoked')", name="ck_certificate_state"),
        sa.ForeignKeyConstraint(["enrolment"], ["enrolment.reference"], name="fk_certificate_enrolment"),
        sa.ForeignKeyConstraint(["replaces"], ["certificate.serial"], name="fk_certificate_replaces"),
        sa.ForeignKeyConstraint(["signer"], ["signer.id"], name="fk_certificate_signer"),
        sa.PrimaryKeyConstraint("number", name="pk_certificate"),
        sa.UniqueConstraint("serial", name="uq_certificate_serial"),
        sqlite_strict=True,
    )
    _certificate_indexes()


def _certificate_indexes() -> None:
    _partial_index("ix_certificate_enrolment", "certificate", ["enrolment"], "enrolment IS NOT NULL")
    _partial_index("ix_certificate_held", "certificate", ["revoked_at"], "state = 'suspended'")
    op.create_index("ix_certificate_key", "certificate", ["key_fingerprint"], unique=False)
    _partial_index("ix_certificate_listed", "certificate", ["signer", "number"], "state IN ('suspended', 'revoked')")
    _partial_index("ix_certificate_listed_after", "certificate", ["signer", "listed_after"], "listed_after IS NOT NULL")
    _partial_index(
        "ix_certificate_renewable",
        "certificate",
        ["profile", "not_after_at", "serial"],
        "state = 'confirmed' AND replaced_at IS NULL",
    )
    _partial_index("ix_certificate_replaces", "certificate", ["replaces"], "replaces IS NOT NULL")
    _partial_index("ix_certificate_revoked", "certificate", ["number"], "state = 'revoked'")
    _partial_index("ix_certificate_unconfirmed", "certificate", ["recorded_at"], "state = 'issued'")


def _ocsp_answer() -> None:
    op.create_table(
        "ocsp_answer",
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("says", sa.Text(), nullable=False),
        sa.Column("this_update_at", sa.Text(), nullable=False),
        sa.Column("next_update_at", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["serial"], ["certificate.serial"], name="fk_ocsp_answer_serial"),
        sa.PrimaryKeyConstraint("serial", "algorithm", name="pk_ocsp_answer"),
        sqlite_strict=True,
    )
    op.create_index("ix_ocsp_answer_next_update_at", "ocsp_answer", ["next_update_at"], unique=False)


def _renewal_notice() -> None:
    op.create_table(
        "renewal_notice",
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("given_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["serial"], ["certificate.serial"], name="fk_renewal_notice_serial"),
        sa.PrimaryKeyConstraint("serial", "threshold", name="pk_renewal_notice"),
        sqlite_strict=True,
    )


def _submission() -> None:
    op.create_table(
        "submission",
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["serial"], ["certificate.serial"], name="fk_submission_serial"),
        sa.PrimaryKeyConstraint("transaction_id", name="pk_submission"),
        sa.UniqueConstraint("serial", name="uq_submission_serial"),
        sqlite_strict=True,
    )


_IN_ORDER = (
    _admin_request,
    _applicant,
    _approval,
    _audit,
    _authority,
    _cmp_transaction,
    _job,
    _job_outcome,
    _officer,
    _signer,
    _source_tries,
    _audit_head,
    _crl,
    _enrolment,
    _identity_check,
    _certificate,
    _ocsp_answer,
    _renewal_notice,
    _submission,
)
