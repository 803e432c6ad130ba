"""Full disks and folders nobody may write to: an own message, an own exit status, and everything as it was."""

import ctypes
import os
import resource
import subprocess
import sys

import pytest
from tests.faults.conftest import Bench

SOME_BYTES_LEFT = 4096
PR_SET_SECUREBITS, SECBIT_NOROOT = 28, 1


def _run(bench: Bench, words: list[str], prepare) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dojang", *map(str, words)]
    return subprocess.run(command, env=bench.environment, capture_output=True, text=True, preexec_fn=prepare)


def _limit(size: int):
    """No file may grow beyond ``size``: what a full disk looks like to whoever writes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _plain_permissions() -> None:
    """Permissions hold for root too after this: what it starts gets no capabilities."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0) == 0


def _no_traceback(run: subprocess.CompletedProcess) -> None:
    assert "Traceback" not in run.stderr
    assert "Error:" in run.stderr
    assert "Next:" in run.stderr


@pytest.mark.parametrize("size", [0, SOME_BYTES_LEFT])
def test_no_room_for_the_ledger(bench: Bench, size: int) -> None:
    """Without room for the intent nothing is begun: no key, no certificate, and later everything works."""
    bench.json(*bench.issue_words("disk", "first"))
    run = _run(bench, bench.issue_words("disk", "second"), _limit(size))
    assert run.returncode == 9
    _no_traceback(run)
    assert bench.credentials("disk", "second") == []
    assert bench.json(*bench.issue_words("disk", "second"))["credential"]["state"] == "valid"


def test_no_room_at_any_size_leaves_half_a_credential(bench: Bench) -> None:
    """Wherever the disk is full, the run fails with a message and the next one makes the credential whole."""
    bench.json(*bench.issue_words("disk", "first"))
    for number, size in enumerate((600, 1500, 20_000, 33_000, 70_000)):
        name = f"subscriber-{number}"
        run = _run(bench, bench.issue_words("disk", name), _limit(size))
        assert run.returncode in (0, 9, 11), run.stderr
        if run.returncode:
            _no_traceback(run)
            assert bench.json(*bench.issue_words("disk", name))
        (credential,) = bench.credentials("disk", name)
        assert bench.signs(credential)


def test_a_key_folder_nobody_may_write_to(bench: Bench) -> None:
    """A read-only key folder is said to be one; the authority has nothing valid, the journal nothing open."""
    folder = bench.home.parent / "closed"
    folder.mkdir()
    folder.chmod(0o500)
    words = ["cert", "issue", "--to", f"npki:{folder}", "--subject", "CN=Hong,C=KR"]
    run = _run(bench, words, _plain_permissions)
    folder.chmod(0o700)
    assert run.returncode == 9, run.stderr
    _no_traceback(run)
    assert str(folder) in run.stderr
    assert list(folder.iterdir()) == []
    assert {one["state"] for one in bench.issued("Hong")} <= {"revoked"}
    assert "operation-incomplete" not in {one["code"] for one in bench.findings()}


def test_a_state_folder_nobody_may_write_to(bench: Bench) -> None:
    """Without a journal nothing is begun."""
    state = bench.home / "state"
    closed = [state, *(path for path in state.rglob("*") if path.is_dir())]
    for path in closed:
        path.chmod(0o500)
    run = _run(bench, bench.issue_words("token", "Hong"), _plain_permissions)
    for path in closed:
        path.chmod(0o700)
    assert run.returncode == 9, run.stderr
    _no_traceback(run)
    assert bench.credentials("token", "Hong") == []
    assert bench.keys_on_token() == set()
    assert bench.issued("Hong") == []
