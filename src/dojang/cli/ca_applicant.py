"""``dojang ca applicant`` and ``dojang ca check``: who wants a certificate, and what was checked of his identity."""

import hashlib
from typing import Any

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_enrolment import limit_option, show_list
from dojang.cli.ca_orders import moment, officer_option, ordered
from dojang.cli.context import Invocation
from dojang.cli.files import read_file
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import chosen_authority
from dojang.errors import Phrase, Usage
from dojang.settings import LANGUAGES

REMOVABLE = ("email", "phone", "address", "contact-name")
KINDS = {"person": N_("person"), "business": N_("business")}


@command(
    help=N_(
        "Add an applicant. With --number-source a resident or business number tells whether he is known already; only "
        "a hash of it is kept, made with a key on the authority's token."
    ),
    examples=[
        "dojang ca applicant add --kind person --name '홍길동' --email hong@example.com",
        "dojang ca applicant add --kind business --name 'Example Inc.' --number-source prompt",
    ],
)
@option("--kind", type=click.Choice(list(KINDS)), default="person", show_default=True, help=N_("Person or business."))
@option("--name", metavar="NAME", required=True, help=N_("Name of the person or the business."))
@option("--email", metavar="ADDRESS", help=N_("E-mail address."))
@option("--phone", metavar="NUMBER", help=N_("Telephone number."))
@option("--address", metavar="TEXT", help=N_("Postal address."))
@option("--contact-name", metavar="NAME", help=N_("Who speaks for a business."))
@option("--language", type=click.Choice(LANGUAGES), help=N_("Language of messages to the applicant; ko unless said."))
@option("--number-source", metavar="SRC", help=N_("Where the resident or business number comes from."))
@ca_option
@officer_option
def add(
    invocation: Invocation,
    kind: str,
    name: str,
    email: str | None,
    phone: str | None,
    address: str | None,
    contact_name: str | None,
    language: str | None,
    number_source: str | None,
    ca: str | None,
    officer: str | None,
) -> None:
    """The PIN of the authority's token is asked only for a number."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Add the applicant {name}", name=name)], authority=authority):
        return
    wanted: dict[str, Any] = {"kind": kind, "name": name, "email": email, "phone": phone, "address": address}
    wanted |= {"contact-name": contact_name, "language": language}
    if number_source is not None:
        number = invocation.secrets.number(number_source, "--number-source")
        wanted["number"] = number if officer is None else number.reveal().decode()
    answer = ordered(invocation, authority, "applicant.add", wanted, officer)
    one = answer["applicant"]
    text = say("Applicant {id}: {name}", id=one["id"], name=one["name"])
    invocation.result({"authority": authority, **answer}, text, quiet=[one["id"]])


@command(
    help=N_(
        "Change how an applicant is reached. Codes that are on their way to where he was reached before are worthless "
        "from then on."
    ),
    examples=[
        "dojang ca applicant change 5f0c3a9b21 --phone 010-1234-5678",
        "dojang ca applicant change 5f0c3a9b21 --email hong@example.com --without phone",
    ],
)
@argument("applicant", metavar="APPLICANT")
@option("--email", metavar="ADDRESS", help=N_("E-mail address."))
@option("--phone", metavar="NUMBER", help=N_("Telephone number."))
@option("--address", metavar="TEXT", help=N_("Postal address."))
@option("--contact-name", metavar="NAME", help=N_("Who speaks for a business."))
@option("--language", type=click.Choice(LANGUAGES), help=N_("Language of messages to the applicant."))
@option(
    "--without",
    type=click.Choice(REMOVABLE),
    multiple=True,
    help=N_("Take off record how the applicant is no longer reached; can be repeated."),
)
@ca_option
@officer_option
def change(
    invocation: Invocation,
    applicant: str,
    email: str | None,
    phone: str | None,
    address: str | None,
    contact_name: str | None,
    language: str | None,
    without: tuple[str, ...],
    ca: str | None,
    officer: str | None,
) -> None:
    """No PIN of the authority is asked."""
    authority = chosen_authority(invocation, ca)
    wanted = {"email": email, "phone": phone, "address": address, "contact-name": contact_name, "language": language}
    changed = [name for name, text in wanted.items() if text is not None]
    if not changed and not without:
        raise Usage(problem=N_("say what is to change: --phone, --email or another"))
    if overlap := sorted({*changed} & {*without}):
        raise Usage(problem=Phrase(N_("{what} cannot be both changed and removed"), what=", ".join(overlap)))
    plan = say("Change of the applicant {id}: {what}", id=applicant, what=[*changed, *without])
    if invocation.planned([plan], authority=authority):
        return
    arguments = {"applicant": applicant, "without": list(without), **wanted}
    answer = ordered(invocation, authority, "applicant.change", arguments, officer)
    text = say("The applicant {id} was changed: {what}.", id=applicant, what=[*changed, *without])
    invocation.result({"authority": authority, **answer}, text, quiet=[applicant])


@command(
    help=N_("List the applicants of an authority, in the order in which they were added."),
    examples=["dojang ca applicant list", "dojang ca applicant list --after 5f0c3a9b21 --limit 20 --json"],
)
@option("--after", metavar="ID", help=N_("The last one of the page before."))
@limit_option
@ca_option
@officer_option
def list_(invocation: Invocation, after: str | None, limit: int, ca: str | None, officer: str | None) -> None:
    """No PIN is asked."""
    authority = chosen_authority(invocation, ca)
    answer = ordered(invocation, authority, "applicant.list", {"after": after, "limit": limit}, officer)
    found = answer["applicants"]
    columns = [N_("Applicant"), N_("Kind"), N_("Name"), N_("Since")]
    rows = [[one["id"], _kind(one), one["name"], one["registered_at"][:10]] for one in found]
    text = invocation.out.table(columns, rows) if rows else _("There are no applicants yet.")
    show_list(invocation, answer, text, [one["id"] for one in found], limit, authority=authority)


@command(
    help=N_("Show an applicant, the identity checks on record and the enrolments."),
    examples=["dojang ca applicant show 5f0c3a9b21"],
)
@argument("applicant", metavar="APPLICANT")
@ca_option
@officer_option
def show(invocation: Invocation, applicant: str, ca: str | None, officer: str | None) -> None:
    """No PIN is asked."""
    authority = chosen_authority(invocation, ca)
    answer = ordered(invocation, authority, "applicant.show", {"applicant": applicant}, officer)
    one = answer["applicant"]
    lines = [say("Applicant {id}: {name}", id=one["id"], name=one["name"]), _kind(one)]
    lines += [f"{key}: {value}" for key, value in one["contact"].items()]
    lines += [
        say(
            "Checked: {kind}, {at}, by {actor}",
            kind=check["kind"],
            at=moment(check["checked_at"]),
            actor=check["checked_by"],
        )
        for check in answer["checks"]
    ]
    lines += [say("Reference number: {reference}", reference=code["reference"]) for code in answer["enrolments"]]
    invocation.result({"authority": authority, **answer}, "\n".join(lines), quiet=[one["id"]])


def _kind(one: dict[str, Any]) -> str:
    kind = one["kind"]
    return _(KINDS[kind])


@command(
    help=N_(
        "Put an identity check on record: who, when, what kind, and the SHA-256 of its evidence, which stays with you. "
        "Codes that waited for it become usable. The kinds are those that profiles require."
    ),
    examples=[
        "dojang ca check add 5f0c3a9b21 --kind in-person --evidence passport.jpg",
        "dojang ca check add 5f0c3a9b21 --kind phone-ars --evidence-text 'call 2026-11-22 14:03, no. 8841'",
    ],
)
@argument("applicant", metavar="APPLICANT")
@option("--kind", metavar="KIND", required=True, help=N_("Which check, as 'dojang ca profiles' names it."))
@option("--evidence", metavar="FILE", help=N_("File whose SHA-256 is kept."))
@option("--evidence-text", metavar="TEXT", help=N_("Or a text whose SHA-256 is kept."))
@ca_option
@officer_option
def check(
    invocation: Invocation,
    applicant: str,
    kind: str,
    evidence: str | None,
    evidence_text: str | None,
    ca: str | None,
    officer: str | None,
) -> None:
    """No PIN of the authority is asked."""
    if (evidence is None) == (evidence_text is None):
        raise Usage(problem=N_("give either --evidence or --evidence-text"))
    content = read_file(evidence) if evidence is not None else str(evidence_text).encode()
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Record the check {kind} of {applicant}", kind=kind, applicant=applicant)]):
        return
    wanted = {"applicant": applicant, "kind": kind, "evidence": hashlib.sha256(content).hexdigest()}
    answer = ordered(invocation, authority, "check.add", wanted, officer)
    text = say("The check {kind} of {applicant} is on record.", kind=kind, applicant=applicant)
    invocation.result({"authority": authority, **answer}, text, quiet=[answer["check"]["evidence"]])
