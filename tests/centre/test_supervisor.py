"""The supervisor: what it does about workers that die, that must not be tried again, and that do not end."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from tests.centre.serving import until

from dojang.centre.health import Readiness
from dojang.centre.supervisor import Leash, Supervisor

READY = r"""
import json, os, signal, socket, sys, time
leash = socket.socket(fileno=int(sys.argv[1]))
orders = json.loads(leash.makefile().readline())
with open(orders["diary"], "a") as diary:
    diary.write(json.dumps({"pid": os.getpid(), "at": time.monotonic(), "orders": orders}) + "\n")
"""
SERVES = (
    READY + "leash.sendall(json.dumps({'ok': True, 'problems': {}}).encode() + b'\\n')\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    "time.sleep(60)\n"
)


@contextmanager
def supervised(tmp_path: Path, script: str, count: int = 1, **more) -> Iterator[tuple[Supervisor, list[int], Path]]:
    diary, ended = tmp_path / "diary", []
    diary.touch()
    command = [sys.executable, "-c", script]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor(command, count, [listener], {"diary": str(diary)}, drain_seconds=0.1, **more)
        thread = threading.Thread(target=lambda: ended.append(supervisor.run(signals=False)))
        thread.start()
        try:
            yield supervisor, ended, diary
        finally:
            supervisor.stop()
            thread.join(20)
            assert not thread.is_alive()


def _lines(diary: Path) -> list[dict]:
    return [json.loads(line) for line in diary.read_text().splitlines()]


def test_a_worker_that_keeps_dying_is_started_ever_more_seldom(tmp_path):
    """After each of the pauses, and then always after the longest."""
    with supervised(tmp_path, READY + "sys.exit(3)", pauses=(0.05, 0.2, 0.5)) as (supervisor, ended, diary):
        until(lambda: len(_lines(diary)) >= 5)
        assert not supervisor.readiness().ok
        at = [line["at"] for line in _lines(diary)]
        gaps = [after - before for before, after in pairwise(at)]
        assert all(gap >= pause for gap, pause in zip(gaps, (0.05, 0.2, 0.5, 0.5), strict=False))
        assert ended == []


@pytest.mark.parametrize("status", [7, 8])
def test_a_pin_that_was_refused_is_not_tried_again(tmp_path, status):
    """No worker is started anew over it; where none is left, the service ends with that status."""
    with supervised(tmp_path, READY + f"sys.exit({status})", count=2, pauses=(0.01,)) as (_supervisor, ended, diary):
        until(lambda: ended == [status])
        assert len(_lines(diary)) == 2


def test_a_pin_that_one_worker_found_refused_is_tried_by_no_other(tmp_path):
    """All have the same one: who dies of something else later is not started again either."""
    script = READY + "time.sleep(0 if orders['first'] else 0.5)\nsys.exit(7 if orders['first'] else 3)\n"
    with supervised(tmp_path, script, count=3, pauses=(0.01,)) as (_supervisor, ended, diary):
        until(lambda: ended == [7])
        assert len(_lines(diary)) == 3


def test_one_ready_worker_is_enough_and_is_told_of_once(tmp_path):
    """The problems of others are named all the same."""
    lame = READY + (
        "ok = orders['first']\n"
        "problems = {} if ok else {'hsm:a': 'daemon-silent'}\n"
        "leash.sendall(json.dumps({'ok': ok, 'problems': problems}).encode() + b'\\n')\n"
        "time.sleep(60)\n"
    )
    with supervised(tmp_path, lame, count=2) as (supervisor, _ended, _diary):
        told: list[int] = []
        supervisor.on_ready = lambda: told.append(1)
        problems = {"1:hsm:a": "daemon-silent"}
        until(lambda: supervisor.readiness() == Readiness(ok=True, problems=problems, degraded=True))
        assert len(told) <= 1


@pytest.mark.parametrize("stubborn", [False, True], ids=["ends when told", "is killed"])
def test_a_worker_that_stays_lame_beside_a_healthy_one_is_replaced(tmp_path, monkeypatch, stubborn):
    """It was ready and is not any more; who never was, is left to find out what it lacks."""
    monkeypatch.setattr("dojang.centre.supervisor.LAME", 0.1)
    monkeypatch.setattr("dojang.centre.supervisor._GRACE", 0.1)
    monkeypatch.setattr("dojang.centre.supervisor._LISTEN", 0.05)
    lame = READY + (
        f"signal.signal(signal.SIGTERM, {'signal.SIG_IGN' if stubborn else 'lambda *_: sys.exit(0)'})\n"
        "lame = not orders['first'] and len(open(orders['diary']).readlines()) <= 2\n"
        "said = [(True, {}), (False, {'hsm:a': 'not-found'})] if lame else [(True, {})]\n"
        "for ok, problems in said:\n"
        "    leash.sendall(json.dumps({'ok': ok, 'problems': problems}).encode() + b'\\n')\n"
        "time.sleep(60)\n"
    )
    with supervised(tmp_path, lame, count=2, pauses=(0.01,)) as (supervisor, ended, diary):
        until(lambda: len(_lines(diary)) == 3 and supervisor.readiness() == Readiness(ok=True, problems={}))
        assert ended == []


def test_a_worker_that_does_not_end_is_killed(tmp_path, monkeypatch):
    """After the time to drain and a little more; the rest ends in good order, and the status is 0."""
    monkeypatch.setattr("dojang.centre.supervisor._GRACE", 0.1)
    stubborn = SERVES.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
    with supervised(tmp_path, stubborn) as (supervisor, ended, _diary):
        until(lambda: supervisor.readiness().ok)
        (pid,) = supervisor.pids()
        supervisor.stop()
        until(lambda: ended == [0])
        assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_died_is_replaced_with_the_same_orders(tmp_path):
    """Listening sockets among them, whatever numbers they have there."""
    with supervised(tmp_path, SERVES, pauses=(0.01,)) as (supervisor, _ended, diary):
        until(lambda: supervisor.readiness().ok)
        (pid,) = supervisor.pids()
        supervisor._workers[0].process.send_signal(signal.SIGKILL)
        until(lambda: supervisor.pids() not in ([], [pid]) and supervisor.readiness().ok)
        before, after = (line["orders"] for line in _lines(diary))
        assert before == after


def test_a_worker_that_cannot_be_started_is_started_later(tmp_path, monkeypatch):
    """The others go on meanwhile: a machine without room for one more process may have some soon."""
    started, start = [], subprocess.Popen

    def crowded(*arguments, **options):
        started.append(arguments)
        if len(started) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(*arguments, **options)

    monkeypatch.setattr("dojang.centre.supervisor.subprocess.Popen", crowded)
    with supervised(tmp_path, SERVES, count=2, pauses=(0.05,)) as (supervisor, ended, _diary):
        until(lambda: len(supervisor.pids()) == 2 and supervisor.readiness() == Readiness(ok=True, problems={}))
        assert (len(started), ended) == (3, [])


def test_a_worker_hears_when_whoever_started_it_is_gone():
    """And talks to nobody without being any worse for it."""
    ours, theirs = socket.socketpair()
    leash, gone = Leash(theirs.detach()), threading.Event()
    ours.sendall(b'{"a": 1}\n')
    assert leash.orders() == {"a": 1}
    leash.watch(gone.set)
    ours.close()
    assert gone.wait(10)
    for _ in range(3):
        leash.tell(Readiness(ok=True, problems={}))
