"""What an authority's database holds: every table of its own, once, for SQLite and PostgreSQL alike.

The tables of one-time passwords, which stand in the same database, are in ``otp.tables``. The migrations make the same
schema step by step; a test holds the three together.

Partial indexes are used only where a query spells the condition as it stands here, literally: use the conditions below.
"""

from functools import partial
from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, Identity, Index, Integer, LargeBinary, Text, text

from dojang.authority.audit.guards import only_grows
from dojang.columns import BIG, Flag, Moment, new_metadata, one_of, partial_index, strict_table

ROLES: Final = ("root", "issuing", "ocsp", "tsa", "cmp", "codes", "audit")
# ``next`` is published and signs nothing yet; ``retiring`` signs no certificates, only what is said of those it signed.
SIGNER_STATES: Final = ("next", "current", "retiring", "retired")
CERTIFICATE_STATES: Final = ("issued", "confirmed", "suspended", "revoked")
FACTORS: Final = ("otp", "card", "sms", "mail", "ars")

# Conditions of partial indexes, for the indexes and for the queries that are to use them.
IS_CURRENT: Final = text("state = 'current'")
IS_UNCONFIRMED: Final = text("certificate.state = 'issued'")
IS_ON_HOLD: Final = text("certificate.state = 'suspended'")
IS_LISTED: Final = text("certificate.state IN ('suspended', 'revoked')")
IS_RENEWABLE: Final = text("certificate.state = 'confirmed' AND certificate.replaced_at IS NULL")
IS_WAITING: Final = text("state = 'waiting'")

metadata: Final = new_metadata()
_table: Final = partial(strict_table, metadata)

# The authority itself: one row. It is ``founding`` until its folder has taken its name, so that a killed run is seen.
authority = _table(
    "authority",
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("founded_at", Moment, nullable=False),
    one_of("state", ("founding", "founded")),
)

# A key that signs, or computes, for the authority. ``id`` is its role, later generations are ``issuing-2`` and so on.
# ``crl_number`` is the last number taken, ``crl_published`` the last that was published.
signer = _table(
    "signer",
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("generation", Integer, nullable=False, server_default="1"),
    Column("certificate_der", LargeBinary),
    Column("key_address", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="current"),
    Column("crl_days", Integer, nullable=False, server_default="0"),
    Column("crl_number", Integer, nullable=False, server_default="0"),
    Column("crl_published", Integer, nullable=False, server_default="0"),
    one_of("role", ROLES),
    one_of("state", SIGNER_STATES),
)
Index("ux_signer_generation", signer.c.role, signer.c.generation, unique=True)
partial_index("ux_signer_current", signer.c.role, unique=True, where=IS_CURRENT)

# ``number`` counts in the order of recording. ``replaced_at`` is set while a successor is confirmed. ``changed_at`` is
# the last change of state, ``revoked_at`` what the revocation list says (the beginning of a hold, too).
# ``listed_after`` is the number of the signer's last list when its next one had to say something else of it.
certificate = _table(
    "certificate",
    Column("number", BIG, Identity(), primary_key=True),
    Column("serial", Text, nullable=False, unique=True),
    Column("signer", Text, ForeignKey("signer.id"), nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("profile", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("key_fingerprint", LargeBinary, nullable=False),  # SHA-256 of the SubjectPublicKeyInfo
    Column("not_before_at", Moment, nullable=False),
    Column("not_after_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_before", Text),
    Column("reason", Text),
    Column("revoked_at", Moment),
    Column("listed_after", Integer),
    Column("replaces", Text, ForeignKey("certificate.serial")),
    Column("replaced_at", Moment),
    Column("enrolment", Text, ForeignKey("enrolment.reference")),
    one_of("state", CERTIFICATE_STATES),
    CheckConstraint(
        "(state IN ('suspended', 'revoked')) = (reason IS NOT NULL AND revoked_at IS NOT NULL)", name="reason"
    ),
)


def _certificate_index(name: str, *columns: str, where: Any) -> None:
    partial_index(name, *(certificate.c[column] for column in columns), where=where)


Index("ix_certificate_key", certificate.c.key_fingerprint)
_certificate_index("ix_certificate_replaces", "replaces", where=text("replaces IS NOT NULL"))
_certificate_index("ix_certificate_enrolment", "enrolment", where=text("enrolment IS NOT NULL"))
_certificate_index("ix_certificate_unconfirmed", "recorded_at", where=text("state = 'issued'"))
_certificate_index("ix_certificate_held", "revoked_at", where=text("state = 'suspended'"))
_certificate_index("ix_certificate_revoked", "number", where=text("state = 'revoked'"))
_certificate_index("ix_certificate_listed", "signer", "number", where=text("state IN ('suspended', 'revoked')"))
_certificate_index("ix_certificate_listed_after", "signer", "listed_after", where=text("listed_after IS NOT NULL"))
_certificate_index(
    "ix_certificate_renewable",
    *("profile", "not_after_at", "serial"),
    where=text("state = 'confirmed' AND replaced_at IS NULL"),
)

# Which question got which answer.
submission = _table(
    "submission",
    Column("transaction_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("serial", Text, ForeignKey("certificate.serial"), nullable=False, unique=True),
    Column("cancelled", Flag, nullable=False, server_default="0"),
    Column("reason", Text),  # why a reissue revokes the old certificate
)

applicant = _table(
    "applicant",
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("number_tag", LargeBinary, unique=True),  # HMAC of a resident or business number under a key on the token
    Column("details", Text, nullable=False, server_default="{}"),  # JSON; nothing secret, no resident number
    Column("state", Text, nullable=False, server_default="registered"),
    Column("registered_at", Moment, nullable=False),
    Column("registered_by", Text, nullable=False),
    one_of("kind", ("person", "business")),
)

identity_check = _table(
    "identity_check",
    Column("id", Text, primary_key=True),
    Column("applicant", Text, ForeignKey("applicant.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("evidence_hash", LargeBinary),
    Column("checked_at", Moment, nullable=False),
    Column("checked_by", Text, nullable=False),
)

# A reference number and its authorization code, of which only a salted hash is here.
enrolment = _table(
    "enrolment",
    Column("reference", Text, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
    Column("code_hash", LargeBinary, nullable=False),
    Column("applicant", Text, ForeignKey("applicant.id"), index=True),
    Column("profile", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("names", Text, nullable=False, server_default="[]"),  # JSON
    Column("years", Integer),
    Column("pre_authorised", Flag, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, index=True),
    Column("reason", Text),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("uses_left", Integer, nullable=False, server_default="1"),
    Column("wrong_tries", Integer, nullable=False, server_default="0"),
    Column("locked_at", Moment),
    Column("used_at", Moment),
)
Index("ix_enrolment_created", enrolment.c.created_at, enrolment.c.reference)

officer = _table(
    "officer",
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, unique=True),  # SHA-256 of the certificate
    Column("roles", Text, nullable=False),  # JSON
    Column("state", Text, nullable=False, server_default="active"),
    Column("added_at", Moment, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("removed_at", Moment),
)

approval = _table(
    "approval",
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False, index=True),  # what is approved: a reference, an applicant
    Column("officer", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("decided_at", Moment, nullable=False),
    Column("evidence", LargeBinary),  # the officer's signed order (CMS)
)
Index("ux_approval_voice", approval.c.subject, approval.c.officer, approval.c.decision, unique=True)

# An officer's request that was carried out; its id is never accepted again.
admin_request = _table(
    "admin_request",
    Column("id", Text, primary_key=True),
    Column("officer", Text, nullable=False),
    Column("accepted_at", Moment, nullable=False, index=True),
)

# A wrong code from somewhere, kept for as long as it counts.
source_tries = _table(
    "source_tries",
    Column("number", BIG, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("at", Moment, nullable=False, index=True),
)
Index("ix_source_tries_window", source_tries.c.source, source_tries.c.at)

# A conversation over CMP, so that any process can answer the next message, and a message that comes again.
cmp_transaction = _table(
    "cmp_transaction",
    Column("transaction_id", LargeBinary, primary_key=True),
    Column("sender_key", LargeBinary, primary_key=True),
    Column("state", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("response_der", LargeBinary),
    Column("sender_nonce", LargeBinary),
    Column("recipient_nonce", LargeBinary),
    Column("reference", Text),
    Column("serial", Text),
    Column("details", Text, nullable=False, server_default="{}"),  # JSON
    Column("changed_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
)

partial_index(
    "ix_cmp_transaction_waiting",
    *(cmp_transaction.c.sender_key, cmp_transaction.c.expires_at),
    where=IS_WAITING,
)

# A published list; ``base_number`` is NULL for a complete one. A complete and a delta list may share a number.
crl = _table(
    "crl",
    Column("id", BIG, Identity(), primary_key=True),
    Column("signer", Text, ForeignKey("signer.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("base_number", Integer),
    Column("this_update_at", Moment, nullable=False),
    Column("next_update_at", Moment, nullable=False),
    Column("der", LargeBinary, nullable=False),
)
_COMPLETE, _DELTA = text("base_number IS NULL"), text("base_number IS NOT NULL")
for _name, _which in (("ux_crl_complete", _COMPLETE), ("ux_crl_delta", _DELTA)):
    partial_index(_name, crl.c.signer, crl.c.number, unique=True, where=_which)

# An OCSP answer signed before anybody asked. ``says`` is what it says and with whose key; one that says something else
# than the certificate's record is not used any more. ``algorithm`` is the hash that the request names the issuer with.
ocsp_answer = _table(
    "ocsp_answer",
    Column("serial", Text, ForeignKey("certificate.serial"), primary_key=True),
    Column("algorithm", Text, primary_key=True),
    Column("says", Text, nullable=False),
    Column("this_update_at", Moment, nullable=False),
    Column("next_update_at", Moment, nullable=False, index=True),
    Column("der", LargeBinary, nullable=False),
)

# Rows are only ever added. ``hash`` covers the row and ``previous``, the hash of the row before.
audit = _table(
    "audit",
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

# The head of the chain at a moment, signed.
audit_head = _table(
    "audit_head",
    Column("seq", BIG, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    Column("signed_at", Text, nullable=False),
    Column("signer", Text, ForeignKey("signer.id"), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

for _table_of_record in (audit, audit_head):
    only_grows(_table_of_record)

# Work to be done once, by the runner in this process; on PostgreSQL procrastinate keeps its own tables.
job = _table(
    "job",
    Column("id", BIG, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),  # the same kind and key waits once only
    Column("payload", Text, nullable=False, server_default="{}"),  # JSON; ids, never keys or PINs
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("run_at", Moment, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until", Moment),
    one_of("state", ("waiting", "running")),
)
partial_index("ux_job_waiting", job.c.kind, job.c.key, unique=True, where=IS_WAITING)
Index("ix_job_due", job.c.state, job.c.run_at)

# How each kind of work went the last time, whichever engine keeps the jobs.
job_outcome = _table(
    "job_outcome",
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("ended_at", Moment, nullable=False),
    Column("done_at", Moment),  # the last time it went well
    Column("failures", Integer, nullable=False),  # since then
    Column("problem", Text),
    Column("turn", BIG),  # which turn of periodic work was done last, in seconds since 1970
)

# Which notice of renewal a subscriber was given: ``threshold`` is the number of days that it was for.
renewal_notice = _table(
    "renewal_notice",
    Column("serial", Text, ForeignKey("certificate.serial"), primary_key=True),
    Column("threshold", Integer, primary_key=True),
    Column("given_at", Moment, nullable=False),
)

# A factor that an applicant has passed, good for one request only: ``request_hash`` covers the key to be certified, the
# profile and who asks. ``reference`` is the enrolment that it goes back to, ``-`` where there was none.
# ``used_serial`` is the certificate that was issued on it; then it is good for nothing more.
factor_evidence = _table(
    "factor_evidence",
    Column("id", Text, primary_key=True),
    Column("reference", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("applicant", Text, ForeignKey("applicant.id"), nullable=False),
    Column("factor", Text, nullable=False),
    Column("device", Text),
    Column("passed_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("evidence_hash", LargeBinary, nullable=False),
    Column("used_serial", Text, ForeignKey("certificate.serial")),
    one_of("factor", FACTORS),
)
Index("ix_factor_evidence_request", factor_evidence.c.reference, factor_evidence.c.request_hash)
partial_index("ix_factor_evidence_used", factor_evidence.c.used_serial, where=text("used_serial IS NOT NULL"))
