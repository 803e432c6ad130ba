"""How far a long task is: a bar on a terminal, counts now and then elsewhere."""

import sys
from time import monotonic
from types import TracebackType
from typing import Self

from dojang.cli.language import say
from dojang.cli.remarks import remark

_BAR_AFTER, _BAR_EVERY = 0.3, 0.1
_COUNT_AFTER, _COUNT_EVERY = 5.0, 5.0
_BAR_WIDTH = 30


class Progress:
    """A context manager; ``advance(n)`` reports ``n`` more units done. A short task shows nothing."""

    def __init__(self, label: str, total: int | None, *, unit: str = "bytes", silent: bool = False) -> None:
        """``total`` is ``None`` where nobody knows it; ``unit`` is ``bytes`` or ``items``."""
        self.label, self.total, self.unit = label, total, unit
        self.done = 0
        self._drawn = False
        self._bar = sys.stderr.isatty()
        self._next = float("inf") if silent else monotonic() + (_BAR_AFTER if self._bar else _COUNT_AFTER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.aside()

    def aside(self) -> None:
        """Take the bar off the line, for something else to be written there; the next step may draw it again."""
        if self._drawn and self._bar:
            remark("\r\x1b[K")
            self._drawn = False

    def advance(self, amount: int = 1) -> None:
        """``amount`` more units are done."""
        self.done += amount
        now = monotonic()
        if now >= self._next:
            self._next = now + (_BAR_EVERY if self._bar else _COUNT_EVERY)
            self._show()

    def reached(self, done: int, total: int | None) -> None:
        """``done`` of ``total`` units are done by now; the form in which signing reports."""
        self.total = total
        self.advance(done - self.done)

    def _show(self) -> None:
        self._drawn = True
        text = self._text()
        remark(f"\r\x1b[K{text}" if self._bar else f"{text}\n")

    def _text(self) -> str:
        if self.total is None:
            return say("{label}: {done}", label=self.label, done=self._amount(self.done))
        counts = say(
            "{label}: {done} of {total}", label=self.label, done=self._amount(self.done), total=self._amount(self.total)
        )
        if not self._bar or not self.total:
            return counts
        filled = min(_BAR_WIDTH, _BAR_WIDTH * self.done // self.total)
        return f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {counts}"

    def _amount(self, number: int) -> str:
        return f"{number / 2**20:.1f} MiB" if self.unit == "bytes" else str(number)
