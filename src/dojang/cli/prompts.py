"""Questions to a person at a terminal; what is typed for a secret stays hidden."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dojang.cli.language import _, say
from dojang.cli.table import plain_table
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.cli.password_check import PasswordCheck


def ask_line(question: str, default: str | None = None) -> str:
    """One line of text; an empty answer means ``default`` and is asked again where there is none."""
    suffix = f" [{default}]" if default else ""
    while True:
        sys.stderr.write(f"{question}{suffix}: ")
        sys.stderr.flush()
        with _line_ended():
            line = sys.stdin.readline()
        if not line:
            raise EOFError
        if answer := line.strip() or default:
            return answer


def ask_choice(question: str, columns: Sequence[str], rows: Sequence[Sequence[str]], default: int = 0) -> int:
    """The index of the row that was chosen by its number."""
    numbered = [[str(number), *row] for number, row in enumerate(rows, start=1)]
    sys.stderr.write(plain_table(["", *columns], numbered) + "\n")
    while True:
        answer = ask_line(question, str(default + 1))
        if answer.isdecimal() and 1 <= int(answer) <= len(rows):
            return int(answer) - 1
        sys.stderr.write(say("Type a number from 1 to {count}.", count=len(rows)) + "\n")


def ask_secret(question: str) -> Secret:
    """Something hidden, asked once."""
    from getpass import getpass

    with _line_ended():
        return Secret(getpass(f"{question}: ", stream=None))


@contextmanager
def _line_ended() -> Iterator[None]:
    """What is said after a question that was interrupted begins on a line of its own."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise


def ask_new_secret(question: str, check: "PasswordCheck | None" = None) -> Secret:
    """Something hidden that is about to be set: asked until it passes the check and two answers agree.

    On a terminal its strength is shown while it is typed.
    """
    while True:
        first = ask_secret(question) if check is None else _ask_metered(question, check)
        if problems := check.problems(first) if check is not None else []:
            sys.stderr.write(say("This password will not do: {problems}.", problems=problems) + "\n")
        elif first == ask_secret(_("The same again")):
            return first
        else:
            sys.stderr.write(_("The two answers differ; type it again.") + "\n")


def _ask_metered(question: str, check: "PasswordCheck") -> Secret:
    from dojang.cli.meter import can_be_metered, type_hidden

    if not can_be_metered():
        return ask_secret(question)
    with _line_ended():
        return Secret(type_hidden(question, check.verdict))
