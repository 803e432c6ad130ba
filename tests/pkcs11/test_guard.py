"""The PIN guard against a token that counts: real threads, real processes, broken files, full disks."""

import contextlib
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dojang.errors import (
    DeviceBusy,
    DeviceFailure,
    DojangError,
    PinIncorrect,
    PinKnownWrong,
    PinLastTry,
    PinLocked,
    StateUnreadable,
)
from dojang.pkcs11 import guard as guard_module
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.pin import PinState
from dojang.secret import Secret

RIGHT, WRONG, OTHER = Secret("1234"), Secret("4321-secret"), Secret("9999")


class CountingToken:
    """A token with a PIN counter kept in a file, so that every process sees the same one; it locks like a card."""

    def __init__(self, path: Path, tries: int = 3) -> None:
        self.path = path
        self.tries = tries
        self.most_at_once = path.with_suffix(".busy")

    @property
    def spent(self) -> int:
        """All tries ever made, right or wrong."""
        return len(self.path.read_text().splitlines()) if self.path.exists() else 0

    @property
    def left(self) -> int:
        left = self.tries
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            left = self.tries if line == "right" else left - 1
        return left

    def flags(self) -> PinState:
        return PinState(count_low=self.left < self.tries, final_try=self.left == 1, locked=self.left < 1)

    def login(self, pin: Secret | None) -> None:
        self.most_at_once.mkdir()  # fails if somebody else is in here
        try:
            time.sleep(0.01)
            with self.path.open("a") as file:
                file.write("right\n" if pin == RIGHT or pin is None else "wrong\n")
        finally:
            self.most_at_once.rmdir()
        if pin not in (RIGHT, None):
            raise PinIncorrect(token="Hong", role="user")


def attempt(
    guard: PinGuard,
    token: CountingToken,
    pin: Secret | None,
    *,
    serial: str = "01",
    label: str = "Hong",
    role: str = "user",
    last_try: bool = False,
) -> None:
    guard.attempt(
        serial=serial, token=label, role=role, pin=pin, flags=token.flags, login=lambda: token.login(pin),
        last_try=last_try,
    )  # fmt: skip


@pytest.fixture
def token(tmp_path: Path) -> CountingToken:
    return CountingToken(tmp_path / "token")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pins"


def test_the_right_pin_costs_one_login_and_leaves_no_file(state: Path, token: CountingToken) -> None:
    """Nothing is hashed or written when nothing ever failed."""
    attempt(PinGuard(state), token, RIGHT)
    assert token.spent == 1
    assert not state.exists()


def test_a_wrong_pin_is_tried_once_only(state: Path, token: CountingToken) -> None:
    """The second time it is refused without a try, also by another guard of the same file; another PIN is tried."""
    with pytest.raises(PinIncorrect):
        attempt(PinGuard(state), token, WRONG)
    for _ in range(3):
        with pytest.raises(PinKnownWrong) as caught:
            attempt(PinGuard(state), token, WRONG)
    assert str(state) in caught.value.advice()
    assert token.spent == 1
    attempt(PinGuard(state), token, RIGHT)
    assert token.spent == 2


def test_success_forgets(state: Path, token: CountingToken) -> None:
    """After a right PIN the counter of the token starts anew, and so does the memory; no file stays."""
    guard = PinGuard(state)
    with pytest.raises(PinIncorrect):
        attempt(guard, token, WRONG)
    attempt(guard, token, RIGHT)
    assert not state.exists()
    with pytest.raises(PinIncorrect):
        attempt(guard, token, WRONG)


def test_a_login_that_looked_at_no_pin_forgets_nothing(state: Path, token: CountingToken) -> None:
    """Who is logged in already gets in with any PIN; that proves nothing about the wrong ones."""
    guard = PinGuard(state)
    with pytest.raises(PinIncorrect):
        attempt(guard, token, WRONG)
    guard.attempt(
        serial="01", token="Hong", role="user", pin=OTHER, flags=token.flags, login=lambda: False, last_try=False
    )
    with pytest.raises(PinKnownWrong):
        attempt(guard, token, WRONG)


def test_a_locked_pin_is_not_tried(state: Path, tmp_path: Path) -> None:
    """PinLocked without a try, --last-try or not."""
    token = CountingToken(tmp_path / "token", tries=0)
    for last_try in (False, True):
        with pytest.raises(PinLocked):
            attempt(PinGuard(state), token, RIGHT, last_try=last_try)
    assert token.spent == 0


def test_the_last_try_is_spent_only_on_purpose(state: Path, tmp_path: Path) -> None:
    """PinLastTry unless told; then exactly one try."""
    token = CountingToken(tmp_path / "token", tries=1)
    with pytest.raises(PinLastTry):
        attempt(PinGuard(state), token, RIGHT)
    assert token.spent == 0
    attempt(PinGuard(state), token, RIGHT, last_try=True)
    assert token.spent == 1


def test_a_known_wrong_pin_is_refused_even_for_the_last_try(state: Path, tmp_path: Path) -> None:
    """--last-try does not lock a token with a PIN that is known to be wrong."""
    token = CountingToken(tmp_path / "token", tries=2)
    with pytest.raises(PinIncorrect):
        attempt(PinGuard(state), token, WRONG)
    with pytest.raises(PinKnownWrong):
        attempt(PinGuard(state), token, WRONG, last_try=True)
    with pytest.raises(PinLastTry):
        attempt(PinGuard(state), token, OTHER)
    assert token.spent == 1


def test_three_different_wrong_pins_do_not_lock(state: Path, token: CountingToken) -> None:
    """Without --last-try no sequence of PINs gets a token locked."""
    for number in range(20):
        with pytest.raises(DojangError):
            attempt(PinGuard(state), token, Secret(str(number)))
    assert token.left == 1


def test_a_keypad_is_never_remembered(state: Path, token: CountingToken) -> None:
    """What was typed on the token is not known; the flags still guard it."""

    def refuse() -> None:
        raise PinIncorrect(token="Hong", role="user")

    for _ in range(2):
        with pytest.raises(PinIncorrect):
            PinGuard(state).attempt(
                serial="01", token="Hong", role="user", pin=None, flags=token.flags, login=refuse, last_try=False
            )
    assert not state.exists()


def test_other_failures_are_not_remembered(state: Path, token: CountingToken) -> None:
    """A device that fails says nothing about the PIN."""

    def fail() -> None:
        raise DeviceFailure(token="Hong", function="C_Login", result="CKR_DEVICE_ERROR")

    with pytest.raises(DeviceFailure):
        PinGuard(state).attempt(
            serial="01", token="Hong", role="user", pin=WRONG, flags=token.flags, login=fail, last_try=False
        )
    assert not state.exists()


def test_tokens_and_roles_are_kept_apart(state: Path, tmp_path: Path) -> None:
    """Serial, label and role each make another PIN; the PIN asked for one signature is the user PIN."""
    guard = PinGuard(state)
    tokens = [CountingToken(tmp_path / f"token{number}") for number in range(4)]
    for token, other in zip(tokens, ({}, {"serial": "02"}, {"label": "Hong (sign PIN)"}, {"role": "so"}), strict=True):
        with pytest.raises(PinIncorrect):
            attempt(guard, token, WRONG, **other)
    with pytest.raises(PinKnownWrong):
        attempt(guard, tokens[0], WRONG, role="context")
    attempt(guard, tokens[0], RIGHT)
    with pytest.raises(PinKnownWrong):
        attempt(guard, tokens[1], WRONG, serial="02")


def test_forgetting_is_for_one_pin(state: Path, tmp_path: Path) -> None:
    """A changed or unblocked PIN is forgotten by serial and role, or for one label only."""
    guard = PinGuard(state)
    facts = [{}, {"label": "Hong (sign PIN)"}, {"role": "so"}, {"serial": "0"}]
    tokens = [CountingToken(tmp_path / f"token{number}", tries=100) for number in range(4)]

    def known() -> list[bool]:
        result = []
        for token, other in zip(tokens, facts, strict=True):
            with pytest.raises((PinKnownWrong, PinIncorrect)) as caught:
                attempt(guard, token, WRONG, **other)
            result.append(caught.type is PinKnownWrong)
        return result

    assert known() == [False, False, False, False]
    assert known() == [True, True, True, True]
    guard.forget(serial="01", role="user", token="Hong")
    assert known() == [False, True, True, True]
    guard.forget(serial="01", role="user")
    assert known()[1:] == [False, True, True]
    PinGuard(state.with_name("never-used")).forget(serial="01", role="user")


@pytest.mark.parametrize("last_try", [False, True])
def test_threads_with_one_wrong_pin_cost_one_try(state: Path, token: CountingToken, last_try: bool) -> None:
    """Sixteen threads, some with a guard of their own, spend one try together, one at a time."""
    shared = PinGuard(state)
    outcomes: list[type] = []
    start = threading.Barrier(16)

    def run(guard: PinGuard) -> None:
        start.wait()
        try:
            attempt(guard, token, WRONG, last_try=last_try)
        except DojangError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=run, args=(shared if n % 2 else PinGuard(state),)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert token.spent == 1
    assert sorted(kind.__name__ for kind in outcomes) == ["PinIncorrect"] + ["PinKnownWrong"] * 15


def in_process(state: Path, path: Path, pin: str, start: Path, results: Path) -> None:
    """What each child does: say that it is ready, wait for the start signal, then try once."""
    result = results / f"{os.getpid()}"
    result.touch()
    while not start.exists():
        time.sleep(0.002)
    outcome = "done"
    try:
        attempt(PinGuard(state), CountingToken(path), Secret(pin))
    except DojangError as error:
        outcome = type(error).__name__
    result.write_text(outcome)


def run_processes(state: Path, token: CountingToken, pins: list[str], tmp_path: Path) -> list[str]:
    """Fresh interpreters, as separate commands are; the outcome of each."""
    results, start = tmp_path / "results", tmp_path / "start"
    results.mkdir()
    code = "import runpy, sys, pathlib; run = runpy.run_path(sys.argv[1])['in_process']; path = pathlib.Path\n"
    code += "run(path(sys.argv[2]), path(sys.argv[3]), sys.argv[4], path(sys.argv[5]), path(sys.argv[6]))"
    arguments = [sys.executable, "-c", code, __file__, state, token.path]
    children = [subprocess.Popen([*arguments, pin, start, results]) for pin in pins]
    while len(list(results.iterdir())) < len(pins) and all(child.poll() is None for child in children):
        time.sleep(0.01)
    start.touch()
    assert [child.wait(60) for child in children] == [0] * len(pins)
    return sorted(path.read_text() for path in results.iterdir())


def test_processes_with_one_wrong_pin_cost_one_try(state: Path, token: CountingToken, tmp_path: Path) -> None:
    """Six processes started at the same moment spend one try together."""
    outcomes = run_processes(state, token, [WRONG.reveal().decode()] * 6, tmp_path)
    assert token.spent == 1
    assert outcomes == ["PinIncorrect"] + ["PinKnownWrong"] * 5


def test_processes_with_different_wrong_pins_do_not_lock(state: Path, token: CountingToken, tmp_path: Path) -> None:
    """Flags are read anew before each try, so the last one stays."""
    outcomes = run_processes(state, token, ["a", "b", "c", "d", "e"], tmp_path)
    assert token.left == 1
    assert outcomes == ["PinIncorrect"] * 2 + ["PinLastTry"] * 3


def test_a_killed_holder_leaves_no_lock_behind(state: Path, token: CountingToken, tmp_path: Path) -> None:
    """SIGKILL in the middle of a login does not keep others out."""
    code = (
        "import sys, time, pathlib\n"
        "from dojang.pkcs11.guard import PinGuard\nfrom dojang.pkcs11.pin import PinState\n"
        "def login():\n    pathlib.Path(sys.argv[2]).touch(); time.sleep(60)\n"
        "PinGuard(pathlib.Path(sys.argv[1])).attempt(serial='01', token='Hong', role='user', pin=None,"
        " flags=PinState, login=login, last_try=False)\n"
    )
    inside = tmp_path / "inside"
    child = subprocess.Popen([sys.executable, "-c", code, state, inside])
    while not inside.exists():
        time.sleep(0.01)
    child.kill()
    child.wait()
    attempt(PinGuard(state), token, RIGHT)
    assert token.spent == 1


def test_waiting_has_an_end(state: Path, token: CountingToken, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that never returns gives the others DeviceBusy, not an endless wait; thread and process alike."""
    monkeypatch.setattr(guard_module, "PATIENCE", 0.2)
    inside, leave = threading.Event(), threading.Event()

    def hang() -> None:
        inside.set()
        leave.wait(30)

    def hold() -> None:
        PinGuard(state).attempt(
            serial="01", token="Hong", role="user", pin=None, flags=PinState, login=hang, last_try=False
        )

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with pytest.raises(DeviceBusy):
        attempt(PinGuard(state), token, RIGHT)
    monkeypatch.setattr(guard_module, "_thread_locks", {})  # as in another process: only flock is in the way
    with pytest.raises(DeviceBusy):
        attempt(PinGuard(state), token, RIGHT)
    leave.set()
    thread.join()
    attempt(PinGuard(state), token, RIGHT)


def test_a_fork_during_a_login_does_not_hang(state: Path, token: CountingToken) -> None:
    """A child forked while another thread logs in can log in once that is over."""
    inside, leave = threading.Event(), threading.Event()

    def hang() -> None:
        inside.set()
        leave.wait(30)

    thread = threading.Thread(
        target=PinGuard(state).attempt,
        kwargs={
            "serial": "01", "token": "Hong", "role": "user", "pin": None, "flags": PinState, "login": hang,
            "last_try": False,
        },
    )  # fmt: skip
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            attempt(PinGuard(state), token, RIGHT)
            os._exit(0)
        os._exit(1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert token.spent == 1


def test_the_file_is_private_and_holds_no_pin(state: Path, token: CountingToken) -> None:
    """0600, in a file that shows neither the PIN nor a plain hash of it; the locks are private too."""
    with pytest.raises(PinIncorrect):
        attempt(PinGuard(state), token, WRONG)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert WRONG.reveal() not in state.read_bytes()
    assert WRONG.reveal().hex().encode() not in state.read_bytes()
    assert stat.S_IMODE(state.with_name("pins.locks").stat().st_mode) == 0o700
    assert [path.name for path in state.parent.iterdir() if path.name.endswith(".tmp")] == []


def test_the_same_pin_looks_different_for_each_token_and_machine(tmp_path: Path, token: CountingToken) -> None:
    """Random keys and the token's name go into every hash."""
    tags = set()
    for name, serial in (("a", "01"), ("a", "02"), ("b", "01")):
        with contextlib.suppress(DojangError):
            attempt(PinGuard(tmp_path / name), CountingToken(tmp_path / f"t{name}{serial}"), WRONG, serial=serial)
    for name in ("a", "b"):
        tags |= {line.split()[1] for line in (tmp_path / name).read_text().splitlines()[1:]}
    assert len(tags) == 3


def test_guessing_from_the_file_is_slow(state: Path, token: CountingToken) -> None:
    """One guess costs tens of milliseconds and 32 MiB, so that four digits take minutes, not a blink."""
    with pytest.raises(PinIncorrect):
        attempt(PinGuard(state), token, WRONG)
    started_at = time.process_time()
    with pytest.raises(PinKnownWrong):
        attempt(PinGuard(state), token, WRONG)
    assert time.process_time() - started_at > 0.02


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"", lambda data: data[:-10], lambda data: data[:40], lambda data: b"\0" * 100,
        lambda data: data + b"rubbish\n", lambda data: data.replace(b"-guard-1", b"-guard-9"),
        lambda data: data.splitlines(keepends=True)[0], lambda data: b"\xff" * (1 << 21),
        lambda data: data + data.splitlines(keepends=True)[1] * 40_000,
    ],
)  # fmt: skip
def test_a_damaged_file_stops_before_a_try(state: Path, token: CountingToken, damage: Callable[[bytes], bytes]) -> None:
    """What failed is no longer known, so nothing is tried until a person removes the file, as the error says."""
    with pytest.raises(PinIncorrect):
        attempt(PinGuard(state), token, WRONG)
    state.write_bytes(damage(state.read_bytes()))
    for pin in (WRONG, RIGHT):
        with pytest.raises(StateUnreadable) as caught:
            attempt(PinGuard(state), token, pin)
    assert str(state) in caught.value.advice()
    assert token.spent == 1
    state.unlink()
    attempt(PinGuard(state), token, RIGHT)


def test_a_state_folder_that_cannot_be_made_stops_before_a_try(tmp_path: Path, token: CountingToken) -> None:
    """Without a place for its locks the guard cannot guard."""
    (tmp_path / "file").touch()
    with pytest.raises(StateUnreadable):
        attempt(PinGuard(tmp_path / "file" / "pins"), token, RIGHT)
    assert token.spent == 0


def test_a_failure_that_cannot_be_written_is_still_known_here(
    state: Path, token: CountingToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk the person sees the wrong PIN, and this process does not try it again."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PinIncorrect) as caught:
        attempt(PinGuard(state), token, WRONG)
    assert WRONG.reveal().decode() not in str(caught.value.__notes__)
    with pytest.raises(PinKnownWrong):
        attempt(PinGuard(state), token, WRONG)
    assert token.spent == 1
    assert [path.name for path in state.parent.iterdir()] == ["pins.locks"]
    attempt(PinGuard(state), token, RIGHT)
    with pytest.raises(PinIncorrect):
        attempt(PinGuard(state), token, WRONG)


def test_memory_is_bounded(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that never locks does not fill the disk; the latest failures stay known."""
    monkeypatch.setattr(guard_module, "MOST_FAILURES", 3)
    token = CountingToken(tmp_path / "token", tries=1000)
    for number in range(5):
        with pytest.raises(PinIncorrect):
            attempt(PinGuard(state), token, Secret(str(number)))
    assert len(state.read_text().splitlines()) == 1 + 3
    with pytest.raises(PinKnownWrong):
        attempt(PinGuard(state), token, Secret("4"))


@pytest.mark.parametrize("serial", ["", " ", "../../etc/passwd", "a\0b", "\ud800", "도장" * 1000, "x" * 10_000])
def test_odd_serials_and_labels_are_names_like_any_other(state: Path, token: CountingToken, serial: str) -> None:
    """Whatever a token calls itself stays inside the state folder."""
    with pytest.raises(PinIncorrect):
        attempt(PinGuard(state), token, WRONG, serial=serial, label=serial)
    with pytest.raises(PinKnownWrong):
        attempt(PinGuard(state), token, WRONG, serial=serial, label=serial)
    assert {path.parent for path in state.parent.rglob("*.lock")} == {state.with_name("pins.locks")}
