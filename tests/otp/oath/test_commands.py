"""``dojang otp`` on a security key: every verb, passwords, touches, and a run that is killed while it adds."""

import json
import os
import re
import socket
import subprocess
import sys
import time

import pytest
from tests.otp.oath.conftest import SEED, put_in

from dojang.testing.oath import OathIns, SecurityKey
from dojang.testing.pcsc import SOCKET_VARIABLE
from dojang.testing.piv import removal, slow

URI = "otpauth://totp/Bank:hong?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Bank"
BASE32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
def otp(key, run_dojang):
    """dojang in a process of its own; what ``--json`` said, or with ``status`` the error."""

    def run(*words: object, status: int = 0, **named: object) -> dict:
        done = run_dojang("otp", *words, "--json", "--no-input", **named)
        assert done.returncode == status, done.stdout + done.stderr
        said = json.loads(done.stdout)
        return said["data"] if status == 0 else said["error"]

    return run


@pytest.fixture
def uri_file(tmp_path):
    path = tmp_path / "bank.uri"
    path.write_text(URI)
    path.chmod(0o600)
    return f"file:{path}"


def test_the_life_of_a_seed(otp, key, uri_file):
    """Added, listed, used, and destroyed after its device's serial number; what is printed can be pasted."""
    planned = otp("add", "oath:", "--uri-source", uri_file, "--plan")
    assert planned["changed"] is False
    assert not key.oath.accounts
    seed = otp("add", "oath:", "--uri-source", uri_file)["seed"]
    assert (seed["address"], seed["issuer"], seed["account"]) == ("oath:12345678/Bank:hong", "Bank", "hong")
    assert otp("add", "oath:", "--uri-source", uri_file, status=14)["code"] == "nothing-to-do"
    otp("add", "oath:12345678/vpn", "--kind", "hotp", "--seed-source", "env:SEED", env={"SEED": BASE32})
    assert [one["name"] for one in otp("list", "oath:")["seeds"]] == ["Bank:hong", "vpn"]
    assert [otp("code", "oath:/vpn")["code"] for _ in range(2)] == ["755224", "287082"]
    assert len(otp("code", seed["address"])["code"]) == 6
    assert otp("delete", seed["address"], "--yes", "1", status=9)["code"] == "serial-mismatch"
    otp("delete", seed["address"], "--yes", "12345678")
    assert list(key.oath.accounts) == [b"vpn"]
    assert otp("code", seed["address"], status=3)["code"] == "not-found"


def test_what_a_security_key_cannot_do(otp, key):
    """It makes no seed and checks no code; both are said with what to do instead."""
    assert otp("add", "oath:", "--name", "a", status=10)["code"] == "unsupported-operation"
    key.oath.put("a", SEED)
    assert otp("verify", "oath:/a", "--code-source", "env:CODE", status=10, env={"CODE": "1"})["code"] == (
        "unsupported-operation"
    )


def test_a_password_comes_from_its_source_and_appears_nowhere(otp, key, run_dojang, tmp_path):
    """A wrong one is exit 7 after one try; without a source and without a person the flag is named."""
    from hashlib import pbkdf2_hmac

    key.oath.put("a", SEED)
    key.oath.access_key = pbkdf2_hmac("sha1", b"geheim", key.oath.salt, 1000, 16)
    given = {"env": {"RIGHT": "geheim", "WRONG": "falsch-geraten"}}
    assert len(otp("code", "oath:/a", "--password-source", "env:RIGHT", **given)["code"]) == 6
    done = run_dojang(
        "otp", "list", "oath:", "--log-level", "debug", "--no-input", "--password-source", "env:WRONG", **given
    )
    assert done.returncode == 7
    assert "falsch-geraten" not in done.stdout + done.stderr
    assert key.oath.wrong_passwords == 1
    again = otp("list", "oath:", "--password-source", "env:WRONG", status=7, **given)
    assert again["code"] == "device-password-known-wrong"
    assert key.oath.wrong_passwords == 1
    assert "--password-source" in otp("list", "oath:", status=2)["next"]
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or not {b"geheim", b"falsch"} & set(path.read_bytes().split())


def test_one_password_is_not_tried_on_several_devices(otp, key, pcsc_daemon):
    """As with PINs: who means more than one is asked which; without a password each that is locked says so."""
    of_tokens = otp("list")["unread"]  # of those that other tests have left
    key.oath.access_key = bytes(16)
    with pcsc_daemon.reader() as port, SecurityKey(keys={}, serial=99) as other:
        other.oath.access_key = bytes(16)
        put_in(other, port)
        assert otp("list", "--password-source", "env:P", status=4, env={"P": "x"})["code"] == "ambiguous"
        assert otp("list") == {"seeds": [], "failures": [], "unread": [*of_tokens, "oath:12345678", "oath:99"]}
        assert (key.oath.wrong_passwords, other.oath.wrong_passwords) == (0, 0)


@pytest.mark.parametrize(("language", "said"), [("en", "Touch the device"), ("ko", "터치")])
def test_a_person_is_told_to_touch(key, home, language, said):
    """On standard error, while the device waits, also with --quiet; the code alone is on standard output."""
    key.oath.put("t", SEED, touch=True)
    words = ["otp", "code", "oath:/t", "--quiet", "--lang", language]
    with subprocess.Popen(
        [sys.executable, "-m", "dojang", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert key.finger.waiting.wait(20)
        key.finger.touch()
        out, err = process.communicate(timeout=20)
    assert said in err
    assert re.fullmatch(r"\d{6}\n", out)


def test_nobody_touches(otp, key):
    key.oath.put("t", SEED, touch=True)
    key.finger.patience = 0.05
    assert otp("code", "oath:/t", status=11)["code"] == "touch-timed-out"


def test_pulled_out(otp, plugged, key):
    """Exit 6, and the same when it is not there any more."""
    key.oath.put("a", SEED)
    key.faults.add(removal(), on=OathIns.CALCULATE)
    assert otp("code", "oath:/a", status=6)["code"] == "token-removed"
    assert otp("code", "oath:/a", status=6)["code"] in ("token-removed", "token-not-found")


@pytest.mark.parametrize("at", [OathIns.LIST, OathIns.PUT, OathIns.CALCULATE])
def test_a_run_that_is_killed_while_it_adds(otp, key, home, uri_file, at):
    """Before, in and after the one command that adds: the same command again adds it, or says that it is there.

    The device is left usable by whoever comes next: the dead process keeps nothing of it.
    """
    key.faults.happened = 0
    key.faults.add(slow(0.3), on=at)
    words = ["otp", "add", "oath:", "--uri-source", uri_file, "--no-input"]
    with subprocess.Popen([sys.executable, "-m", "dojang", *words], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not key.faults.happened:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    there = at != OathIns.LIST
    again = otp("add", "oath:", "--uri-source", uri_file, status=14 if there else 0)
    assert (again["message"] if there else again["seed"]["address"]).rstrip(".").endswith("oath:12345678/Bank:hong")
    assert list(key.oath.accounts) == [b"Bank:hong"]
    assert len(otp("code", "oath:")["code"]) == 6


@pytest.mark.parametrize(("flags", "interrupted", "status"), [([], True, 130), (["--timeout", "0.3"], False, 11)])
def test_a_daemon_that_does_not_answer_is_no_trap(tmp_path, flags, interrupted, status):
    """Ctrl-C and --timeout end the command while PC/SC takes the connection and never says a word."""
    silent = tmp_path / "silent"
    script = (
        "import os, signal, sys, threading\nimport dojang.cli.otp_held, dojang.otp.oath.discovery\n"
        "from dojang.cli.run import run\n"
        "if sys.argv.pop(1) == 'True':\n"
        "    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "sys.exit(run(['otp', 'list', 'oath:', '--no-input', *sys.argv[1:]]))\n"
    )
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(silent))
        daemon.listen()
        command = [sys.executable, "-c", script, str(interrupted), *flags]
        nowhere = {**os.environ, "HOME": str(tmp_path), SOCKET_VARIABLE: str(silent)}
        done = subprocess.run(command, env=nowhere, capture_output=True, text=True, timeout=20)
    assert done.returncode == status, done.stderr
