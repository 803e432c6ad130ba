"""Aligned columns; Korean letters take two cells on a terminal."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from unicodedata import combining, east_asian_width

_HANGUL: Final = re.compile("[ -~가-힣]*")
_COLOURS: Final = {"red": "31", "yellow": "33", "green": "32", "dim": "2"}


class Coloured(str):
    """A cell that is red, yellow, green or dim where colours are shown, and plain text everywhere else."""

    colour: str

    def __new__(cls, text: object, colour: str) -> "Coloured":
        cell = super().__new__(cls, text)
        cell.colour = colour
        return cell


def width_of(text: str) -> int:
    """Cells that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    if _HANGUL.fullmatch(text):  # three octets in UTF-8, two cells
        return len(text) + (len(text.encode()) - len(text)) // 2
    return sum(map(_cells, text))


@lru_cache(maxsize=4096)
def _cells(character: str) -> int:
    return 0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, colours: bool = False) -> str:
    """Headings and rows, two blanks between columns."""
    lines = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(_line(line, widths, colours) for line in lines)


def drawn_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same with rich's borders and colours; ``ImportError`` where rich is not installed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell), style=getattr(cell, "colour", "")) for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def printable(text: str) -> str:
    """A label from a token may hold anything: what a terminal would obey is shown as an escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _line(cells: Sequence[str], widths: Sequence[int], colours: bool) -> str:
    padded = [cell + " " * (width - width_of(cell)) for cell, width in zip(cells, widths, strict=True)]
    padded[-1] = cells[-1]
    if colours:
        padded = [_in_colour(cell, text) for cell, text in zip(cells, padded, strict=True)]
    return "  ".join(padded).rstrip()


def _in_colour(cell: str, text: str) -> str:
    colour = _COLOURS.get(getattr(cell, "colour", ""))
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text
