"""Everything a command prints: one JSON document or text on standard output, the rest on standard error."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from dojang.cli.flags import Flags
from dojang.cli.language import _, advice_of, harmless, message_of, say
from dojang.cli.progress import Progress
from dojang.cli.remarks import remark
from dojang.cli.table import plain_table
from dojang.errors import DojangError
from dojang.secret import Secret

SCHEMA = 1
_MOST_DRAWN = 200  # rows; drawing more takes longer than finding them
_PIN_IN_ADDRESS = re.compile(r"pin-value=[^&;)\s'\"]*")


class Output:
    """Writes what a command found or did, in the form the flags ask for."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self.answered = False
        self.ending: Callable[[Mapping[str, Any]], None] | None = None
        """Ends a JSON document that has been begun, with what a failure has to say."""

    def result(
        self, command: str, data: Mapping[str, Any], text: str | Callable[[], str], *, quiet: Iterable[str] = ()
    ) -> None:
        """The one result: ``data`` with ``--json``, the lines of ``quiet`` with ``--quiet``, else ``text``."""
        self.answered = True
        if self.flags.json:
            self._json({"schema": SCHEMA, "command": command, "ok": True, "data": data})
        elif self.flags.quiet:
            _write("".join(f"{line}\n" for line in quiet))
        else:
            words = text if isinstance(text, str) else text()
            _write(f"{words}\n" if words else "")

    def line(self, text: str, *, quiet: str) -> None:
        """One of many results, as soon as it is there: ``quiet`` with ``--quiet``, nothing with ``--json``."""
        if not self.flags.json:
            sys.stdout.write(f"{quiet if self.flags.quiet else text}\n")

    def failure(self, command: str, error: DojangError) -> None:
        """What went wrong and what to do next."""
        if not self.flags.json:
            self._tell(say("Error: {message}", message=message_of(error)))
            self._tell(say("Next: {advice}", advice=advice_of(error)))
        elif self.ending is not None:
            self.ending({"ok": False, "error": report_of(error)})
        else:
            self._json({"schema": SCHEMA, "command": command, "ok": False, "error": report_of(error)})

    def note(self, text: str) -> None:
        """Something worth knowing on the way; not with ``--quiet``."""
        if not self.flags.quiet:
            self._tell(text)

    def request(self, text: str) -> None:
        """What a person has to do now, or nothing goes on; shown even with ``--quiet``."""
        self._tell(text)

    def warning(self, text: str) -> None:
        """Something the user should change; shown even with ``--quiet``."""
        self._tell(say("Warning: {message}", message=text))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
        """Rows under headings; columns are marked with ``N_``. Drawn with rich on a terminal that has it."""
        headings = [_(column) for column in columns]
        cells = [[_cell(one) for one in row] for row in rows]
        on_terminal = sys.stdout.isatty()
        if on_terminal and len(cells) <= _MOST_DRAWN:
            try:
                from dojang.cli.table import drawn_table

                return drawn_table(headings, cells)
            except ImportError:
                pass
        return plain_table(headings, cells, colours=on_terminal and _shows_colours())

    def progress(self, label: str, total: int | None, *, unit: str = "bytes") -> Progress:
        """A bar on a terminal, counts now and then elsewhere, nothing with ``--quiet``."""
        return Progress(label, total, unit=unit, silent=self.flags.quiet)

    def _tell(self, text: str) -> None:
        remark(f"{without_pins(text)}\n")

    def _json(self, document: Mapping[str, Any]) -> None:
        _write(json_text(document) + "\n")


def _cell(content: object) -> str:
    """What stands in a table; a cell in colour that holds nothing dangerous keeps its colour."""
    text = "" if content is None else content if isinstance(content, str) else str(content)
    return text if text.isprintable() else harmless(text).replace("\n", " ")


def _shows_colours() -> bool:
    """As no-color.org and a terminal that cannot do much ask."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def json_text(value: Mapping[str, Any]) -> str:
    """A JSON object on one line."""
    import json

    return without_pins(json.dumps(value, ensure_ascii=False, default=plain))


def report_of(error: DojangError) -> dict[str, Any]:
    """An error as the JSON envelope has it."""
    details = {name: value for name, value in error.facts.items() if not isinstance(value, Secret)}
    said = {"code": error.code, "exit": error.exit_status, "message": message_of(error), "next": advice_of(error)}
    return {**said, "details": details}


def without_pins(text: str) -> str:
    """The text with every PIN that somebody wrote into an address taken out."""
    return _PIN_IN_ADDRESS.sub("pin-value=…", text) if "pin-value=" in text else text


def plain(value: object) -> object:
    """A fact as JSON holds it: moments as RFC 3339 UTC, bytes as hex, everything else as its text."""
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


@lru_cache(maxsize=1024)
def _moment(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
