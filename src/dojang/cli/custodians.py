"""Custodians at a terminal: each sees his share once, alone, and types it back unseen."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.errors import InputRequired, SharesUnusable

if TYPE_CHECKING:
    from dojang.lifecycle.shares import Share
    from dojang.secret import Secret

_CLEAR = "\033[2J\033[3J\033[H"
_OTHER_SCREEN, _FIRST_SCREEN = "\033[?1049h", "\033[?1049l"


def show_each(invocation: Invocation, text_of: "Callable[[Share, str], str]") -> "Callable[[Share, str], None]":
    """What shows one share to its custodian; ``InputRequired`` where nobody would see it."""
    if not invocation.can_ask or not sys.stderr.isatty():
        raise InputRequired(what=N_("A terminal for the custodians"), option="--into FOLDER")

    def show(share: "Share", check: str) -> None:
        whose = say(
            "Share {number} of {shares}: only its custodian should see the next screen.",
            number=share.number,
            shares=share.shares,
        )
        sys.stderr.write(f"{whose}\n")
        _wait(_("Press Enter to see it"))
        with _screen_of_its_own():
            sys.stderr.write(f"{text_of(share, check)}\n")
            _wait(_("Press Enter when it is written down; it is not shown again"))

    return show


def typed_shares(invocation: Invocation) -> "list[Secret]":
    """As many shares as the key needs, one after the other; a mistake is told at once, and only that share typed again.

    An empty line ends before that.
    """
    if not invocation.can_ask:
        raise InputRequired(what=N_("A share of the key"), option="--share FILE")
    from dojang.cli.prompts import ask_secret
    from dojang.lifecycle.shares import how_many_missing

    found: list[Secret] = []
    while not found or how_many_missing(found):
        typed = ask_secret(say("Words of share {number}, or nothing to end", number=len(found) + 1))
        if not typed:
            break
        try:
            how_many_missing([*found, typed])
        except SharesUnusable as error:
            sys.stderr.write(f"{message_of(error)}\n{advice_of(error)}\n")
        else:
            found.append(typed)
    return found


@contextmanager
def _screen_of_its_own() -> Iterator[None]:
    """Nothing of it stays, however it ends: terminals keep no lines of the other screen to scroll back to."""
    sys.stderr.write(_OTHER_SCREEN + _CLEAR)
    try:
        yield
    finally:
        sys.stderr.write(_CLEAR + _FIRST_SCREEN)
        sys.stderr.flush()


def _wait(question: str) -> None:
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    if not sys.stdin.readline():
        raise EOFError
