"""``dojang otp card``: security cards, printed once, and what is asked of them."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dojang.cli.ca import ca_option
from dojang.cli.ca_enrolment import limit_option, show_list
from dojang.cli.ca_orders import day_and_time, moment, officer_option, ordered
from dojang.cli.context import Invocation
from dojang.cli.files import check_writable
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import chosen_authority
from dojang.errors import AlreadyExists, AuthorityUnreachable, Phrase

STATES = {
    "unprinted": N_("not printed"),
    "active": N_("in use"),
    "locked": N_("locked"),
    "removed": N_("removed"),
}

number_argument = argument("number", metavar="NUMBER")


@command(
    help=N_(
        "Make a security card for an applicant: a table of codes that the authority's token draws and keeps encrypted. "
        "It is printed into one PDF, now and never again; a second print is another card. Until the file is whole, "
        "nobody is asked for the card; from then on the applicant's card of before is worth nothing."
    ),
    examples=[
        "dojang otp card new --ca office --applicant 5f0c3a9b21 -o card.pdf",
        "dojang otp card new --applicant 5f0c3a9b21 --paper card -o card.pdf",
    ],
)
@option("--applicant", metavar="ID", required=True, help=N_("Whose card it is; see 'dojang ca applicant list'."))
@option("-o", "--output", "output", metavar="FILE", type=FilePath(), required=True, help=N_("PDF to write."))
@option(
    "--paper",
    type=click.Choice(("a4", "card")),
    default="a4",
    show_default=True,
    help=N_("A sheet to cut the card out of, or the card alone in the size of a bank card."),
)
@ca_option
@officer_option
def new(invocation: Invocation, applicant: str, output: Path, paper: str, ca: str | None, officer: str | None) -> None:
    """The codes go into the file and nowhere else."""
    from dojang.otp.cards.paper import grouped, load

    authority = chosen_authority(invocation, ca)
    plan = [say("Make a security card for {applicant}", applicant=applicant), say("Print it into {file}", file=output)]
    if invocation.planned(plan, authority=authority):
        return
    load()
    if output.exists():
        raise AlreadyExists(what=str(output), where=output.absolute().parent)
    check_writable(output)
    answer = ordered(invocation, authority, "card.new", {"applicant": applicant}, officer)
    printed = _print(invocation, authority, answer, output, paper, officer)
    number, replaced = grouped(printed["card"]["number"]), printed["replaced"]
    lines = [say("Security card {number} for {applicant}: {file}", number=number, applicant=applicant, file=output)]
    lines += [say("Security card {number}: {state}", number=grouped(one), state=_("ended by it")) for one in replaced]
    lines.append(_("It is not printed again. Hand it over, and delete the file."))
    data = {"authority": authority, **printed, "file": output}
    invocation.result(data, "\n".join(lines), quiet=[printed["card"]["number"]])


def _print(
    invocation: Invocation, authority: str, made: Mapping[str, Any], output: Path, paper: str, officer: str | None
) -> dict[str, Any]:
    """Written aside and renamed, readable by its owner; only then the card counts. What fails leaves neither; but where
    nobody knows whether it counts, and the card of before has ended, the file stays.
    """
    from dojang.npki.files import write_file
    from dojang.otp.cards.paper import Face, pdf_of

    card = made["card"]
    try:
        face = Face(card["number"], made["issuer"], moment(card["created_at"]))
        write_file(output, pdf_of(face, made["codes"], paper))
        return _noted(invocation, authority, card["number"], output, officer)
    except AuthorityUnreachable:
        raise
    except Exception:
        with contextlib.suppress(OSError):
            output.unlink(missing_ok=True)
        ordered(invocation, authority, "card.remove", {"card": card["number"], "reason": "not printed"}, officer)
        raise


def _noted(invocation: Invocation, authority: str, number: str, output: Path, officer: str | None) -> dict[str, Any]:
    """That it is printed; said once more where the answer was lost, which changes nothing where it was heard."""
    from dojang.otp.cards.paper import grouped

    with contextlib.suppress(AuthorityUnreachable):
        return ordered(invocation, authority, "card.printed", {"card": number}, officer)
    try:
        return ordered(invocation, authority, "card.printed", {"card": number}, officer)
    except AuthorityUnreachable as error:
        raise AuthorityUnreachable(
            authority=authority,
            problem=Phrase("nobody knows whether it has taken note of card {number}", number=grouped(number)),
            next_step=Phrase(
                "Keep {file} until 'dojang otp card list' tells: if the card is not in use there, delete the file and "
                "make another.",
                file=output,
            ),
        ) from error


@command(
    help=N_("List security cards: whose they are, whether they are in use, and wrong answers. Codes are not shown."),
    examples=["dojang otp card list --ca office", "dojang otp card list --applicant 5f0c3a9b21 --json"],
)
@option("--applicant", metavar="ID", help=N_("Only the cards of this applicant."))
@option("--after", metavar="NUMBER", help=N_("The last one of the page before."))
@limit_option
@ca_option
@officer_option
def list_(
    invocation: Invocation, applicant: str | None, after: str | None, limit: int, ca: str | None, officer: str | None
) -> None:
    """No PIN is asked."""
    from dojang.otp.cards.paper import grouped

    authority = chosen_authority(invocation, ca)
    wanted = {"applicant": applicant, "after": after, "limit": limit}
    answer = ordered(invocation, authority, "card.list", wanted, officer)
    found = answer["cards"]
    columns = [N_("Card"), N_("Applicant"), N_("State"), N_("Wrong tries"), N_("Since")]
    rows = [
        [grouped(one["number"]), one["applicant"], _state(one), one["wrong_tries"], day_and_time(one["created_at"])]
        for one in found
    ]
    text = invocation.out.table(columns, rows) if rows else _("There are no security cards.")
    show_list(invocation, answer, text, [one["number"] for one in found], limit, authority=authority)


@command(
    help=N_(
        "Ask something of a card: the first two digits of the code at one place and the last two at another. The same "
        "is asked until it is answered."
    ),
    examples=["dojang otp card challenge 4073-1234-5678 --ca office"],
)
@number_argument
@ca_option
@officer_option
def challenge(invocation: Invocation, number: str, ca: str | None, officer: str | None) -> None:
    """The token is asked only when something new is to be asked."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Ask something of card {number}", number=number)], authority=authority):
        return
    answer = ordered(invocation, authority, "card.challenge", {"card": number}, officer)
    card = answer["card"]
    text = say(
        "The first two digits of number {first}, then the last two digits of number {second}",
        first=card["first"],
        second=card["second"],
    )
    invocation.result({"authority": authority, **answer}, text, quiet=[f"{card['first']} {card['second']}"])


@command(
    help=N_(
        "Check the four digits that answer what was asked of a card. They are taken once; a wrong answer is counted, "
        "and the same is asked again, until the card is locked."
    ),
    examples=["dojang otp card verify 4073-1234-5678 --code-source prompt --ca office"],
)
@number_argument
@option("--code-source", metavar="SRC", help=N_("Where the answer comes from; a person types it unless said."))
@ca_option
@officer_option
def verify(invocation: Invocation, number: str, code_source: str | None, ca: str | None, officer: str | None) -> None:
    """Exit status 13 for a wrong answer, 8 for a locked card."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Check an answer of card {number}", number=number)], authority=authority):
        return
    purpose = Phrase(N_("answer of the card"))
    typed = invocation.secrets.typed(code_source, "--code-source", purpose, _("Four digits"))
    given = typed if officer is None else typed.reveal().decode("utf-8", "replace")
    answer = ordered(invocation, authority, "card.verify", {"card": number, "answer": given}, officer)
    invocation.result({"authority": authority, "valid": True, **answer}, _("The answer is right."))


@command(
    help=N_("Unlock a card after too many wrong answers; what was asked of it is asked again."),
    examples=["dojang otp card unlock 4073-1234-5678 --ca office"],
)
@number_argument
@ca_option
@officer_option
def unlock(invocation: Invocation, number: str, ca: str | None, officer: str | None) -> None:
    """Only an officer does; time does not."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Unlock card {number}", number=number)], authority=authority):
        return
    _show(invocation, authority, ordered(invocation, authority, "card.unlock", {"card": number}, officer))


@command(
    help=N_("Remove a card that was lost, replaced or never printed; nothing of its codes is kept."),
    examples=["dojang otp card delete 4073-1234-5678 --yes 4073-1234-5678 --reason lost --ca office"],
)
@number_argument
@option("--yes", metavar="NUMBER", help=N_("The card's number once more, to show that this one is meant."))
@option("--reason", metavar="TEXT", help=N_("Why, for the record."))
@ca_option
@officer_option
def delete(
    invocation: Invocation, number: str, yes: str | None, reason: str | None, ca: str | None, officer: str | None
) -> None:
    """Its number is typed or passed once more. One that was removed already stays so."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Remove card {number} for good", number=number)], authority=authority):
        return
    what = say("card {number}", number=number)
    invocation.confirm_serial(number, yes, what=what, option="--yes NUMBER", question=N_("The card's number"))
    wanted = {"card": number, "reason": reason}
    _show(invocation, authority, ordered(invocation, authority, "card.remove", wanted, officer))


def _show(invocation: Invocation, authority: str, answer: Mapping[str, Any]) -> None:
    from dojang.otp.cards.paper import grouped

    card = answer["card"]
    text = say("Security card {number}: {state}", number=grouped(card["number"]), state=_state(card))
    invocation.result({"authority": authority, **answer}, text, quiet=[card["state"]])


def _state(card: Mapping[str, Any]) -> str:
    state = card["state"]
    return _(STATES[state])
