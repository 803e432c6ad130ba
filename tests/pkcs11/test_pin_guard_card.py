"""The PIN of a real card, guarded: its own counter shows what every mistake cost. And a keypad gets no PIN of ours."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dojang import errors
from dojang.pkcs11 import ModuleSearch, PinGuard, list_tokens, open_token
from dojang.places import pin_guard_path
from dojang.secret import Secret
from dojang.testing.card_token import card_token
from dojang.testing.piv import Card, Ins, PluggedIn, Pulled, Slot, plugged_in
from dojang.testing.scratch import scratch

WRONG = "000000"
LOCALE = {"LC_ALL": "C.UTF-8"}


@pytest.fixture(autouse=True)
def short_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The agent's socket in a folder of a short name: the path of a socket has 107 bytes, and ``tmp_path`` grows."""
    with scratch("dj-agent-") as folder:
        monkeypatch.setenv("DOJANG_AGENT_SOCK", str(folder / "sock"))
        yield


@pytest.fixture
def plugged() -> Iterator[PluggedIn]:
    """A fresh card whose PIN has three tries."""
    with plugged_in() as plugged:
        yield plugged


@pytest.fixture
def log_in(plugged, home) -> Callable[..., str]:
    """Opens the token and logs in; what came of it, as a code."""
    search = ModuleSearch(module=str(plugged.setup.module), discover=False)

    def attempt(pin: str, *, last_try: bool = False) -> str:
        guard = PinGuard(pin_guard_path())
        try:
            with open_token(plugged.setup.uri, Secret(pin), search=search, guard=guard, last_try=last_try) as token:
                token.log_in()
        except errors.DojangError as error:
            return error.code
        return "ok"

    return attempt


@pytest.fixture
def start(plugged, home, tmp_path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts ``dojang ARGS`` with the PIN in the file ``pin``."""
    pin = tmp_path / "pin"
    pin.write_text(WRONG)
    pin.chmod(0o600)

    def begin(*args: object) -> "subprocess.Popen[str]":
        common = ("--module", plugged.setup.module, "--pin-source", f"file:{pin}", "--no-input", "--json")
        command = [sys.executable, "-m", "dojang", *map(str, (*common, *args))]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path, env=os.environ | LOCALE)

    return begin


def answer(process: "subprocess.Popen[str]") -> str:
    """Exit status and error code; for a batch, those that its files ended with."""
    out, err = process.communicate(timeout=100)
    document = json.loads(out)
    if "error" in document:
        return f"{process.returncode} {document['error']['code']}"
    assert document["ok"], err
    return f"{process.returncode} ok"


def test_another_card_in_the_same_reader_gets_no_pin(home):
    """A PIN goes to the card that was named and to no other, and is good for it when it is back."""
    with card_token() as named, Card(keys={Slot.SIGNATURE: "ec-p256"}, pin="654321") as other:
        search, guard = ModuleSearch(module=str(named.module), discover=False), PinGuard(pin_guard_path())
        with open_token(named.uri, Secret(named.pin), search=search, guard=guard) as token:
            named.remove()
            list_tokens(search)
            other.insert(named.port)
            with pytest.raises(errors.TokenRemoved):
                token.log_in()
            with pytest.raises(errors.TokenRemoved):
                list(token.certificates())
            assert (other.verifications, other.tries_left) == (0, 3)
            before = named.daemon.log.count("Card Removed From")
            other.remove()
            while named.daemon.log.count("Card Removed From") == before:
                time.sleep(0.01)
            named.insert()
            token.log_in()
        assert named.card.verifications == 1


def test_a_wrong_pin_for_a_thousand_files_costs_one_try(plugged, start, tmp_path, log_in):
    """Nothing is signed, the second run is refused without a try, and the right PIN clears the memory of both."""
    names = [f"letter-{number}" for number in range(1000)]
    for name in names:
        (tmp_path / name).write_text(name)
    command = ("sign", "raw", "--key", f"{plugged.setup.uri};id=%01", *names)
    assert answer(start(*command)) == "7 pin-incorrect"
    assert (plugged.card.verifications, plugged.card.tries_left) == (1, 2)
    assert answer(start(*command)) == "7 pin-known-wrong"
    assert (plugged.card.verifications, plugged.card.signatures) == (1, 0)
    assert not list(tmp_path.glob("*.sig"))
    assert log_in(plugged.setup.pin) == "ok"
    assert plugged.card.tries_left == 3
    assert not pin_guard_path().exists()


def test_a_wrong_pin_in_eight_threads_costs_one_try(plugged, log_in):
    """All begin at once; one learns that the PIN is wrong, seven that somebody else has learnt it."""
    together = threading.Barrier(8)

    def attempt(_: int) -> str:
        together.wait()
        return log_in(WRONG)

    with ThreadPoolExecutor(8) as threads:
        results = sorted(threads.map(attempt, range(8)))
    assert results == ["pin-incorrect", *["pin-known-wrong"] * 7]
    assert (plugged.card.verifications, plugged.card.tries_left) == (1, 2)


def test_a_wrong_pin_in_three_processes_costs_one_try(plugged, start):
    processes = [start("key", "list", plugged.setup.uri) for _ in range(3)]
    assert sorted(answer(process) for process in processes) == ["7 pin-incorrect", *["7 pin-known-wrong"] * 2]
    assert (plugged.card.verifications, plugged.card.tries_left) == (1, 2)


def test_a_daemon_with_a_wrong_pin_costs_one_try(plugged, start):
    """``agent start`` is refused, twice, for the price of one try."""
    command = ("agent", "start", "--key", f"{plugged.setup.uri};id=%01")
    assert [answer(start(*command)), answer(start(*command))] == ["7 pin-incorrect", "7 pin-known-wrong"]
    assert (plugged.card.verifications, plugged.card.tries_left) == (1, 2)


def test_the_last_try_is_never_spent_unasked(plugged, log_in, start, tmp_path):
    """With one try left nothing reaches the card, not even the right PIN, until somebody says so."""
    assert [log_in("000001"), log_in("000002")] == ["pin-incorrect"] * 2
    (tmp_path / "pin").write_text("000003")
    assert answer(start("key", "list", plugged.setup.uri)) == "8 pin-last-try"
    assert [log_in("000003"), log_in(plugged.setup.pin)] == ["pin-last-try"] * 2
    assert (plugged.card.verifications, plugged.card.tries_left) == (2, 1)
    assert log_in(plugged.setup.pin, last_try=True) == "ok"
    assert plugged.card.tries_left == 3


def test_a_locked_pin_is_not_tried(plugged, log_in):
    """The third wrong PIN, given on purpose, locks the card; from then on it is not asked. The PUK makes it usable."""
    assert [log_in("000001"), log_in("000002")] == ["pin-incorrect"] * 2
    assert log_in("000003", last_try=True) in ("pin-incorrect", "pin-locked")
    assert plugged.card.tries_left == 0
    tried = plugged.card.verifications
    assert log_in(plugged.setup.pin, last_try=True) == "pin-locked"
    assert plugged.card.verifications == tried
    unblock = ["pkcs15-tool", "--unblock-pin", "--auth-id", "01", "--puk", "12345678", "--new-pin", "654321"]
    subprocess.run(unblock, check=True, capture_output=True)
    assert log_in("654321") == "ok"


def test_a_wrong_pin_for_one_signature_is_counted_like_any_other(plugged, home):
    """9C wants the PIN between C_SignInit and C_Sign: a wrong one there costs one try and signs nothing; the right one
    makes good for it.
    """
    search = ModuleSearch(module=str(plugged.setup.module), discover=False)
    answers = iter([plugged.setup.pin, WRONG, plugged.setup.pin])
    with open_token(
        plugged.setup.uri, lambda _: Secret(next(answers)), search=search, guard=PinGuard(pin_guard_path())
    ) as token:
        signer = token.signer(key_id=b"\2")
        with pytest.raises(errors.PinIncorrect):
            signer.sign_digest(bytes(32), "sha256")
        assert (plugged.card.signatures, plugged.card.tries_left) == (0, 2)
        signer.sign_digest(bytes(32), "sha256")
    assert (plugged.card.signatures, plugged.card.tries_left) == (1, 3)


def test_a_card_pulled_while_it_looks_at_a_pin_costs_no_second_try(plugged, log_in):
    """Whether the PIN was right is then unknown; it is not tried again by itself."""

    def pull(command, proceed) -> bytes:
        answer = proceed()
        if command.data:
            raise Pulled
        return answer

    plugged.card.faults.add(pull, on=Ins.VERIFY, times=None)
    assert log_in(WRONG) in ("token-removed", "device-failure")
    assert (plugged.card.verifications, plugged.card.tries_left) == (1, 2)


# A keypad


@pytest.fixture(scope="module")
def keypad_library(tmp_path_factory) -> Path:
    library = tmp_path_factory.mktemp("keypad") / "keypad.so"
    source = Path(__file__).with_name("keypad_module.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def keypad(keypad_library, softhsm_module, make_token, home, tmp_path):
    """``keypad(ARGS)`` runs dojang on a token with a keypad, with PIN sources at hand, and says how it ended and what
    the keypad saw of it."""
    token = make_token(pin="246810", so_pin="246810")
    log, types = tmp_path / "keypad.log", tmp_path / "keypad.types"
    types.write_text("246810\n")
    environment = {"KEYPAD_OVER": softhsm_module, "KEYPAD_LOG": str(log), "KEYPAD_TYPES": str(types)}
    secret = tmp_path / "secret"
    secret.write_text("135791")
    secret.chmod(0o600)
    sources = ("--pin-source", f"file:{secret}", "--so-pin-source", f"file:{secret}")

    def run(*args: object, tempting: tuple[str, ...] = sources) -> tuple[int, list[str]]:
        log.write_text("")
        command = [sys.executable, "-m", "dojang", "--module", keypad_library, *tempting, "--no-input", "--json", *args]
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, env=os.environ | environment | LOCALE
        )
        assert "Traceback" not in done.stderr
        return done.returncode, log.read_text().splitlines()

    run.token, run.secret = token, secret
    return run


def test_a_keypad_is_never_given_a_pin(keypad, tmp_path, softhsm_module):
    """Login, the PIN for one signature, an agent, changing, unblocking, wiping and initialising: the token asks at its
    keypad, though every source that could hold a PIN is named, and no function of its module ever sees one.
    """
    uri, message, again = keypad.token.uri, tmp_path / "message", ("--new-pin-source", f"file:{keypad.secret}")
    message.write_bytes(b"message")
    always = [
        "pkcs11-tool",
        "--module",
        softhsm_module,
        "--token-label",
        keypad.token.label,
        "--login",
        "--pin",
        "246810",
    ]
    always += ["--keypairgen", "--key-type", "EC:prime256v1", "--always-auth", "--id", "0c", "--label", "always"]
    subprocess.run([*always, "--usage-sign"], check=True, capture_output=True)
    assert keypad("key", "generate", uri, "--algorithm", "ec-p256", "--label", "once") == (0, ["typed user"])
    assert keypad("sign", "raw", "--key", f"{uri};object=once", message, "-o", tmp_path / "1") == (0, ["typed user"])
    both = (0, ["typed user", "typed context"])
    assert keypad("sign", "raw", "--key", f"{uri};object=always", message, "-o", tmp_path / "2") == both
    assert keypad("agent", "start", "--key", f"{uri};object=once") == (0, ["typed user"])
    try:
        command = ("sign", "raw", "--key", f"{uri};object=once", message, "-o", tmp_path / "3")
        assert keypad(*command, tempting=()) == (0, [])  # who names a source does not want the agent
    finally:
        assert keypad("agent", "stop") == (0, [])
    assert keypad("token", "pin", "change", uri, *again) == (0, ["typed set-pin"])
    assert keypad("token", "pin", "change", uri, "--so", *again) == (0, ["typed so", "typed set-pin"])
    assert keypad("token", "pin", "unblock", uri, *again) == (0, ["typed so", "typed init-pin"])
    wiped = keypad("token", "wipe", uri, "--yes-wipe", keypad.token.serial)
    assert wiped == (0, ["typed init-token"])
    made = keypad("token", "init", "--label", f"keypad-{os.getpid()}", *again)
    assert made == (0, ["typed init-token", "typed so", "typed init-pin"])


def test_a_wrong_pin_at_the_keypad_is_asked_for_once(keypad, tmp_path):
    """Nobody types again unasked: one failure, and the program ends."""
    (tmp_path / "keypad.types").write_text("999999\n")
    assert keypad("key", "list", keypad.token.uri) == (7, ["typed user"])
