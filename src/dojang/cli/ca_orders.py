"""What the commands of an office have in common: an order goes to the authority, signed by an officer where wanted."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dojang.cli.context import Invocation
from dojang.cli.frame import option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import open_authority_named

officer_option = option(
    "--officer",
    metavar="ADDRESS",
    help=N_("Credential of an officer, who signs the order; without it, whoever is here gives it."),
)
STATES = {
    "drafted": N_("checks missing"),
    "waiting": N_("waits for approval"),
    "ready": N_("ready"),
    "used": N_("used"),
    "expired": N_("expired"),
    "cancelled": N_("cancelled"),
    "refused": N_("refused"),
    "locked": N_("locked"),
}


def ordered(
    invocation: Invocation, authority: str, method: str, arguments: Mapping[str, Any], officer: str | None = None
) -> dict[str, Any]:
    """Give the order and return what came of it. With ``officer`` it is his, signed by the key at that address."""
    signed = None if officer is None else _signed(invocation, authority, method, arguments, officer)
    with open_authority_named(invocation, authority) as opened:
        counter = opened.counter
        if signed is None:
            return counter.perform(method, arguments)
        from dojang.centre.orders import read_order

        order = read_order(signed)  # what the record keeps as evidence is what is carried out
        known = counter.officers.officer_of(order.certificate_der)
        return counter.perform(order.method, order.arguments, officer=known, evidence=order.der)


def _signed(invocation: Invocation, authority: str, method: str, arguments: Mapping[str, Any], officer: str) -> bytes:
    from dojang.centre.orders import sign_order
    from dojang.cli.workplace import open_location_at
    from dojang.signing.private_key import PrivateKeySigner

    address = invocation.address(officer)
    with open_location_at(invocation, address) as location:
        stored = location.find(address)
        signer = PrivateKeySigner(location.private_key(stored.key_id))
        now = datetime.now(UTC)
        return sign_order(authority, method, arguments, signer, stored.certificate_der, at=now)


def state_words(enrolment: Mapping[str, Any]) -> str:
    """Where it stands, for people."""
    state = enrolment["state"]
    return _(STATES[state])


def moment(text: str) -> datetime:
    """A moment in an answer, which ``say`` puts into words."""
    return datetime.fromisoformat(text)


def day_and_time(text: str) -> str:
    """The same for tables."""
    return f"{moment(text):%Y-%m-%d %H:%M}"


def enrolment_lines(enrolment: Mapping[str, Any]) -> list[str]:
    """An enrolment for people."""
    missing = enrolment["missing"]
    lines = [
        say("Reference number: {reference}", reference=enrolment["reference"]),
        say("State: {detail}", detail=state_words(enrolment)),
        say("Subject: {subject}", subject=enrolment["subject"]),
        say("Profile: {profile}", profile=enrolment["profile"]),
        say("Usable until: {until}", until=moment(enrolment["expires_at"])),
        say("Registered by: {actor}", actor=enrolment["created_by"]),
    ]
    if enrolment["alternative_names"]:
        lines.insert(3, say("Further names: {names}", names=enrolment["alternative_names"]))
    if enrolment["state"] == "drafted" and missing["checks"]:
        lines.append(say("Checks missing: {kinds}", kinds=missing["checks"]))
    if enrolment["state"] in ("drafted", "waiting") and missing["approvals"]:
        lines.append(say("Approvals missing: {count}", count=missing["approvals"]))
    if enrolment["wrong_tries"]:
        lines.append(say("Wrong tries: {count}", count=enrolment["wrong_tries"]))
    if enrolment["reason"]:
        lines.append(say("Reason: {reason}", reason=enrolment["reason"]))
    return lines
