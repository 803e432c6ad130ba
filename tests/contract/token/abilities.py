"""What a token turned out to be able to do, and the table in the README that tells it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dojang import errors

T = TypeVar("T")

README = Path(__file__).parents[3] / "README.md"
BEGIN = "<!-- abilities: written by python -m tests.contract.token -->"
END = "<!-- end of abilities -->"
REFUSALS = (9, 10)
"""Exit statuses of a refusal: by policy, attribute or role, and because nobody can."""

ROWS = (
    "keys made",
    "keys imported",
    "RSA PKCS #1 v1.5 with SHA-",
    "RSA-PSS with SHA-",
    "ECDSA with SHA-",
    "Ed25519",
    "certificates stored",
    "data objects stored",
    "one-time passwords with SHA-",
    "PIN changed",
    "PIN locks",
    "PIN set by the SO",
    "`cert issue`",
    "`renew now`",
    "`sign`, `verify`",
)


class Abilities:
    """Ability by ability, in the words of the table: ``yes``, ``no``, or what there is of it."""

    def __init__(self) -> None:
        self._told: dict[str, list[str]] = {}

    def note(self, ability: str, what: str = "yes") -> None:
        """Write one down; several notes for one ability stand side by side."""
        assert ability in ROWS
        noted = self._told.setdefault(ability, [])
        if what not in noted:
            noted.append(what)

    def told(self) -> dict[str, str]:
        return {ability: ", ".join(self._told.get(ability, ["no"])) for ability in ROWS}


def attempt(work: Callable[[], T]) -> T | None:
    """What ``work`` makes, or ``None`` where it is refused in the right way: exit status 9 or 10, and nothing else."""
    try:
        return work()
    except errors.DojangError as error:
        if error.exit_status in REFUSALS:
            return None
        raise


def table(columns: dict[str, dict[str, str]]) -> str:
    """The table in Markdown: a column for each token, a row for each ability."""
    names = list(columns)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(columns[name][row] for name in names) + " |" for row in ROWS]
    return "\n".join(lines)


def columns_of(readme: str) -> dict[str, dict[str, str]]:
    """The table of a README, read back."""
    _, _, rest = readme.partition(BEGIN)
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in rest.partition(END)[0].split("\n") if line
    ]
    return {name: {row[0]: row[at] for row in rows} for at, name in enumerate(head) if at}


def rewritten(readme: str, columns: dict[str, dict[str, str]]) -> str:
    """The README with another table."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin
    assert end
    return f"{before}{BEGIN}\n{table(columns)}\n{END}{after}"
