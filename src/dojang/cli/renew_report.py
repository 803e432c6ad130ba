"""What renewals came to: their credentials, what failed, and the copies that are still the old ones."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data
from dojang.cli.language import N_, advice_of, message_of, say
from dojang.cli.renew_orders import SOME_FAILED, failed_data, warnings_data
from dojang.errors import DojangError, NothingDue

if TYPE_CHECKING:
    from dojang.lifecycle.renew import Renewal
    from dojang.lifecycle.renewals import Outcome
    from dojang.lifecycle.workplace import Recovered, Workplace

Copies = Mapping[bytes, tuple[str, ...]]
"""Where copies are that nobody renewed, by the certificate that was replaced."""


def copies_left(place: "Workplace", renewals: "list[Renewal]") -> Copies:
    """Where copies of what was renewed are still the old ones."""
    from dojang.lifecycle.fallout import copies_of

    return copies_of(place, [one.previous.stored for one in renewals])


def report(
    invocation: Invocation,
    outcomes: "list[Outcome]",
    recovered: "list[Recovered]",
    warnings: list[DojangError],
    copies: Copies,
    **more: Any,
) -> int:
    """The result of a run, and its exit status."""
    done = [one.renewal for one in outcomes if one.renewal is not None]
    failed = [(one.held.stored.address, one.error) for one in outcomes if one.failed and one.error is not None]
    data = {
        "renewed": [renewal_data(renewal, copies) for renewal in done],
        "failed": [failed_data(*one) for one in failed],
        "recovered": [{"verb": one.record.verb, "outcome": one.outcome} for one in recovered],
        "warnings": warnings_data(warnings),
        **more,
    }
    quiet = [renewal.credential.stored.address for renewal in done]
    invocation.result(data, lambda: _run_text(done, failed, copies), quiet=quiet)
    if failed or warnings:
        return SOME_FAILED
    ended = any(one.outcome != "left" for one in recovered)
    return 0 if done or ended else NothingDue.exit_status


def tell_outcome(invocation: Invocation, outcome: "Outcome") -> None:
    """On the way: what a person should know of one that was not renewed."""
    address, error = outcome.held.stored.address, outcome.error
    if outcome.failed and error is not None:
        invocation.out.warning(f"{_about(address, message_of(error))} {advice_of(error)}")
    elif isinstance(error, NothingDue):
        invocation.out.note(say("{address}: its certificate was renewed meanwhile.", address=address))
    elif error is not None:
        invocation.out.note(_about(address, message_of(error)))


def renewal_data(renewal: "Renewal", copies: Copies) -> dict[str, object]:
    """A renewal as every command prints it with ``--json``."""
    return {
        "credential": credential_data(renewal.credential),
        "previous": credential_data(renewal.previous),
        "copies": list(_copies(renewal, copies)),
    }


def copy_lines(renewal: "Renewal", copies: Copies) -> list[str]:
    """A copy is not renewed along: its place may take no successor, and nobody may be there to open it."""
    new, held = renewal.credential.stored.address, renewal.credential.traits
    text = N_("A copy is still the old one: {address}; put the new one in its place: {command}")
    if not held.copyable:
        text = N_("A copy is still the old one: {address}; the new key does not leave its place.")
    return [say(text, address=address, command=_replacing(new, address)) for address in _copies(renewal, copies)]


def _replacing(new: str, copy: str) -> str:
    """The command that puts the new one in the place of a copy of the old one."""
    from dojang.locations.address import parse_address

    return shlex.join(
        ["dojang", "location", "copy", new, "--to", parse_address(copy).location().to_text(), "--replace"]
    )


def _about(address: str, text: str) -> str:
    return text if address in text else f"{address}: {text}"


def _copies(renewal: "Renewal", copies: Copies) -> tuple[str, ...]:
    return copies.get(renewal.previous.stored.certificate_der, ())


def _run_text(done: "list[Renewal]", failed: "list[tuple[str, DojangError]]", copies: Copies) -> str:
    if failed and not done:
        return say("Due, but not renewed: {number}", number=len(failed))
    lines = []
    for one in done:
        facts = {"not_after": one.credential.facts.not_after_at, "address": one.credential.stored.address}
        subject = one.credential.facts.subject
        lines.append(say("Renewed {subject} until {not_after}: {address}", subject=subject, **facts))
        lines += copy_lines(one, copies)
    return "\n".join(lines) or message_of(NothingDue())
