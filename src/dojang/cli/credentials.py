"""Credentials as people and scripts see them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.language import N_, _, say

if TYPE_CHECKING:
    from dojang.lifecycle.held import Held
    from dojang.x509.status import CertificateFacts

STATES = {
    "valid": N_("valid"),
    "due": N_("due"),
    "expired": N_("expired"),
    "revoked": N_("revoked"),
    "suspended": N_("suspended"),
    "retired": N_("retired"),
}
_COLUMNS = [N_("Subject"), N_("Days left"), N_("State"), N_("Algorithm"), N_("Address")]


def credential_data(held: "Held") -> dict[str, Any]:
    """A credential as every command prints it with ``--json``."""
    return {
        "address": held.stored.address,
        "location": held.stored.kind,
        "label": held.stored.label,
        "id": held.stored.key_id,
        **certificate_data(held.facts),
        "due_at": held.due_at,
        "key_leaves": held.traits.key_leaves,
        "copyable": held.traits.copyable,
        "state": held.state,
    }


def certificate_data(facts: "CertificateFacts") -> dict[str, Any]:
    """A certificate as every command prints it with ``--json``, wherever it lies."""
    return {
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "not_before": facts.not_before_at,
        "not_after": facts.not_after_at,
        "days_left": facts.days_left,
        "algorithm": facts.algorithm,
    }


def certificate_lines(facts: "CertificateFacts") -> list[str]:
    """A certificate for people, a fact a line."""
    return [
        say("Subject: {subject}", subject=facts.subject),
        say("Issuer: {issuer}", issuer=facts.issuer),
        say("Serial: {serial}", serial=facts.serial),
        say("Valid: {not_before} to {not_after}", not_before=facts.not_before_at, not_after=facts.not_after_at),
        say("Days left: {days}", days=facts.days_left),
        say("Algorithm: {algorithm}", algorithm=facts.algorithm),
    ]


def credential_lines(held: "Held") -> list[str]:
    """A credential for people, a fact a line."""
    return [
        *certificate_lines(held.facts),
        say("State: {state}; due for renewal from {due_at}", state=_(STATES[held.state]), due_at=held.due_at),
        say("Address: {address}", address=held.stored.address),
    ]


def credential_table(invocation: Invocation, credentials: "Iterable[Held]") -> str:
    """Credentials for people, one a line."""
    rows = [
        [held.facts.subject, held.facts.days_left, _(STATES[held.state]), held.facts.algorithm, held.stored.address]
        for held in credentials
    ]
    return invocation.out.table(_COLUMNS, rows) if rows else _("There is no certificate.")
