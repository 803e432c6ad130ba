"""``dojang ca``: show, list, crl, revoke, suspend, restore. (Founding one is in ``ca_init``.)"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dojang.cli.ca_orders import certificate_from, is_ordered, officer_option, ordered, ordered_certificates
from dojang.cli.context import Invocation
from dojang.cli.credentials import certificate_data
from dojang.cli.files import pem_of, write_file
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import authority_names, chosen_authority, open_authority_named, workplace
from dojang.errors import Usage

if TYPE_CHECKING:
    from dojang.authority.local import AuthorityInfo, LocalAuthority
    from dojang.authority.store import Record
    from dojang.lifecycle.elsewhere import KnownRecord
    from dojang.lifecycle.workplace import Workplace

RECORD_STATES = {
    "issued": N_("issued, not confirmed"),
    "confirmed": N_("valid"),
    "suspended": N_("suspended"),
    "revoked": N_("revoked"),
}
PAGE = 1000
ca_option = option("--ca", metavar="NAME", help=N_("Which authority; the only one unless said."))


@command(
    help=N_("Show an authority: its certificates, its keys and its revocation list. Without a name, every authority."),
    examples=["dojang ca show", "dojang ca show office --json", "dojang ca show office -o office.pem"],
)
@argument("name", metavar="[NAME]", required=False)
@option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help=N_("File for its certificates in PEM, the root last."),
)
def show(invocation: Invocation, name: str | None, output: Path | None) -> None:
    """No PIN is asked."""
    names = [name] if name is not None else authority_names(invocation) or [chosen_authority(invocation, None)]
    if output is not None and len(names) > 1:
        names = [chosen_authority(invocation, None)]
    shown, chains = [], []
    for one in names:
        with open_authority_named(invocation, one) as authority:
            chain = pem_of(authority.chain_der())
            shown.append(info_data(authority.info(), chain) | {"settings": settings_data(authority)})
            chains.append(chain)
    if output is not None:
        write_file(output, chains[0].encode())
    data: dict[str, Any] = {"authorities": shown, "output": output}
    if len(shown) == 1:
        data["authority"] = shown[0]
    text = "\n\n".join("\n".join(info_lines(info)) for info in shown)
    invocation.result(data, text, quiet=[info["name"] for info in shown])


def info_data(info: "AuthorityInfo", chain_pem: str) -> dict[str, Any]:
    return {
        "name": info.name,
        "address": info.key_address,
        "root_address": info.root_key_address,
        "certificate": certificate_data(info.certificate),
        "root": certificate_data(info.root),
        "chain": chain_pem,
        "crl": {"path": info.crl_path, "number": info.crl_number},
    }


def settings_data(authority: "LocalAuthority") -> dict[str, Any]:
    """What holds for the authority, by the names in its file; what the file does not say is the default."""
    found, said = asdict(authority.settings), authority.settings.tables
    data = {name: found[name] for name in ("test", "address", "unconfirmed_hours", "cmp", "status")}
    return data | {"database": str(authority.database.place), "enrolment": said.get("enrolment", {})}


def settings_lines(settings: dict[str, Any]) -> list[str]:
    lines = [say("Records: {place}", place=settings["database"])]
    if settings["address"]:
        lines.append(say("Found by others at {address}", address=settings["address"]))
    if settings["test"]:
        lines.append(_("A test authority: do not rely on its certificates."))
    return lines


def info_lines(info: dict[str, Any]) -> list[str]:
    own, root = info["certificate"], info["root"]
    lines = [
        say("Authority: {name}", name=info["name"]),
        say("Subject: {subject}", subject=own["subject"]),
        say("Valid: {not_before} to {not_after}", not_before=own["not_before"], not_after=own["not_after"]),
        say("Algorithm: {algorithm}", algorithm=own["algorithm"]),
        say("Key: {address}", address=info["address"]),
        say("Revocation list: {path} (number {number})", **info["crl"]),
    ]
    if root["serial"] != own["serial"]:
        lines.append(say("Root: {subject}, {address}", subject=root["subject"], address=info["root_address"]))
    return lines + settings_lines(info["settings"])


@command(
    help=N_("List the certificates that an authority has issued, with their state; a page at a time with --limit."),
    examples=[
        "dojang ca list",
        "dojang ca list --due --limit 100",
        "dojang ca list --state revoked --limit 100 --after 3f2a91",
        "dojang ca list --ca office --json",
        "dojang ca list --ca https://ca.example/office --officer 'pkcs11:token=Kim;object=officer'",
    ],
)
@ca_option
@option("--state", type=click.Choice(list(RECORD_STATES)), help=N_("Only those in this state."))
@option("--due", is_flag=True, help=N_("Only those to be renewed now, by profile and expiry."))
@option("--limit", type=click.IntRange(1, 100_000), help=N_("So many at most; all unless said."))
@option("--after", metavar="SERIAL", help=N_("From the one after this; the last of the page before."))
@officer_option
def list_(
    invocation: Invocation,
    ca: str | None,
    state: str | None,
    due: bool,
    limit: int | None,
    after: str | None,
    officer: str | None,
) -> None:
    """Oldest first; no PIN is asked but an officer's."""
    if due and state is not None:
        raise Usage(problem=N_("--due and --state do not go together"))
    name = chosen_authority(invocation, ca)
    wanted = {"state": state, "due": due}
    if is_ordered(name, officer):
        found, following = ordered_certificates(invocation, name, officer, wanted, after, limit)
    else:
        with open_authority_named(invocation, name) as authority:
            pages = partial(authority.due) if due else partial(authority.records, state=state)
            records, following = _paged(pages, after, limit)
            found = [record_data(one) for one in records]
    rows = [[one["serial"], one["subject"], _state(one), f"{one['not_after']:%Y-%m-%d}"] for one in found]
    columns = [N_("Serial"), N_("Subject"), N_("State"), N_("Until")]
    nothing = _("Nothing matches.") if state or due or after else _("Nothing has been issued yet.")
    text = invocation.out.table(columns, rows) if rows else nothing
    if following is not None:
        more = say("There may be more: --after {serial}", serial=following)
        text = f"{text}\n{more}"
    invocation.result({"certificates": found, "next": following}, text, quiet=[one["serial"] for one in found])


def _paged(
    pages: "Callable[..., list[Record]]", after: str | None, limit: int | None
) -> "tuple[list[Record], str | None]":
    """So many records, or all, and the serial to go on after where there may be more."""
    found: list[Record] = []
    while limit is None or len(found) < limit:
        wanted = PAGE if limit is None else min(PAGE, limit - len(found))
        page = pages(after=after, limit=wanted)
        found += page
        if len(page) < wanted:
            return found, None
        after = page[-1].serial
    return found, after


def _state(record: dict[str, Any]) -> str:
    state = record["state"]
    return _(RECORD_STATES[state])


def record_data(record: "Record | KnownRecord") -> dict[str, Any]:
    """A certificate as the authority has it on record, as every command prints it with ``--json``."""
    return {
        "serial": record.serial,
        "subject": record.subject,
        "profile": record.profile,
        "state": record.state,
        "not_before": record.not_before_at,
        "not_after": record.not_after_at,
        "reason": record.reason,
        "revoked_at": record.revoked_at,
        "replaces": record.replaces,
    }


@command(
    help=N_("Sign the revocation list anew and say where it lies; needs the PIN of the authority's token."),
    examples=["dojang ca crl", "dojang ca crl --ca office -o office.crl"],
)
@ca_option
@option("--root", is_flag=True, help=N_("That of the root, where an issuing authority stands below it."))
@option("-o", "--output", metavar="OUT", type=click.Path(path_type=Path), help=N_("File for a copy, in DER."))
@officer_option
def crl(invocation: Invocation, ca: str | None, root: bool, output: Path | None, officer: str | None) -> None:
    """A new number each time."""
    name = chosen_authority(invocation, ca)
    if invocation.planned([say("Sign the revocation list of {name} anew", name=name)], authority=name):
        return
    if is_ordered(name, officer):
        _crl_ordered(invocation, name, officer, root=root, output=output)
        return
    with open_authority_named(invocation, name) as authority:
        path = authority.publish_crl(root=root)
        number = authority.info().crl_number
    if output is not None:
        write_file(output, path.read_bytes())
    text = say("Revocation list: {path}", path=output or path)
    invocation.result({"crl": {"path": path, "number": number}, "output": output}, text, quiet=[str(output or path)])


def _crl_ordered(invocation: Invocation, name: str, officer: str | None, *, root: bool, output: Path | None) -> None:
    if root:
        raise Usage(problem=N_("The root's list is signed where its key is, not by an officer's order"))
    made = ordered(invocation, name, "crl.publish", {}, officer)["crl"]
    if output is not None:
        write_file(output, bytes.fromhex(made["der"]))
    text = say("Revocation list of {name}: number {number}", name=name, number=made["number"])
    data = {"crl": {"path": output, "number": made["number"]}, "output": output}
    invocation.result(data, text, quiet=[str(output or made["number"])])


@command(
    help=N_("Revoke a certificate for good and publish the revocation list; its serial is in 'dojang ca list'."),
    examples=["dojang ca revoke 3f2a91 --reason keyCompromise"],
)
@argument("serial", metavar="SERIAL")
@option("--reason", default="unspecified", show_default=True, help=N_("Why, as RFC 5280 spells it."))
@ca_option
@officer_option
def revoke(invocation: Invocation, serial: str, reason: str, ca: str | None, officer: str | None) -> None:
    """Cannot be taken back."""
    from dojang.authority.revocation import reason_of
    from dojang.lifecycle import revoke as verbs

    reason = reason_of(reason)
    change = _Change("certificate.revoke", N_("Revoke {serial} for good"), {"serial": serial, "reason": reason})
    _change(invocation, ca, officer, change, lambda place, name: verbs.revoke(place, name, serial, reason))


@command(
    help=N_("Put a certificate on hold (certificateHold) and publish the revocation list."),
    examples=["dojang ca suspend 3f2a91"],
)
@argument("serial", metavar="SERIAL")
@ca_option
@officer_option
def suspend(invocation: Invocation, serial: str, ca: str | None, officer: str | None) -> None:
    """``restore`` takes it off hold."""
    from dojang.lifecycle import revoke as verbs

    change = _Change("certificate.suspend", N_("Put {serial} on hold"), {"serial": serial})
    _change(invocation, ca, officer, change, lambda place, name: verbs.suspend(place, name, serial))


@command(
    help=N_("Take a certificate off hold and publish the revocation list."),
    examples=["dojang ca restore 3f2a91"],
)
@argument("serial", metavar="SERIAL")
@ca_option
@officer_option
def restore(invocation: Invocation, serial: str, ca: str | None, officer: str | None) -> None:
    """Only what is on hold and not expired."""
    from dojang.lifecycle import revoke as verbs

    change = _Change("certificate.restore", N_("Take {serial} off hold"), {"serial": serial})
    _change(invocation, ca, officer, change, lambda place, name: verbs.restore(place, name, serial))


class _Change(NamedTuple):
    """One change of a certificate's state: what an officer orders, and the step of a plan."""

    method: str
    step: str
    arguments: dict[str, Any]


def _change(
    invocation: Invocation,
    ca: str | None,
    officer: str | None,
    change: _Change,
    verb: "Callable[[Workplace, str], Record]",
) -> None:
    """Done here by ``verb``, or ordered by an officer."""
    name, serial = chosen_authority(invocation, ca), change.arguments["serial"]
    steps = [say(change.step, serial=serial), _("Publish the revocation list")]
    if invocation.planned(steps, authority=name, serial=serial):
        return
    if is_ordered(name, officer):
        answer = ordered(invocation, name, change.method, change.arguments, officer)
        record = certificate_from(answer["certificate"])
    else:
        with workplace(invocation) as place:
            record = record_data(verb(place, name))
    words = {"serial": record["serial"], "subject": record["subject"], "state": _state(record)}
    invocation.result({"certificate": record}, say("{serial} ({subject}): {state}", **words), quiet=[record["serial"]])
