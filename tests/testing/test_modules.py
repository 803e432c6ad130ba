"""``python -m dojang.testing``: a token of each kind around a command, gone with it, however it goes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dojang.testing.daemon import Daemon
from dojang.testing.modules import KINDS, bring_up
from dojang.testing.scratch import scratch
from dojang.testing.setup import BringUpFailed

COMMAND = [sys.executable, "-m", "dojang.testing"]


def outside() -> dict[str, str]:
    """An environment that names no token yet."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("DOJANG_", "SOFTHSM2_"))}


def with_token(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *words], env=outside(), capture_output=True, text=True, timeout=60)


def descendants(pid: int) -> set[int]:
    """Every process that a process started, and those that they started (proc(5))."""
    children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return {pid}.union(*(descendants(child) for child in children))


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def test_the_list_has_every_kind():
    """``--list`` says what can be brought up, a line for each."""
    lines = with_token("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)


def test_a_name_that_is_none_is_said_to_be_none():
    assert with_token("floppy").returncode == 2
    with pytest.raises(BringUpFailed, match="floppy"), bring_up("floppy"):
        pass


def test_the_command_has_the_token_and_its_status_is_passed_on():
    """A command finds the token in its environment; with none, a shell is told what is there, on standard error."""
    shown = with_token(
        "softhsm", "sh", "-c", 'dojang() { "$0" -m dojang "$@"; }; dojang token show "$DOJANG_TOKEN"; exit 7'
    )
    assert shown.returncode == 7
    told = subprocess.run(
        [*COMMAND, "softhsm"],
        env=outside() | {"SHELL": "/bin/sh"},
        input='echo "$DOJANG_TOKEN"; cat "${DOJANG_PIN_SOURCE#file:}"',
        capture_output=True,
        text=True,
        timeout=60,
    )
    address, pin = told.stdout.splitlines()
    assert address in told.stderr
    assert pin not in told.stderr
    assert len(pin) == 8


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outlives_a_bring_up_that_is_killed(kind, tmp_path):
    """SIGKILL to the one that brought it up: within seconds every daemon behind the token is gone."""
    up = tmp_path / "up"
    process = subprocess.Popen(
        [*COMMAND, kind, "sh", "-c", 'touch "$0"; sleep 60', str(up)], env=outside(), stderr=subprocess.PIPE, text=True
    )
    while not up.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    family = descendants(process.pid) - {process.pid}
    process.kill()
    process.wait()
    process.stderr.close()
    command = {pid for pid in family if "sleep 60" in command_line(pid)}  # the caller's own, and on no leash
    for pid in command:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive := {pid: command_line(pid) for pid in family - command if not is_gone(pid)}:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_daemon_that_does_not_come_up_says_why(tmp_path):
    daemon = Daemon(["sh", "-c", "echo no such luck >&2; exit 3"], ready=lambda: False, log=tmp_path / "log")
    with pytest.raises(BringUpFailed, match="no such luck"), daemon:
        pass
    assert daemon.pid is None


def test_a_daemon_is_stopped_and_started_again(tmp_path):
    """``stop`` takes its children along; ``start`` makes another."""
    mark = tmp_path / "mark"
    daemon = Daemon(["sh", "-c", f"sleep 60 & echo $! >{mark}; wait"], ready=mark.exists, log=tmp_path / "log")
    with daemon:
        first, child = daemon.pid, int(mark.read_text() or 0)
        daemon.stop()
        assert is_gone(first)
        while not is_gone(child):
            time.sleep(0.01)
        mark.unlink()
        daemon.start()
        assert daemon.pid not in (None, first)


def test_what_a_killed_process_left_goes_with_the_next_one():
    """The folder of a bring-up that was killed is removed by the next bring-up, and no other is."""
    kill = f"import os, signal; from {scratch.__module__} import scratch\n"
    kill += (
        "with scratch('dojang-leftover-') as folder: print(folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    left = subprocess.run([sys.executable, "-c", kill], capture_output=True, text=True).stdout.strip()
    assert Path(left).is_dir()
    with scratch("dojang-leftover-") as mine, scratch("dojang-leftover-") as other:
        assert not Path(left).exists()
        assert mine.is_dir()
        assert mine != other
    assert not mine.exists()
