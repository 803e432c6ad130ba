"""Aligned columns; Korean letters take two cells on a terminal."""

from collections.abc import Sequence
from unicodedata import combining, east_asian_width


def width_of(text: str) -> int:
    """Cells that ``text`` takes on a terminal."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def plain_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Headings and rows, two blanks between columns."""
    lines = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(width_of(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(_line(line, widths) for line in lines)


def drawn_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same with rich's borders and colours; ``ImportError`` where rich is not installed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def printable(text: str) -> str:
    """A label from a token may hold anything: what a terminal would obey is shown as an escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - width_of(cell)) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()
