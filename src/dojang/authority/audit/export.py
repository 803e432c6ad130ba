"""The record in a file that needs no database: one JSON object a line.

    {"form": "dojang-audit-1", "certificate": <first root certificate, DER, base64>}
    {"seq": 1, "at": …, "actor": …, "event": …, "subject": …, "details": "{…}", "previous": <hex>, "hash": <hex>}
    …
    {"form": "dojang-audit-head-1", "head": <text>, "signature": <base64>, "certificates": [<base64>, …]}

``details`` is the text that was hashed. The head covers the last row, so nothing can be cut off.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final, TextIO

from dojang.authority.audit.chain import Entry
from dojang.authority.audit.heads import Head
from dojang.errors import FileMalformed, FileUnreadable, Phrase

_FORM: Final = "dojang-audit-1"
_LONGEST: Final = 1 << 20
_NOT_OURS: Final = Phrase("it has another form")


def write_export(file: TextIO, root_certificate_der: bytes, entries: Iterable[Entry], head: Head) -> int:
    """Write rows and head; returns how many rows."""
    beginning = {"form": _FORM, "certificate": base64.b64encode(root_certificate_der).decode()}
    file.write(json.dumps(beginning) + "\n")
    count = 0
    for entry in entries:
        file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
        count += 1
    file.write(head.to_json() + "\n")
    return count


class Export:
    """A file written by ``write_export``, read once from its beginning; a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises ``FileUnreadable`` and ``FileMalformed``."""
        self.path = path
        try:
            self._file = path.open(encoding="utf-8", errors="backslashreplace", newline="\n")
        except OSError as error:
            raise FileUnreadable(path=path, problem=error.strerror or "") from error
        try:
            self.root_certificate_der = self._beginning()
        except BaseException:
            self._file.close()
            raise
        self._head: Head | None = None

    def __enter__(self) -> "Export":
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def entries(self) -> Iterator[Entry]:
        """The rows as they stand in the file."""
        while line := self._line():
            if self._head is not None:
                raise self._malformed()
            if line.startswith('{"form"'):
                self._head = Head.from_json(line, self.path)
            else:
                yield self._entry(line)

    def head(self) -> Head:
        """That of the last line, once ``entries`` has ended. Raises ``FileMalformed`` where there is none."""
        if self._head is None:
            raise self._malformed(Phrase("it ends without a signed head"))
        return self._head

    def _entry(self, line: str) -> Entry:
        try:
            known = json.loads(line)
            texts = {name: str(known.pop(name)) for name in Entry.__slots__ if name != "seq"}
            return Entry(seq=int(known.pop("seq")), **texts)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._malformed() from error

    def _beginning(self) -> bytes:
        try:
            known = json.loads(self._line())
            if known["form"] != _FORM:
                raise self._malformed()
            return base64.b64decode(known["certificate"], validate=True)
        except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
            raise self._malformed() from error

    def _line(self) -> str:
        try:
            line = self._file.readline(_LONGEST)
        except OSError as error:
            raise FileUnreadable(path=self.path, problem=error.strerror or "") from error
        if line and not line.endswith("\n"):
            raise self._malformed()
        return line

    def _malformed(self, problem: Phrase = _NOT_OURS) -> FileMalformed:
        return FileMalformed(path=self.path, expected=Phrase("an exported audit record"), problem=problem)
