"""Tokens that come and go are told within a second on every kind of module, and no module keeps the others waiting.

Whoever watches does it in a process of its own, as people do; what changes is changed by others.
"""

import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dojang.testing.piv import plugged_in

PROMISE = 1.0
PATIENCE = 30.0
ROUNDS = 2

WATCH = """
    import json, sys, threading
    from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec
    from dojang.pkcs11.events import watch
    interval, *modules = json.loads(sys.argv[1])
    search = ModuleSearch(configured=tuple(ModuleSpec(path, "") for path in modules), discover=False)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    def report(failure):
        print(json.dumps(["failed", failure.facts["reason"]]), flush=True)
    for event in watch(search, stop, interval=interval, report=report):
        what = "there" if event.initial else event.kind
        print(json.dumps([what, event.token.label, event.at.timestamp(), event.address, event.slot]), flush=True)
    print(json.dumps(["end", sum(one.name.startswith("watch ") for one in threading.enumerate())]), flush=True)
"""


class Watching:
    """What a watching process has said, in order."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: queue.SimpleQueue[list] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def next(self) -> list:
        return self._lines.get(timeout=PATIENCE)

    def delay(self, expected: list, change: Callable[[], object]) -> float:
        """Seconds from the end of ``change`` to the moment that the event states."""
        change()
        changed = time.time()
        said = self.next()
        assert said[:2] == expected
        return said[2] - changed

    def nothing(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self._lines.empty()

    def stop(self) -> list:
        self.process.stdin.close()
        said = self.next()
        self.process.wait(timeout=PATIENCE)
        return said


@pytest.fixture
def watching() -> Iterator[Callable[..., Watching]]:
    running: list[subprocess.Popen[str]] = []

    def start(*modules: object, interval: float = 0.5, **environment: str) -> Watching:
        command = [sys.executable, "-c", textwrap.dedent(WATCH), json.dumps([interval, *map(str, modules)])]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        running.append(process)
        return Watching(process)

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def softhsm(tmp_path: Path, softhsm_module: str) -> tuple[str, dict[str, str]]:
    """A store of its own with one token ``there``; the module and what its environment must say."""
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    softhsm_tool(environment, "--init-token", "--free", "--label", "there")
    return softhsm_module, environment


def softhsm_tool(environment: dict[str, str], *arguments: str) -> None:
    pins = ["--so-pin", "12345678", "--pin", "1234"] if "--init-token" in arguments else []
    command = ["softhsm2-util", *arguments, *pins]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True, timeout=PATIENCE)


def test_tokens_made_and_wiped_by_others_are_told_within_a_second(watching, softhsm) -> None:
    """SoftHSM shows what other processes did only when begun anew; its tokens come and go all the same."""
    module, environment = softhsm
    watched = watching(module, **environment)
    assert watched.next()[:2] == ["there", "there"]
    delays = []
    for number in range(ROUNDS):
        label = f"new-{number}"
        make = ("--init-token", "--free", "--label", label)
        delays.append(watched.delay(["insert", label], lambda make=make: softhsm_tool(environment, *make)))
        gone = ("--delete-token", "--token", label)
        delays.append(watched.delay(["remove", label], lambda gone=gone: softhsm_tool(environment, *gone)))
    assert statistics.median(delays) <= PROMISE
    again = ("--init-token", "--token", "there", "--label", "other")
    softhsm_tool(environment, *again)
    assert [watched.next()[:2] for _ in range(2)] == [["remove", "there"], ["insert", "other"]]
    assert watched.stop() == ["end", 0]


def test_a_store_that_is_written_all_the_time_loses_no_token(watching, softhsm) -> None:
    """Logins of other processes write SoftHSM's files; no token seems to go away meanwhile."""
    module, environment = softhsm
    watched = watching(module, interval=0.1, **environment)
    assert watched.next()[0] == "there"
    log_in = ["pkcs11-tool", "--module", module, "--token-label", "there", "--login", "--pin", "1234", "-O"]
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        subprocess.run(log_in, env={**os.environ, **environment}, check=True, capture_output=True, timeout=PATIENCE)
    assert watched.nothing(0.5)


def test_a_card_is_told_within_a_second(watching) -> None:
    """A card in a reader, put in and taken out; the reader's daemon dying is a removal, and the card comes back."""
    with plugged_in() as (setup, card, daemon, port):
        watched = watching(setup.module, **setup.environment)
        there = watched.next()
        assert there[:2] == ["there", setup.label]
        delays = []
        for _ in range(ROUNDS):
            delays.append(watched.delay(["remove", setup.label], card.remove))
            delays.append(watched.delay(["insert", setup.label], lambda: card.insert(port)))
        assert statistics.median(delays) <= PROMISE
        daemon.restart()
        assert watched.next()[:2] == ["remove", setup.label]
        card.insert(port)
        back = watched.next()
        assert (back[0], back[1], back[3]) == ("insert", setup.label, there[3])
        watched.stop()


def test_a_card_that_is_back_before_anybody_looked_was_out(watching) -> None:
    """Out and in between two looks is both events: whoever locks when the card leaves must not miss it."""
    with plugged_in() as (setup, card, _daemon, port):
        watched = watching(setup.module, interval=4.0, **setup.environment)
        assert watched.next()[0] == "there"
        card.remove()
        time.sleep(1.0)  # pcscd looks into the reader a few times a second
        card.insert(port)
        assert [watched.next()[:2] for _ in range(2)] == [["remove", setup.label], ["insert", setup.label]]


def test_watching_a_card_that_stays_asks_it_nothing(watching) -> None:
    """A command of ours between somebody's PIN and signature would spoil the signature: the reader is asked instead."""
    with plugged_in() as (setup, card, _daemon, _port):
        watched = watching(setup.module, **setup.environment)
        assert watched.next()[0] == "there"
        time.sleep(1.0)
        before = card.commands
        time.sleep(2.0)
        assert card.commands == before


@contextmanager
def served(folder: Path, module: str, environment: dict[str, str]) -> Iterator[None]:
    socket = folder / "p11"
    socket.unlink(missing_ok=True)
    command = ["p11-kit", "server", "-f", "-n", str(socket), "--provider", module, "pkcs11:token=there"]
    server = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_a_daemon_that_dies_and_comes_back_is_told_within_a_second(watching, softhsm, tmp_path) -> None:
    """The tokens behind a p11-kit server come with it, go when it is killed, and come with the next one."""
    module, environment = softhsm
    client = next(Path("/usr/lib").glob("*/pkcs11/p11-kit-client.so"))
    watched = watching(client, P11_KIT_SERVER_ADDRESS=f"unix:path={tmp_path}/p11")
    assert watched.nothing(0.5)
    delays = []
    for _ in range(ROUNDS):
        with served(tmp_path, module, environment):
            came = time.time()
            said = watched.next()
            assert said[:2] == ["insert", "there"]
            delays.append(said[2] - came)
        went = time.time()
        said = watched.next()
        assert said[:2] == ["remove", "there"]
        delays.append(said[2] - went)
    assert statistics.median(delays) <= PROMISE


HANGING = """
    #include <unistd.h>
    unsigned long C_GetFunctionList(void **list) { for (;;) sleep(1); }
"""


def test_a_module_that_hangs_delays_nobody(watching, softhsm, tmp_path) -> None:
    """One module never answers, one is no library: the third is watched as if they were not there, to the end."""
    source, hanging, rubbish = tmp_path / "hang.c", tmp_path / "hang.so", tmp_path / "rubbish.so"
    source.write_text(textwrap.dedent(HANGING))
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", hanging, source], check=True)
    rubbish.write_text("no library")
    module, environment = softhsm
    watched = watching(hanging, rubbish, module, **environment)
    assert sorted(watched.next()[:2] for _ in range(2)) == [["failed", "not-a-library"], ["there", "there"]]
    make = ("--init-token", "--free", "--label", "new")
    assert watched.delay(["insert", "new"], lambda: softhsm_tool(environment, *make)) <= 2 * PROMISE
    asked = time.monotonic()
    assert watched.stop() == ["end", 1]  # the one that hangs is still there, and the process ends in spite of it
    assert time.monotonic() - asked < PATIENCE / 3


def test_watching_disturbs_no_signature(softhsm, make_token, search, guard) -> None:
    """While sessions are open in this process, nothing is begun anew: four threads sign as if nobody watched."""
    from dojang.pkcs11 import open_token
    from dojang.pkcs11.events import watch
    from dojang.secret import Secret

    made = make_token()
    stop, events = threading.Event(), []
    watcher = threading.Thread(target=lambda: events.extend(watch(search, stop, interval=0.01)))
    watcher.start()
    signed: list[bytes] = []
    try:
        for _ in range(5):  # opened and closed, so that it is begun anew in between
            with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as token:
                key = token.generate_key_pair("ec-p256", label="watched")
                work = [threading.Thread(target=lambda key=key: signed.extend(_sign(key))) for _ in range(4)]
                [thread.start() for thread in work]
                [thread.join() for thread in work]
                token.destroy(key.signer.attributes[0x102])
            time.sleep(0.05)
    finally:
        stop.set()
        watcher.join()
    assert len(signed) == 5 * 4 * 50
    assert [event for event in events if not event.initial and event.token.label == made.label] == []


def _sign(key) -> list[bytes]:
    return [key.signer.sign_digest(bytes(32), "sha256") for _ in range(50)]


def test_a_token_that_was_found_before_a_restart_is_used_in_its_new_slot(make_token, search, guard) -> None:
    """Whoever watches begins modules anew, and slots get other numbers: no PIN and no wiping goes to another token."""
    from dojang.pkcs11 import OpenToken, find_token, list_tokens
    from dojang.secret import Secret

    pin, so_pin = Secret("1234"), Secret("12345678")
    other = make_token()
    free = list_tokens(search).empty_slots[0]
    token = free.initialize(label=f"moved-{os.getpid()}", so_pin=so_pin, user_pin=pin, guard=guard)
    slot_id, serial = token.slot_id, token.info.serial
    token.module.reinitialise(token.module.generation)
    assert find_token(token.address, search).slot_id != slot_id, "the module gives a new token another number"
    with OpenToken(token, pin, guard) as opened:
        opened.generate_key_pair("ec-p256", label="here")
    token = find_token(token.address, search)
    free.module.reinitialise(free.module.generation)
    assert token.wipe(serial=serial, so_pin=so_pin, guard=guard).info.serial == serial
    assert find_token(other.uri, search).info.label == other.label
