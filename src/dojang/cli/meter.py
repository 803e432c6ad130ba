"""Typing a new secret on a terminal: nothing of it is shown, but how strong it is so far is."""

import codecs
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_END, _ERASE, _CLEAR, _STOP = "\r\n", "\x7f\b", "\x15", "\x04"
_ESCAPE = "\x1b"
_NARROWEST = 20  # a terminal that does not know its width says 0


def can_be_metered() -> bool:
    """Whether a person types on a terminal that lines can be drawn on again and again."""
    return sys.platform != "win32" and sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def type_hidden(question: str, verdict: Callable[[str], str]) -> str:
    """One line that is typed unseen, while ``verdict`` says on standard error what it thinks of it so far.

    ``EOFError`` and ``KeyboardInterrupt`` as with any line; the terminal is left as it was found.
    """
    with _unseen(sys.stdin.fileno()):
        text, before = "", _before(question)
        _draw(before)
        for character in _typed(sys.stdin.fileno()):
            if character in _END:
                break
            if character == _STOP and not text:
                raise EOFError
            text = _after(text, character)
            _draw(before + (verdict(text) if text else ""))
        sys.stderr.write("\n")
        sys.stderr.flush()
        return text


def _after(text: str, character: str) -> str:
    if character in _ERASE:
        return text[:-1]
    if character == _CLEAR:
        return ""
    return text + character if character.isprintable() else text


def _before(question: str) -> str:
    """What the line begins with: the question, or nothing where that is long and has a line of its own."""
    asked = f"{question}: "
    if len(_cut(asked, _room() // 2)) == len(asked):
        return asked
    sys.stderr.write(f"{asked}\n")
    return ""


def _draw(line: str) -> None:
    """What does not fit is left out, because a line that wraps cannot be drawn again."""
    sys.stderr.write(f"\r{_cut(line, _room())}\x1b[K")
    sys.stderr.flush()


def _room() -> int:
    return max(os.get_terminal_size(sys.stderr.fileno()).columns, _NARROWEST) - 1


def _cut(text: str, room: int) -> str:
    for position, character in enumerate(text):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return text[:position]
    return text


def _typed(descriptor: int) -> Iterator[str]:
    """Character by character, so that what follows the line stays for the next question; keys that are none skipped."""
    decode = codecs.getincrementaldecoder(sys.stdin.encoding or "utf-8")("replace").decode
    in_escape = False
    while octet := os.read(descriptor, 1):
        for character in decode(octet):
            if in_escape:
                in_escape = character in "[O;" or character.isdigit()
            elif character == _ESCAPE:
                in_escape = True
            else:
                yield character
    raise EOFError


@contextmanager
def _unseen(descriptor: int) -> Iterator[None]:
    """Neither echo nor lines; Ctrl-C still interrupts."""
    import termios

    before = termios.tcgetattr(descriptor)
    unseen = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
    termios.tcsetattr(descriptor, termios.TCSADRAIN, unseen)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
