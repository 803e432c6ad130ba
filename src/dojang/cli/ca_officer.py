"""``dojang ca officer``: whose certificates open the office, here and from afar."""

from pathlib import Path

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_orders import officer_option, ordered
from dojang.cli.context import Invocation
from dojang.cli.files import certificates_of
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import check_is_here, chosen_authority

ROLES = {
    "registrar": N_("registers applicants, checks and codes"),
    "approver": N_("approves what another has registered"),
    "revoker": N_("revokes, suspends, restores"),
    "auditor": N_("reads everything"),
}


@command(
    help=N_(
        "Register an officer by the certificate whose key he has on a token, or put a renewed one in its place. It "
        "must be this authority's, or lead to an authority named under officer-anchors in authority.toml."
    ),
    examples=["dojang ca officer add --certificate kim.pem --role registrar --role auditor"],
)
@option("--certificate", metavar="FILE", type=FilePath(), required=True, help=N_("His certificate, in PEM or DER."))
@option("--role", type=click.Choice(list(ROLES)), multiple=True, required=True, help=N_("What he may do; repeatable."))
@ca_option
def add(invocation: Invocation, certificate: Path, role: tuple[str, ...], ca: str | None) -> None:
    """The first certificate in the file; no PIN is asked. Officers make no officers, so it is done at the authority."""
    authority = chosen_authority(invocation, ca)
    check_is_here(authority)
    certificate_der = certificates_of(certificate)[0]
    if invocation.planned([say("Register the certificate in {path}", path=certificate)], authority=authority):
        return
    wanted = {"certificate": certificate_der.hex(), "roles": list(role)}
    answer = ordered(invocation, authority, "officer.add", wanted)
    one = answer["officer"]
    text = say("Officer {id}: {name} ({roles})", id=one["id"], name=one["name"], roles=one["roles"])
    invocation.result({"authority": authority, **answer}, text, quiet=[one["id"]])


@command(
    help=N_("List the officers and what each may do."),
    examples=["dojang ca officer list", "dojang ca officer list --ca office --json"],
)
@ca_option
@officer_option
def list_(invocation: Invocation, ca: str | None, officer: str | None) -> None:
    """No PIN is asked."""
    authority = chosen_authority(invocation, ca)
    found = ordered(invocation, authority, "officer.list", {}, officer)["officers"]
    columns = [N_("Officer"), N_("Name"), N_("May")]
    rows = [[one["id"], one["name"], "; ".join(_(ROLES[role]) for role in one["roles"])] for one in found]
    text = invocation.out.table(columns, rows) if rows else _("There are no officers.")
    invocation.result({"authority": authority, "officers": found}, text, quiet=[one["id"] for one in found])


@command(
    help=N_("Remove an officer; his certificate opens nothing from now on."),
    examples=["dojang ca officer remove 3fd0c19a7e42 --reason 'left'"],
)
@argument("officer", metavar="OFFICER")
@option("--reason", metavar="TEXT", help=N_("Why, for the record."))
@ca_option
def remove(invocation: Invocation, officer: str, reason: str | None, ca: str | None) -> None:
    """What he has approved stays approved."""
    authority = chosen_authority(invocation, ca)
    check_is_here(authority)
    if invocation.planned([say("Remove the officer {id}", id=officer)], authority=authority):
        return
    answer = ordered(invocation, authority, "officer.remove", {"officer": officer, "reason": reason})
    one = answer["officer"]
    text = say("{name} is no officer any more.", name=one["name"])
    invocation.result({"authority": authority, **answer}, text, quiet=[one["id"]])
