"""``dojang ca enrolment``: who is to get which certificate, and the decisions about it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_orders import STATES, enrolment_lines, officer_option, ordered, state_words
from dojang.cli.context import Invocation
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import chosen_authority

limit_option = option(
    "--limit", metavar="N", type=click.IntRange(1, 1000), default=100, show_default=True, help=N_("How many.")
)


def show_list(
    invocation: Invocation, answer: Mapping[str, Any], text: str, shown: Sequence[str], limit: int, **more: object
) -> None:
    """A page of a list in an answer; ``shown`` names its entries. Where there may be more, say how to see it."""
    following = shown[-1] if len(shown) == limit else None
    if following is not None:
        text += "\n" + say("There may be more: --after {serial}", serial=following)
    invocation.result({**more, **answer, "next": following}, text, quiet=shown)


def page_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which enrolments a list shows, of which authority."""
    options = (
        option("--state", type=click.Choice(list(STATES)), multiple=True, help=N_("Only these; may be repeated.")),
        option("--after", metavar="REFERENCE", help=N_("The last one of the page before.")),
        limit_option,
        ca_option,
        officer_option,
    )
    for one in reversed(options):
        function = one(function)
    return function


def show_page(
    invocation: Invocation,
    ca: str | None,
    officer: str | None,
    wanted: Mapping[str, Any],
    columns: Sequence[str],
    row: Callable[[Mapping[str, Any]], Sequence[object]],
) -> None:
    """A page of enrolments, each as a row."""
    authority = chosen_authority(invocation, ca)
    answer = ordered(invocation, authority, "enrolment.list", wanted, officer)
    found = answer["enrolments"]
    text = invocation.out.table(columns, map(row, found)) if found else _("There are no enrolments.")
    references = [one["reference"] for one in found]
    show_list(invocation, answer, text, references, wanted["limit"], authority=authority)


def decide(
    invocation: Invocation, ca: str | None, officer: str | None, method: str, wanted: dict[str, Any], step: str
) -> None:
    """Give an order that moves one enrolment, and show where it stands now."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([step], authority=authority, reference=wanted["reference"]):
        return
    answer = ordered(invocation, authority, method, wanted, officer)
    enrolment = answer["enrolment"]
    text = "\n".join(enrolment_lines(enrolment))
    invocation.result({"authority": authority, **answer}, text, quiet=[enrolment["state"]])


@command(
    help=N_("List enrolments: who is to get which certificate, and where that stands."),
    examples=["dojang ca enrolment list --state waiting", "dojang ca enrolment list --json"],
)
@page_options
def list_(
    invocation: Invocation, state: tuple[str, ...], after: str | None, limit: int, ca: str | None, officer: str | None
) -> None:
    """No PIN is asked."""

    def row(one: Mapping[str, Any]) -> list[object]:
        return [one["reference"], state_words(one), one["subject"], one["profile"], one["created_by"]]

    columns = [N_("Reference number"), N_("State"), N_("Subject"), N_("Profile"), N_("Registered by")]
    show_page(invocation, ca, officer, {"states": list(state), "after": after, "limit": limit}, columns, row)


@command(
    help=N_("Show one enrolment and what is missing until its code works."),
    examples=["dojang ca enrolment show 4081160273"],
)
@argument("reference", metavar="REFERENCE")
@ca_option
@officer_option
def show(invocation: Invocation, reference: str, ca: str | None, officer: str | None) -> None:
    """No PIN is asked."""
    authority = chosen_authority(invocation, ca)
    answer = ordered(invocation, authority, "enrolment.show", {"reference": reference}, officer)
    enrolment = answer["enrolment"]
    text = "\n".join(enrolment_lines(enrolment))
    invocation.result({"authority": authority, **answer}, text, quiet=[enrolment["state"]])


@command(
    help=N_(
        "Approve an enrolment that somebody else has registered. Where the authority wants officers, name your "
        "credential with --officer: its key signs the approval, which is kept as evidence."
    ),
    examples=[
        "dojang ca enrolment approve 4081160273",
        "dojang ca enrolment approve 4081160273 --officer 'pkcs11:token=Kim;object=officer'",
    ],
)
@argument("reference", metavar="REFERENCE")
@ca_option
@officer_option
def approve(invocation: Invocation, reference: str, ca: str | None, officer: str | None) -> None:
    """Never by who registered it."""
    step = say("Approve {reference}", reference=reference)
    decide(invocation, ca, officer, "enrolment.approve", {"reference": reference}, step)


@command(
    help=N_("Refuse an enrolment that is not approved yet; its code never works."),
    examples=["dojang ca enrolment refuse 4081160273 --reason 'identity not proved'"],
)
@argument("reference", metavar="REFERENCE")
@option("--reason", metavar="TEXT", required=True, help=N_("Why, for the record."))
@ca_option
@officer_option
def refuse(invocation: Invocation, reference: str, reason: str, ca: str | None, officer: str | None) -> None:
    """For good."""
    step = say("Refuse {reference}", reference=reference)
    decide(invocation, ca, officer, "enrolment.refuse", {"reference": reference, "reason": reason}, step)
