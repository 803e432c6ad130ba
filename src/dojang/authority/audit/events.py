"""Everything that is put on record, and what may be told of each: a list, so that no secret ever slips in.

A detail is a text, a number or a list of texts. Numbers of references, of transactions and of certificates are told;
codes, PINs, R and resident numbers are not, nor anything they could be found from. A source is an IP address.
"""

from types import MappingProxyType
from typing import Final

EVENTS: Final = MappingProxyType(
    {
        # the authority itself
        "authority-founded": frozenset({"certificate", "tiers"}),
        "store-upgraded": frozenset({"before", "after"}),
        # its keys
        "signer-added": frozenset({"role", "generation", "certificate", "state"}),
        "signer-switched": frozenset({"role", "generation", "before"}),
        "signer-retired": frozenset({"role", "generation", "reason"}),
        "signer-cross-signed": frozenset({"role", "generation", "certificate", "serial"}),
        # certificates
        "certificate-issued": frozenset(
            {"kind", "profile", "transaction", "fingerprint", "replaces", "enrolment", "signer"}
        ),
        "certificate-confirmed": frozenset({"transaction", "kind", "replaces"}),
        "certificate-cancelled": frozenset({"transaction"}),
        "certificate-revoked": frozenset({"reason", "revoked_at"}),
        "certificate-suspended": frozenset({"reason"}),
        "certificate-restored": frozenset(),
        # lists of them
        "crl-published": frozenset({"signer", "number", "base", "next_update"}),
        # who may have a certificate
        "applicant-added": frozenset({"kind"}),
        "applicant-changed": frozenset({"changed", "phone", "email"}),  # both masked
        "check-recorded": frozenset({"kind", "evidence", "checked_at"}),
        "enrolment-created": frozenset({"profile", "applicant", "expires_at", "uses", "kind", "state"}),
        "enrolment-settled": frozenset({"state"}),
        "enrolment-approved": frozenset({"approval", "first", "state"}),
        "enrolment-refused": frozenset({"reason"}),
        "enrolment-used": frozenset({"serial", "uses_left"}),
        "enrolment-expired": frozenset({"expires_at"}),
        "enrolment-cancelled": frozenset({"reason"}),
        "enrolment-locked": frozenset({"tries"}),
        "enrolment-unlocked": frozenset({"tries", "state"}),
        "code-wrong": frozenset({"source", "tries"}),
        "source-locked": frozenset({"tries"}),
        # what an applicant passes before a certificate; the subject is the applicant
        "factor-passed": frozenset({"factor", "device", "reference", "evidence", "expires_at"}),
        "factors-used": frozenset({"serial", "reference", "factors", "evidence"}),
        # seeds of registered devices, and the keys they lie under
        "otp-kek-made": frozenset({"check", "before"}),
        "otp-kek-retired": frozenset({"after"}),
        "otp-added": frozenset({"applicant", "kind", "origin", "exportable"}),
        "otp-exported": frozenset({"format"}),
        "otp-locked": frozenset({"tries"}),
        "otp-unlocked": frozenset({"tries"}),
        "otp-resynced": frozenset({"steps"}),
        "otp-suspended": frozenset({"reason"}),
        "otp-restored": frozenset(),
        "otp-removed": frozenset({"reason"}),
        # security cards
        "card-made": frozenset({"applicant", "entries"}),
        "card-printed": frozenset(),
        "card-answered": frozenset(),
        "card-wrong": frozenset({"tries"}),
        "card-locked": frozenset({"tries"}),
        "card-unlocked": frozenset({"tries"}),
        "card-removed": frozenset({"reason"}),
        # codes by message; the subject is the applicant, a target is masked
        "message-made": frozenset({"channel", "purpose", "target"}),
        "message-sent": frozenset({"channel", "purpose"}),
        "message-failed": frozenset({"channel", "purpose", "problem"}),
        "message-pressed": frozenset({"channel", "purpose"}),
        "message-passed": frozenset({"channel", "purpose"}),
        "message-wrong": frozenset({"channel", "purpose", "tries_left"}),
        # who may administer
        "officer-added": frozenset({"roles", "certificate", "name"}),
        "officer-changed": frozenset({"roles", "state", "certificate", "name"}),
        "officer-removed": frozenset({"roles", "reason"}),
        "order-refused": frozenset({"method", "reason", "source"}),
        # this record
        "audit-exported": frozenset({"entries", "hash"}),
    }
)
FORBIDDEN: Final = frozenset({"code", "pin", "password", "secret", "key", "r", "resident_number", "mac"})
"""No detail is ever called so."""
