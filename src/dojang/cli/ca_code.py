"""``dojang ca code``: reference numbers and authorization codes, shown once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_enrolment import decide, page_options, show_page
from dojang.cli.ca_orders import (
    day_and_time,
    enrolment_lines,
    moment,
    officer_option,
    ordered,
    state_words,
)
from dojang.cli.context import Invocation
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, _, say, speak, spoken
from dojang.cli.workplace import chosen_authority, open_authority_named
from dojang.errors import AlreadyExists, FileUnwritable

_LETTER = N_(
    "Certificate authority {authority}\n{url}\n"
    "    Reference number    {reference}\n"
    "    Authorization code  {code}\n\n"
    "They let you ask once for this certificate, until {until}:\n\n"
    "    Subject  {subject}\n"
    "    Profile  {profile}\n\n"
    "Tell the code to nobody. After several wrong codes the reference number is locked; the office can unlock it.\n"
)


@command(
    help=N_(
        "Make a reference number and an authorization code, with which somebody asks once for a certificate of this "
        "profile and subject. The code is shown now and never again. It works at once, unless the profile requires "
        "identity checks (--applicant, or --pre-authorised where you vouch for them) or somebody else has to approve."
    ),
    examples=[
        "dojang ca code new --profile personal --subject 'CN=Hong Gildong,C=KR'",
        "dojang ca code new --profile personal --subject 'CN=홍길동,C=KR' --applicant 5f0c3a9b21 --output letter.txt",
        "dojang ca code new --profile tls-server --subject 'CN=www.example.com' --alternative-name dns:www.example.com",
    ],
)
@option("--profile", metavar="PROFILE", required=True, help=N_("Which kind of certificate; see 'dojang ca profiles'."))
@option("--subject", metavar="DN", required=True, help=N_("Name in the certificate."))
@option("--alternative-name", metavar="NAME", multiple=True, help=N_("Further name, as in dns:NAME or email:ADDRESS."))
@option("--applicant", metavar="ID", help=N_("Whose certificate it will be; his identity checks count."))
@option("--pre-authorised", is_flag=True, help=N_("You vouch for the identity; the profile's checks are not required."))
@option("--years", metavar="N", type=click.IntRange(1), help=N_("Term, where the profile leaves a choice."))
@option("--valid-days", metavar="N", type=click.IntRange(1), help=N_("How long the code may be used; 14 unless set."))
@option("--uses", metavar="N", type=click.IntRange(1), help=N_("How often it works; for authorities for tests alone."))
@option("--output", "-o", metavar="FILE", type=FilePath(), help=N_("Write a letter there instead of showing the code."))
@ca_option
@officer_option
def new(
    invocation: Invocation,
    profile: str,
    subject: str,
    alternative_name: tuple[str, ...],
    applicant: str | None,
    pre_authorised: bool,
    years: int | None,
    valid_days: int | None,
    uses: int | None,
    output: Path | None,
    ca: str | None,
    officer: str | None,
) -> None:
    """The code goes to standard output or into the letter, and nowhere else."""
    authority = chosen_authority(invocation, ca).rstrip("/")
    plan = [say("Make a code for {subject} by the profile {profile}", subject=subject, profile=profile)]
    if invocation.planned(plan, authority=authority):
        return
    if output is not None and output.exists():
        raise AlreadyExists(what=str(output), where=output.absolute().parent)
    wanted: dict[str, Any] = {
        "profile": profile,
        "subject": subject,
        "alternative_names": list(alternative_name),
        "applicant": applicant,
        "pre_authorised": pre_authorised,
        "years": years,
        "valid_days": valid_days,
        "uses": uses,
    }
    answer = ordered(invocation, authority, "code.new", wanted, officer)
    enrolment, code, url = answer["enrolment"], answer["code"], _asked_at(invocation, authority)
    if output is not None:
        _write_letter(invocation, authority, url, enrolment, code, output, officer)
    _show_new(invocation, authority, url, enrolment, code if output is None else None, output)


def _asked_at(invocation: Invocation, authority: str) -> str | None:
    """Where whoever has the code uses it, as far as that is known: at the centre that others know."""
    from dojang.cmp.urls import is_url, url_of

    if is_url(authority):
        return url_of(authority.rpartition("/")[2], authority)
    with open_authority_named(invocation, authority) as opened:
        address = opened.settings.address
    return None if address is None else url_of(authority, address)


def _show_new(
    invocation: Invocation,
    authority: str,
    url: str | None,
    enrolment: dict[str, Any],
    code: str | None,
    output: Path | None,
) -> None:
    reference, lines = enrolment["reference"], enrolment_lines(enrolment)
    if url is not None:
        lines.append(say("To be used at: {url}", url=url))
    if code is not None:
        lines.insert(1, say("Authorization code: {code}", code=code))
        lines.append(_("The code is not shown again."))
    else:
        lines.append(say("The letter with the code: {path}", path=output))
    steps = _still_to_do(authority, enrolment)
    if steps:
        lines += ["", _("The code does not work yet. What is still to be done:"), *(f"  {step}" for step in steps)]
    data = {"authority": authority, "url": url, "enrolment": enrolment, "reference": reference, "code": code}
    data |= {"output": output, "next": steps}
    invocation.result(data, "\n".join(lines), quiet=[reference, *([] if code is None else [code])])


def _still_to_do(authority: str, enrolment: Mapping[str, Any]) -> list[str]:
    """The commands by which the code becomes one that works: each missing check, each missing approval."""
    missing, applicant = enrolment["missing"], enrolment["applicant"]
    check = f"dojang ca check add {applicant} --ca {authority} --kind {{}} --evidence FILE"
    approve = f"dojang ca enrolment approve {enrolment['reference']} --ca {authority}"
    return [*map(check.format, missing["checks"]), *[approve] * missing["approvals"]]


def _write_letter(
    invocation: Invocation,
    authority: str,
    url: str | None,
    enrolment: dict[str, Any],
    code: str,
    path: Path,
    officer: str | None,
) -> None:
    """Readable by its owner only. Where it cannot be written the code is worth nothing, and goes."""
    facts = {name: enrolment[name] for name in ("reference", "subject", "profile")}
    facts |= {"authority": authority.rpartition("/")[2], "url": "" if url is None else f"{url}\n"}
    letter = _in_both_languages(code=code, until=moment(enrolment["expires_at"]), **facts)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(letter)
    except OSError as error:
        wanted = {"reference": enrolment["reference"], "reason": "letter"}
        ordered(invocation, authority, "code.cancel", wanted, officer)
        raise FileUnwritable(path=path, problem=error.strerror or str(error)) from error


def _in_both_languages(**facts: object) -> str:
    ours, letters = spoken(), []
    try:
        for language in ("ko", "en"):
            speak(language)
            letters.append(say(_LETTER, **facts))
    finally:
        speak(ours)
    return "\n".join(letters)


@command(
    help=N_("List reference numbers: their state, until when they may be used, and wrong tries. Codes are not kept."),
    examples=["dojang ca code list", "dojang ca code list --state locked --json"],
)
@page_options
def list_(
    invocation: Invocation, state: tuple[str, ...], after: str | None, limit: int, ca: str | None, officer: str | None
) -> None:
    """No PIN is asked."""

    def row(one: Mapping[str, Any]) -> list[object]:
        return [one["reference"], state_words(one), day_and_time(one["expires_at"]), one["wrong_tries"]]

    columns = [N_("Reference number"), N_("State"), N_("Usable until"), N_("Wrong tries")]
    show_page(invocation, ca, officer, {"states": list(state), "after": after, "limit": limit}, columns, row)


@command(
    help=N_("Cancel a reference number; its code never works again."),
    examples=["dojang ca code cancel 4081160273 --reason 'letter lost'"],
)
@argument("reference", metavar="REFERENCE")
@option("--reason", metavar="TEXT", help=N_("Why, for the record."))
@ca_option
@officer_option
def cancel(invocation: Invocation, reference: str, reason: str | None, ca: str | None, officer: str | None) -> None:
    """What was used already is not touched."""
    step = say("Cancel {reference}", reference=reference)
    decide(invocation, ca, officer, "code.cancel", {"reference": reference, "reason": reason}, step)


@command(
    help=N_("Unlock a reference number that was locked after wrong tries; the same code works again."),
    examples=["dojang ca code unlock 4081160273"],
)
@argument("reference", metavar="REFERENCE")
@ca_option
@officer_option
def unlock(invocation: Invocation, reference: str, ca: str | None, officer: str | None) -> None:
    """Only an officer does; time does not."""
    step = say("Unlock {reference}", reference=reference)
    decide(invocation, ca, officer, "code.unlock", {"reference": reference}, step)
