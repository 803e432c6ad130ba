"""The agent's life: it starts whole or not at all, and it ends, falls asleep, locks and dies without leaving a PIN."""

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dojang.agent.signer import find_signer
from dojang.pkcs11.seclusion import seclude


def gone(pid: int, within: float = 30) -> bool:
    """Whether a process has ended; one that nobody waits for counts as well."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def listening(agent) -> bool:
    return agent.dojang("agent", "status").returncode == 0


def test_start_returns_when_it_listens(home, seal):
    """After ``start`` the socket answers, and nobody is asked for a PIN again."""
    started = home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)
    assert started["started"]
    assert [key["algorithm"] for key in started["keys"]] == ["ec-p256"]
    report = home.status()
    assert report["pid"] == started["pid"]
    assert report["locked"] is False


def test_a_wrong_pin_costs_one_try_and_leaves_no_agent(home, seal):
    """The agent's error is that of ``start``, with its exit status; the same PIN again is refused without a try."""
    words = ("agent", "start", "--key", seal.key("ec-p256"), "--pin-source", "env:WRONG")
    assert home.dojang(*words, env={"WRONG": "999999"}).returncode == 7
    again = home.dojang(*words, "--json", env={"WRONG": "999999"})
    assert again.returncode == 7
    assert '"pin-known-wrong"' in again.stdout
    assert not home.socket.exists()
    assert not listening(home)


def test_a_key_that_is_not_there_leaves_no_agent(home, seal):
    """A second key that fails takes the first with it."""
    keys = ("--key", seal.key("ec-p256"), "--key", seal.key("nothing"))
    assert home.dojang("agent", "start", *keys, "--pin-source", seal.pin_source).returncode == 3
    assert not listening(home)


def test_running_already(agent, seal):
    """The second start says so, adds what is new without the PIN, and starts nothing."""
    again = agent.start("--key", seal.key("rsa-2048"), "--no-input")
    assert again["started"] is False
    assert again["added"] == []


def test_another_token_needs_its_pin(home, seal, make_token):
    """A running agent takes up a key of another token only with that token's PIN."""
    other = make_token()  # first: a SoftHSM2 that has begun sees no token that another process makes
    made = home.dojang("key", "generate", other.uri, "--label", "own", "--pin-source", other.pin_source)
    assert made.returncode == 0, made.stderr
    home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)
    words = ("--key", f"{other.uri};object=own")
    assert home.dojang("agent", "start", *words, "--no-input").returncode == 2
    assert len(home.status()["keys"]) == 1
    assert len(home.start(*words, "--pin-source", other.pin_source)["added"]) == 1
    assert len(home.status()["keys"]) == 2


def test_the_start_of_two_at_once(home, seal):
    """Two starts at the same moment make one agent that has the keys of both."""
    names = ("ec-p256", "rsa-2048", "ed25519")

    def start(name: str) -> dict:
        return home.start("--key", seal.key(name), "--pin-source", seal.pin_source)

    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(start, names))
    assert len({one["pid"] for one in started}) == 1
    assert sum(one["started"] for one in started) == 1
    assert {key["algorithm"] for key in home.status()["keys"]} == set(names)


def test_stop(agent):
    """``stop`` returns when the process is gone; stopping nothing is done already."""
    pid = agent.status()["pid"]
    assert agent.dojang("agent", "stop").returncode == 0
    assert gone(pid)
    assert not agent.socket.exists()
    assert agent.dojang("agent", "stop").returncode == 0
    assert agent.dojang("agent", "status").returncode == 3
    assert agent.dojang("agent", "lock").returncode == 0


def test_a_signal_ends_it(agent):
    """SIGTERM ends it as ``stop`` does."""
    pid = agent.status()["pid"]
    os.kill(pid, signal.SIGTERM)
    assert gone(pid)
    assert not agent.socket.exists()


def test_killed_and_started_again(agent, seal):
    """The socket of an agent that was killed is in nobody's way."""
    pid = agent.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert agent.socket.exists()
    assert not listening(agent)
    assert agent.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)["started"]


def test_idle(home, seal):
    """Without requests it ends after the time it was given; asking for its state is no use of it."""
    pid = home.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source, "--idle", "2")["pid"]
    end = time.monotonic() + 30
    while time.monotonic() < end and listening(home):
        time.sleep(0.1)
    assert gone(pid)
    assert not home.socket.exists()


def test_idle_begins_when_it_listens(home, seal, program):
    """Time that a person takes over the PIN is not idle time."""
    slow = program("slow-pin", f"sleep 2.5; echo {seal.pin}")
    started = home.start("--key", seal.key("ec-p256"), "--pin-source", f"cmd:{slow}", "--idle", "1")
    assert started["started"]


def test_lock_forgets_the_pin(in_agent, seal, tmp_path):
    """A locked agent runs, and signs nothing; the PIN takes every key of the token up again."""
    signer = find_signer(seal.key("ec-p256"))
    assert in_agent.dojang("agent", "lock").returncode == 0
    assert in_agent.status()["locked"] is True
    assert find_signer(seal.key("ec-p256")) is None
    document = tmp_path / "document"
    document.write_bytes(b"to be signed")
    words = ("sign", "raw", "--key", seal.key("ec-p256"), document, "--no-input")
    assert in_agent.dojang(*words).returncode == 2  # it goes on as without agent, and nobody is there to ask
    refused = in_agent.dojang("agent", "start", "--key", seal.key("ec-p256"), "--no-input")
    assert refused.returncode == 2
    again = in_agent.start("--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)
    assert len(again["added"]) == 1
    assert again["locked"] is False
    assert len(signer.sign_digest(bytes(32), "sha256", plain=True)) == 64
    assert find_signer(seal.key("rsa-2048")) is not None


def test_a_wrong_pin_opens_no_locked_agent(agent, seal):
    """After ``lock`` the PIN is compared by the token again."""
    agent.dojang("agent", "lock")
    words = ("agent", "start", "--key", seal.key("ec-p256"), "--pin-source", "env:WRONG")
    assert agent.dojang(*words, env={"WRONG": "999998"}).returncode == 7
    assert agent.status()["locked"] is True


def test_the_pin_is_nowhere_to_be_read(home, seal):
    """Not in the arguments, not in the environment, in no file of the agent, in no core file."""
    pin = seal.pin
    started = home.start("--key", seal.key("ec-p256"), "--pin-source", "env:HONGS_PIN", env={"HONGS_PIN": pin})
    process = Path(f"/proc/{started['pid']}")
    assert b"HONGS_PIN" not in (process / "environ").read_bytes()
    assert pin.encode() not in (process / "cmdline").read_bytes()
    limits = (process / "limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core")).split()[4:6] == ["0", "0"]
    for path in home.folder.rglob("*"):
        if path.is_file():
            assert pin.encode() not in path.read_bytes(), path


def test_the_memory_is_closed():
    """A process that called ``seclude`` is not dumpable: no other program of the user reads its memory."""
    program = (
        "from ctypes import CDLL\nfrom dojang.pkcs11.seclusion import seclude\n"
        "before = CDLL(None).prctl(3)\nseclude()\nprint(before, CDLL(None).prctl(3))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]
    assert callable(seclude)
    assert resource.getrlimit(resource.RLIMIT_CORE)


def test_a_folder_open_to_others_is_refused(home, seal, tmp_path):
    """The socket lies in no folder that others may enter."""
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    words = ("agent", "start", "--key", seal.key("ec-p256"), "--pin-source", seal.pin_source)
    done = home.dojang(*words, env={"DOJANG_AGENT_SOCK": str(folder / "sock")})
    assert done.returncode == 9
    assert "chmod 700" in done.stderr
    assert list(folder.iterdir()) == []


def test_foreground(home, seal):
    """In the foreground it lasts as long as its command."""
    words = ["agent", "start", "--foreground", "--key", seal.key("ec-p256"), "--pin-source", seal.pin_source]
    module = home.dojang("token", "list", "--json")
    assert module.returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "dojang", *words],
        env=home.environment() | {"LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("The agent is running")
    pid = home.status()["pid"]
    process.kill()
    process.communicate()
    assert gone(pid)
