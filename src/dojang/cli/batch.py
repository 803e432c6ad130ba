"""Signing many files with one command: where their names come from, and what is told while they are signed."""

import errno
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import Any

from dojang.cli.context import Invocation
from dojang.cli.language import _, advice_of, message_of, say
from dojang.cli.output import report_of
from dojang.cli.progress import Progress
from dojang.cli.rows import Rows
from dojang.errors import BatchIncomplete, DojangError, FileUnreadable
from dojang.signing.batch import Batch, Job, Outcome, threads_for
from dojang.signing.digest import DigestSigner
from dojang.signing.registry import Signed
from dojang.signing.source import Progress as OnProgress

_BLOCK = 1 << 16
_LONGEST_NAME = 1 << 16


def names_in(listing: Path, separator: bytes) -> Iterator[Path]:
    """The names in a file, or on standard input for ``-``, one after the other. ``FileUnreadable``."""
    piped = str(listing) == "-"
    try:
        with open(0 if piped else listing, "rb", buffering=0, closefd=not piped) as stream:
            for name in _split(stream, separator):
                if name:
                    yield Path(os.fsdecode(name))
    except (OSError, ValueError) as error:
        raise FileUnreadable(path=listing, problem=getattr(error, "strerror", None) or str(error)) from error


def _split(stream: FileIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(_BLOCK):
        *names, rest = (rest + block).split(separator)
        yield from names
        if len(rest) > _LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    yield rest


def sign_all(
    invocation: Invocation,
    files: Iterable[tuple[Path, Path]],
    total: int | None,
    sign_file: Callable[..., Signed],
    signer: DigestSigner,
    options: Any,
    *,
    skip_signed: bool,
) -> None:
    """Sign every file, telling each outcome at once. ``BatchIncomplete`` when some could not be signed."""

    def sign(job: Job, on_progress: OnProgress | None, unsynced: set[Path]) -> Signed | None:
        if skip_signed and _is_signed(job):
            return None
        return sign_file(job.source, job.output, signer, options, on_progress, unsynced)

    with invocation.out.progress(_("Signing"), total, unit="items") as progress:
        report = _Report(invocation, total, progress)
        batch = Batch(sign, report.tell, threads_for(signer), listed=total is not None)
        try:
            with _first_interrupt(batch.stop):
                if not batch.run(Job(*one) for one in files):
                    raise KeyboardInterrupt
        except (KeyboardInterrupt, DojangError):
            report.cut_short()
            raise
    report.end()


def _is_signed(job: Job) -> bool:
    try:
        return job.output.stat().st_mtime_ns > job.source.stat().st_mtime_ns
    except (OSError, ValueError):
        return False  # signing says what is wrong with it


@contextmanager
def _first_interrupt(stop: Callable[[], bool]) -> Iterator[None]:
    """Ctrl-C lets what is under way come to its end, where there is anything; the second does not wait.

    A command in the background that was told to ignore it goes on ignoring it.
    """
    usual = signal.default_int_handler

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, usual)
        if not stop():
            usual(number, frame)

    if signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


class _Report:
    """What is told of each file, and of all at the end."""

    def __init__(self, invocation: Invocation, total: int | None, progress: Progress) -> None:
        self._out = invocation.out
        self._total = total
        self._progress = progress
        self._counts = {"signed": 0, "failed": 0, "left_out": 0}
        self._rows = Rows(invocation.command) if invocation.flags.json else None
        if self._rows is not None:
            rows, counts = self._rows, self._counts
            invocation.out.ending = lambda rest: rows.end(counts, rest)

    def tell(self, outcome: Outcome) -> None:
        """One file is done with."""
        self._progress.aside()
        file, error, signed = outcome.job.source, outcome.error, outcome.signed
        if error is not None:
            self._count("failed", {"file": file, "ok": False, "error": report_of(error)})
            self._out.warning(f"{message_of(error)} {advice_of(error)}")
        elif signed is None:
            self._count("left_out", {"file": file, "ok": True, "output": outcome.job.output, "left_out": True})
        else:
            self._count("signed", {"file": file, "ok": True, **signed._asdict()})
            words = {"file": file, "algorithm": signed.algorithm, "output": signed.output}
            self._out.line(say("Signed {file} ({algorithm}): {output}", **words), quiet=signed.output)
        self._progress.advance()

    def end(self) -> None:
        """Every file was looked at."""
        signed, failed, left_out = self._counts.values()
        if failed:
            raise BatchIncomplete(failed=failed, total=signed + failed + left_out)
        if left_out:
            self._out.note(say("Left out because their signature is there and newer: {number}", number=left_out))
        if self._rows is not None:
            self._rows.end(self._counts, {"ok": True})
        self._out.answered = True

    def cut_short(self) -> None:
        """The batch stops here: how far it came, and how to go on."""
        signed = self._counts["signed"]
        if signed and self._total is not None:
            text = say("Signed before that: {number} of {total}.", number=signed, total=self._total)
        elif signed:
            text = say("Signed before that: {number}.", number=signed)
        else:
            return
        self._out.note(text + " " + _("The same command with --skip-signed signs the rest."))

    def _count(self, what: str, row: dict[str, Any]) -> None:
        self._counts[what] += 1
        if self._rows is not None:
            self._rows.write(row)
