"""What is printed: columns, counts, JSON values."""

import io
import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from dojang.cli.flags import Flags
from dojang.cli.output import Output
from dojang.cli.progress import Progress
from dojang.cli.table import plain_table, printable, width_of
from dojang.errors import NotFound, VerificationFailed
from dojang.secret import Secret


@pytest.fixture
def flags() -> Flags:
    return Flags()


def test_korean_letters_take_two_cells() -> None:
    """Columns line up on a terminal, whatever letters are in them."""
    table = plain_table(["Label", "Days"], [["홍길동", "3"], ["Hong", "14"]])
    starts = {width_of(line[: line.rindex("  ") + 2]) for line in table.splitlines()}
    assert len(starts) == 1


def test_a_label_cannot_command_the_terminal() -> None:
    """Control characters from a token are shown, not obeyed."""
    assert "\x1b" not in plain_table(["Label"], [["\x1b[2Jevil\r\n"]])
    assert printable("도장 A") == "도장 A"


def test_json_values(flags: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    """Moments are RFC 3339 in UTC, bytes are hex, sets are sorted lists."""
    flags.json = True
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=9)))
    Output(flags).result("x", {"at": moment, "id": b"\x0a", "set": {"b", "a"}, "path": Path("/p"), "n": None}, "")
    answer = json.loads(capsys.readouterr().out)
    data = {"at": "2026-01-01T18:04:05Z", "id": "0a", "set": ["a", "b"], "path": "/p", "n": None}
    assert answer == {"schema": 1, "command": "x", "ok": True, "data": data}


def test_json_of_an_error_holds_its_facts_but_no_secret(flags: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    """The facts of an error are its details; a secret among them would be dropped."""
    flags.json = True
    error = NotFound(what="a", where="b", command="c", hidden=Secret("x"))
    Output(flags).failure("key show", error)
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"]["details"] == {"what": "a", "where": "b", "command": "c"}
    assert answer["error"]["next"] == "See what is there: c"


def test_a_list_of_problems_is_one_sentence(flags: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    """Several problems are joined, not shown as Python's list."""
    Output(flags).failure("verify", VerificationFailed(problems=["a", "b"]))
    assert "Verification failed: a; b." in capsys.readouterr().err


def test_quiet_prints_addresses_and_errors_only(flags: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    """--quiet leaves what a script would paste on."""
    flags.quiet = True
    out = Output(flags)
    out.note("by the way")
    out.result("x", {}, "A long story.", quiet=["pkcs11:token=a"])
    out.failure("x", NotFound(what="a", where="b", command="c"))
    captured = capsys.readouterr()
    assert captured.out == "pkcs11:token=a\n"
    assert "by the way" not in captured.err
    assert "a was not found" in captured.err


def test_progress_counts_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long task counts now and then on standard error; no bar, no carriage return."""
    clock = iter(float(second) for second in range(0, 1000, 6))
    monkeypatch.setattr("dojang.cli.progress.monotonic", lambda: next(clock))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress("file", 4 << 20) as progress:
        for _ in range(4):
            progress.advance(1 << 20)
    lines = sys.stderr.getvalue().splitlines()
    assert lines[0] == "file: 1.0 MiB of 4.0 MiB"
    assert "\r" not in sys.stderr.getvalue()


def test_a_short_task_shows_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done at once is not counted."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress("file", 10) as progress:
        progress.advance(10)
    assert sys.stderr.getvalue() == ""


def test_moments_in_sentences_are_short(flags: Flags, capsys: pytest.CaptureFixture[str]) -> None:
    """A moment in a sentence is shown in UTC to the minute."""
    error = NotFound(what=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), where="b", command="c")
    Output(flags).failure("x", error)
    assert "2026-01-02 03:04 UTC" in capsys.readouterr().err
