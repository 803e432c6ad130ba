"""The ledger: durable, private, shared between processes, and never half made."""

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dojang.errors import CredentialBusy, OperationUnfinished, StateUnreadable
from dojang.ledger import SCHEMA_VERSION, Event, Ledger
from dojang.secret import Secret


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite3"


def _child(path: Path, code: str, *, preexec=None) -> subprocess.Popen[str]:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom dojang.ledger import Ledger, Event\n"
        f"ledger = Ledger.open(Path({str(path)!r}))\n{code}\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec,
    )


def test_an_operation_moves_by_steps_and_ends(path: Path) -> None:
    """What was begun is open with its facts, moves, and is gone from the open ones when finished."""
    with Ledger.open(path) as ledger:
        operation = ledger.begin("issue", "here#a", {"key_id": "0a"})
        operation.advance("answered", certificate="MII")
        assert operation.record.step == "answered"
        assert operation.record.facts == {"key_id": "0a", "certificate": "MII"}
        operation.finish("done", Event("issued", "here;a", "f" * 64, {"profile": "person"}))
        assert ledger.incomplete() == []
        assert [event.event for event in ledger.history("here;a")] == ["issued"]


def test_the_ledger_is_private(path: Path) -> None:
    """Every file of the ledger is readable by its owner alone, whatever the umask."""
    previous = os.umask(0)
    try:
        with Ledger.open(path) as ledger, ledger.begin("issue", "here#a", {}):
            files = [entry for entry in path.parent.rglob("*") if entry.is_file()]
            assert len(files) >= 2
            assert {stat.S_IMODE(entry.stat().st_mode) for entry in files} == {0o600}
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(previous)


def test_a_secret_cannot_be_written(path: Path) -> None:
    """A secret among the facts is refused before anything is written."""
    with Ledger.open(path) as ledger:
        with pytest.raises(TypeError):
            ledger.begin("issue", "here#a", {"pin": Secret("1234")})  # type: ignore[dict-item]
        assert ledger.incomplete() == []


def test_a_live_operation_of_another_process_is_not_incomplete(path: Path) -> None:
    """Another process's operation is busy while it lives, and incomplete as soon as it was killed."""
    child = _child(
        path, "op = ledger.begin('renew', 'here#a', {'address': 'here;a'}); print('up', flush=True); time.sleep(60)"
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    with Ledger.open(path) as ledger:
        assert ledger.incomplete() == []
        with pytest.raises(CredentialBusy) as caught:
            ledger.begin("renew", "here#a", {})
        assert caught.value.facts["subject"] == "here;a"
        child.send_signal(signal.SIGKILL)
        child.wait()
        (record,) = ledger.incomplete()
        with pytest.raises(OperationUnfinished):
            ledger.begin("renew", "here#a", {})
        operation = ledger.resume(record)
        assert operation is not None
        assert ledger.resume(record) is None, "only one may recover it"
        operation.undo("the process was killed")
        assert ledger.incomplete() == []
        ledger.begin("renew", "here#a", {}).finish("done")


def test_an_operation_left_by_an_error_is_incomplete(path: Path) -> None:
    """An operation whose context was left by an error can be taken over in the same process."""
    with Ledger.open(path) as ledger:
        with pytest.raises(RuntimeError), ledger.begin("issue", "here#a", {}):
            raise RuntimeError
        (record,) = ledger.incomplete()
        assert record.step == "begun"


def test_resuming_sees_the_latest_step(path: Path) -> None:
    """A record that was read before somebody finished the operation resumes nothing."""
    with Ledger.open(path) as ledger:
        ledger.begin("issue", "here#a", {}).leave()
        (stale,) = ledger.incomplete()
        operation = ledger.resume(stale)
        assert operation is not None
        operation.finish("done")
        assert ledger.resume(stale) is None


def test_two_threads_and_four_processes_write_at_once(path: Path) -> None:
    """Every event of every writer is there afterwards, once."""
    code = "[ledger.record(Event('issued', f'here;{N}', str(n))) for n in range(25)]"
    children = [_child(path, code.replace("{N}", str(number))) for number in range(4)]
    with Ledger.open(path) as ledger:
        threads = [
            threading.Thread(
                target=lambda n=n: [ledger.record(Event("issued", f"thread;{n}", str(i))) for i in range(25)]
            )
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for child in children:
            assert child.wait() == 0, child.stderr and child.stderr.read()
        assert len(ledger.history()) == 6 * 25


def test_events_only_grow(path: Path) -> None:
    """Even somebody with the file cannot change or remove an event with plain SQL."""
    with Ledger.open(path) as ledger:
        ledger.record(Event("issued", "here;a", "f" * 64))
    connection = sqlite3.connect(path)
    for statement in ("UPDATE events SET event = 'revoked'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)


@pytest.mark.parametrize("wanted", [{"fingerprint": "f" * 64}, {"address": "here;a"}])
def test_the_past_of_one_is_found_without_a_look_at_all_others(path: Path, wanted: dict[str, str]) -> None:
    """What happened to one certificate, or at one address, is looked up in an index: a ledger holds many years."""
    asked: list[str] = []
    with Ledger.open(path) as ledger:
        ledger.record(Event("issued", "here;a", "f" * 64), Event("issued", "here;b", "e" * 64))
        ledger._connection.set_trace_callback(asked.append)
        assert [event.address for event in ledger.history(**wanted)] == ["here;a"]
        ledger._connection.set_trace_callback(None)
        plan = [row[3] for row in ledger._connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]
    assert len(plan) == 1
    assert plan[0].startswith("SEARCH events USING INDEX")


def test_finishing_and_its_event_are_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the event cannot be written, the operation is not finished either."""
    with Ledger.open(path) as ledger:
        operation = ledger.begin("issue", "here#a", {})
        with pytest.raises(TypeError):
            operation.finish("done", Event("issued", "here;a", "f" * 64, {"bad": object()}))  # type: ignore[dict-item]
        operation.leave()
        assert len(ledger.incomplete()) == 1
        assert ledger.history() == []


def test_a_newer_schema_is_left_alone(path: Path) -> None:
    """A ledger of a later version is refused, not guessed at."""
    Ledger.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StateUnreadable, match="newer"):
        Ledger.open(path)


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_file_is_said_to_be_damaged(path: Path, content: bytes) -> None:
    """A file that is no ledger is an error of ours and stays as it was."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StateUnreadable):
        Ledger.open(path)
    assert path.read_bytes() == content


def test_a_full_disk_leaves_no_half_operation(path: Path) -> None:
    """When no more can be written, beginning fails with our error and the journal stays whole."""
    Ledger.open(path).close()
    code = (
        "import resource, json\nfrom dojang.errors import StateUnreadable\n"
        "import os\nfull = max(p.stat().st_size for p in Path(ledger.path).parent.iterdir() if p.is_file())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))\n"
        "try:\n    [ledger.begin('issue', f's{n}', {'x': 'y' * 4000}) for n in range(200)]\n"
        "except StateUnreadable as error:\n    print(error)\n"
    )
    child = _child(path, code)
    out, err = child.communicate()
    assert child.returncode == 0, err
    assert "cannot be used" in out
    with Ledger.open(path) as ledger:
        assert all(len(str(record.facts["x"])) == 4000 for record in ledger.incomplete())


def test_a_full_disk_at_creation_can_be_repeated(path: Path) -> None:
    """A ledger whose creation hit a full disk opens cleanly once there is room."""
    path.parent.mkdir()
    child = _child(path, "", preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
    _, err = child.communicate()
    assert child.returncode != 0
    assert "StateUnreadable" in err
    with Ledger.open(path) as ledger:
        assert ledger.history() == []


def test_a_folder_nobody_may_write_to(tmp_path: Path) -> None:
    """A state folder that cannot be made is StateUnreadable with the path in it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnreadable) as caught:
        Ledger.open(tmp_path / "file" / "ledger.sqlite3")
    assert str(tmp_path) in str(caught.value)
