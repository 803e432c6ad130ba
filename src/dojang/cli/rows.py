"""A JSON document whose results are written one by one, so that nobody has to hold them all."""

import sys
from collections.abc import Mapping
from threading import Lock
from typing import Any

from dojang.cli.output import SCHEMA, json_text


class Rows:
    """``data.results`` of one document; whoever ends it first has the last word (``--timeout`` is another thread)."""

    def __init__(self, command: str) -> None:
        """Nothing is written before the first row."""
        self._command = command
        self._turn = Lock()
        self._count = 0
        self._ended = False

    def write(self, row: Mapping[str, Any]) -> None:
        """One more result."""
        with self._turn:
            if not self._ended:
                sys.stdout.write((",\n" if self._count else self._opening()) + json_text(row))
                self._count += 1

    def end(self, counts: Mapping[str, int], rest: Mapping[str, Any]) -> None:
        """Close the list; ``counts`` go beside it, ``rest`` beside ``data``."""
        with self._turn:
            if self._ended:
                return
            self._ended = True
            opening = "" if self._count else self._opening()
            sys.stdout.write(f"{opening}\n], {json_text(counts)[1:]}, {json_text(rest)[1:]}\n")
            sys.stdout.flush()

    def _opening(self) -> str:
        return json_text({"schema": SCHEMA, "command": self._command, "data": {}})[:-2] + '"results": [\n'
