"""Credentials as people and scripts see them."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.language import N_, _, say, spoken
from dojang.cli.table import Coloured

if TYPE_CHECKING:
    from datetime import datetime

    from dojang.lifecycle.held import Held
    from dojang.lifecycle.purpose import Purpose
    from dojang.x509.status import CertificateFacts

STATES = {
    "valid": N_("valid"),
    "due": N_("due"),
    "expired": N_("expired"),
    "not-yet-valid": N_("not yet valid"),
    "revoked": N_("revoked"),
    "suspended": N_("suspended"),
    "retired": N_("retired"),
}
LOCATIONS = {
    "token": N_("token"),
    "disk": N_("disk"),
    "removable": N_("removable disk"),
    "pkcs12": N_("PKCS#12 file"),
    "pem": N_("PEM file"),
    "phone": N_("phone"),
    "cloud": N_("cloud"),
}
HOLDERS = {"person": N_("{purpose} (person)"), "business": N_("{purpose} (business)")}
DOUBTS = {"conflict": N_("{purpose} (sources disagree)"), "unconfirmed": N_("{purpose} (not confirmed)")}
_WHERE_COLUMNS = [
    N_("Name"),
    N_("Purpose"),
    N_("Issuer"),
    N_("Last day"),
    N_("Days left"),
    N_("State"),
    N_("Location"),
    N_("Can be copied"),
    N_("Duplicates"),
    N_("Address"),
]
_AT_COMMAS = re.compile(r"(?<!\\),")
_WEEK, _MONTH = 7, 30
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
        "purpose": held.purpose.words["en"],
        "purpose_ko": held.purpose.words["ko"],
        "policy_oids": held.purpose.policy_oids,
        "purpose_doubt": held.purpose.doubt,
        "holder": held.purpose.holder,
        "duplicate_of": held.duplicate_of,
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


def certificate_lines(facts: "CertificateFacts", *, korean: bool = False) -> list[str]:
    """A certificate for people, a fact a line; a ``korean`` one begins and ends with a Korean day."""
    begins, ends = _moment(facts.not_before_at, korean=korean), _moment(facts.not_after_at, korean=korean)
    return [
        say("Subject: {subject}", subject=facts.subject),
        say("Issuer: {issuer}", issuer=facts.issuer),
        say("Serial: {serial}", serial=facts.serial),
        say("Valid: {not_before} to {not_after}", not_before=begins, not_after=ends),
        say("Days left: {days}", days=facts.days_left),
        say("Algorithm: {algorithm}", algorithm=facts.algorithm),
    ]


def credential_lines(held: "Held") -> list[str]:
    """A credential for people, a fact a line."""
    state, korean = _(STATES[held.state]), held.purpose.korean
    renewable = held.state in ("valid", "due", "not-yet-valid")
    due_at = _moment(held.due_at, korean=korean)
    return [
        *certificate_lines(held.facts, korean=korean),
        say("Purpose: {purpose}", purpose=purpose_words(held.purpose)),
        say("State: {state}; due for renewal from {due_at}", state=state, due_at=due_at)
        if renewable
        else say("State: {state}", state=state),
        say("Address: {address}", address=held.stored.address),
    ]


def mentions(held: "Held", text: str) -> bool:
    """Whether what people read of a credential has the text in it, in whatever case."""
    facts, words = held.facts, held.purpose.words.values()
    wanted = text.casefold()
    return any(wanted in one.casefold() for one in (facts.subject, facts.issuer, held.stored.address, *words))


def where_table(invocation: Invocation, credentials: "Iterable[Held]") -> str:
    """Credentials with what they are for and where they are, one a line; the days that are left in colour."""
    rows = [
        [
            common_name_of(held.facts.subject),
            purpose_words(held.purpose),
            common_name_of(held.facts.issuer),
            _last_day(held),
            Coloured(str(held.facts.days_left), colour_of(held)),
            _(STATES[held.state]),
            _(LOCATIONS.get(held.stored.kind, held.stored.kind)),
            _("yes") if held.traits.copyable else _("no"),
            str(len(held.duplicate_of) or ""),
            held.stored.address,
        ]
        for held in credentials
    ]
    return invocation.out.table(_WHERE_COLUMNS, rows) if rows else _("There is no certificate.")


def common_name_of(name: str) -> str:
    """What people call whom a name names: the first common name in it, else all of it."""
    return next((part[3:] for part in _AT_COMMAS.split(name) if part.startswith("CN=")), name)


def purpose_words(purpose: "Purpose") -> str:
    """What a certificate is for, whether it is a person's or a business's, and how far that is to be believed."""
    words = purpose.words[spoken()]
    words = say(HOLDERS[purpose.holder], purpose=words) if purpose.holder in HOLDERS else words
    return say(DOUBTS[purpose.doubt], purpose=words) if purpose.doubt in DOUBTS else words


def colour_of(held: "Held") -> str:
    """Red for what cannot be used or ends within a week, yellow for what is due or ends within a month, else green."""
    if held.state == "retired":
        return "dim"
    days = held.facts.days_left
    if held.state in ("expired", "not-yet-valid", "revoked", "suspended") or days <= _WEEK:
        return "red"
    return "yellow" if held.state == "due" or days <= _MONTH else "green"


def _last_day(held: "Held") -> str:
    """The last day as its owner counts it: a Korean certificate ends with a Korean day."""
    return f"{_moment(held.facts.not_after_at, korean=held.purpose.korean):%Y-%m-%d}"


def _moment(at: "datetime", *, korean: bool) -> "datetime":
    from dojang.npki.validity import KST

    return at.astimezone(KST) if korean else at


def credential_table(invocation: Invocation, credentials: "Iterable[Held]") -> str:
    """Credentials for people, one a line."""
    rows = [
        [held.facts.subject, held.facts.days_left, _(STATES[held.state]), held.facts.algorithm, held.stored.address]
        for held in credentials
    ]
    return invocation.out.table(_COLUMNS, rows) if rows else _("There is no certificate.")
