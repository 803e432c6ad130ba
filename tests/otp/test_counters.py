"""A counter never goes back and no code is shown twice: over threads, over processes, and whenever one is killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dojang import errors
from dojang.otp.held.counters import LARGEST, Count, Counters

TAKER = textwrap.dedent("""
    import os, sys
    from pathlib import Path
    from dojang.otp.held.counters import Counters
    with Counters(Path(sys.argv[1])) as counters:
        sys.stdin.readline()
        for _ in range(int(sys.argv[2])):
            number = counters.take("seed")
            os.write(1, b"%d\\n" % number)
""")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "counters"


def taker(path: Path, times: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", TAKER, str(path), str(times)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


def started(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()


def shown_by(process: subprocess.Popen[bytes]) -> list[int]:
    """The numbers that got out whole."""
    out, _ = process.communicate()
    return [int(line) for line in out.splitlines(keepends=True) if line.endswith(b"\n")]


def test_many_threads_never_get_one_counter_twice(path: Path) -> None:
    """64 at once, each several times: every number from the first on, each once."""
    taken: list[int] = []
    with Counters(path) as counters:
        counters.begin("seed", 7)
        threads = [
            threading.Thread(target=lambda: taken.extend(counters.take("seed") for _ in range(5))) for _ in range(64)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(taken) == list(range(7, 7 + 64 * 5))


def test_many_connections_never_get_one_counter_twice(path: Path) -> None:
    """64 that each open the file, which is not there yet, and take one: as many processes would."""
    taken: list[int] = []
    ready = threading.Barrier(64)

    def take() -> None:
        ready.wait()
        with Counters(path) as counters:
            counters.begin("seed", 0)
            taken.append(counters.take("seed"))

    threads = [threading.Thread(target=take) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(64))


def test_a_killed_process_loses_a_counter_and_gives_none_out_again(path: Path) -> None:
    """Processes at work at once, killed in the middle: whatever they had shown is never shown again."""
    with Counters(path) as counters:
        counters.begin("seed", 0)
    shown: Counter[int] = Counter()
    for _ in range(2):
        processes = [taker(path, 100_000) for _ in range(4)]
        started(processes)
        for process in processes:
            assert process.stdout
            shown[int(process.stdout.readline())] += 1
            process.send_signal(signal.SIGKILL)
        for process in processes:
            shown.update(shown_by(process))
    with Counters(path) as counters:
        following = counters.take("seed")
    assert set(shown.values()) == {1}
    assert following > max(shown)


def test_only_one_of_many_has_its_code_accepted(path: Path) -> None:
    """64 who bring one code at the same time, each by a connection of his own: one is told yes."""
    told: list[bool] = []
    with Counters(path) as counters:
        counters.begin("seed", 0)

    def bring() -> None:
        with Counters(path) as counters:
            told.append(counters.accept("seed", 3))

    threads = [threading.Thread(target=bring) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count(True) == 1


def test_a_counter_that_is_not_known_is_not_guessed(path: Path) -> None:
    """Where the state folder is lost, or another machine's: nothing is shown until somebody says the counter."""
    with Counters(path) as counters:
        with pytest.raises(errors.CounterUnknown):
            counters.take("seed")
        counters.forward("seed", 41)
        assert counters.take("seed") == 41


def test_a_counter_has_an_end(path: Path) -> None:
    """The last one is shown, and then none."""
    with Counters(path) as counters:
        counters.begin("seed", LARGEST)
        assert counters.take("seed") == LARGEST
        with pytest.raises(errors.NotPermitted):
            counters.take("seed")
        with pytest.raises(errors.NotPermitted):
            counters.forward("other", LARGEST + 1)
        with pytest.raises(errors.InvalidOtp):
            counters.begin("other", LARGEST + 1)


def test_the_file_itself_refuses_to_go_back(path: Path) -> None:
    """Whoever writes to it otherwise cannot lower a count, nor remove one."""
    with Counters(path) as counters:
        counters.begin("seed", 5)
    assert path.stat().st_mode & 0o777 == 0o600
    connection = sqlite3.connect(path)
    for statement in ("UPDATE counters SET shown = 4", "UPDATE counters SET accepted = 0", "DELETE FROM counters"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """No code is shown where its counter cannot be kept."""
    folder = tmp_path / "counters"
    folder.mkdir()
    with pytest.raises(errors.StateUnreadable):
        Counters(folder)


class Machine(RuleBasedStateMachine):
    """Whatever is done in whatever order: what was shown or accepted is never shown or accepted again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(os.environ["DOJANG_HOME"]) / "state" / os.urandom(8).hex()
        self.counters = Counters(self.folder / "counters")
        self.counters.begin("seed", 0)
        self.shown: set[int] = set()
        self.accepted: set[int] = set()
        self.before = Count()

    @rule()
    def take(self) -> None:
        number = self.counters.take("seed")
        assert number not in self.shown | self.accepted
        self.shown.add(number)

    @rule(number=st.integers(0, 60))
    def accept(self, number: int) -> None:
        if self.counters.accept("seed", number):
            assert all(number > other for other in self.accepted)
            self.accepted.add(number)
        else:
            assert number < self.before.accepted

    @rule(number=st.integers(0, 60))
    def forward(self, number: int) -> None:
        try:
            self.counters.forward("seed", number)
        except errors.NotPermitted:
            assert number < self.before.shown

    @rule()
    def open_again(self) -> None:
        self.counters.close()
        self.counters = Counters(self.folder / "counters")
        self.counters.begin("seed", 0)

    @invariant()
    def never_back(self) -> None:
        count = self.counters.known("seed") or Count()
        assert count.shown >= self.before.shown
        assert count.accepted >= self.before.accepted
        self.before = count

    def teardown(self) -> None:
        self.counters.close()


Machine.TestCase.settings = settings(max_examples=15, stateful_step_count=20)
test_what_is_used_stays_used = Machine.TestCase


@given(st.lists(st.integers(0, 50), max_size=20))
def test_accepted_counters_only_grow(numbers: list[int]) -> None:
    """Of any sequence of codes, those are accepted that come after every one before them."""
    path = Path(os.environ["DOJANG_HOME"]) / "state" / os.urandom(8).hex()
    with Counters(path) as counters:
        accepted = [number for number in numbers if counters.accept("seed", number)]
    best = -1
    expected = [number for number in numbers if number > best and (best := number) >= 0]
    assert accepted == expected
