"""``dojang otp`` on tokens: every verb, what each prints, and what it refuses."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pexpect
import pytest

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
URI = f"otpauth://totp/Bank:hong?secret={SEED}&issuer=Bank"


@pytest.fixture(scope="module")
def token(make_token):
    return make_token(f"otp-{uuid4().hex[:8]}")


@pytest.fixture
def otp(run_dojang, token):
    """Runs ``dojang otp …`` with the token's PIN, and gives status and answer."""

    def run(*words: object, **env: str) -> tuple[int, dict]:
        done = run_dojang("otp", *words, "--pin-source", token.pin_source, "--no-input", "--json", env=env)
        assert "Traceback" not in done.stderr
        answer = json.loads(done.stdout)
        return done.returncode, answer["data"] if answer["ok"] else answer["error"]

    return run


@pytest.fixture
def added(otp, token):
    """Adds a seed and gives its address; what a test has added is deleted after it."""
    addresses = []

    def add(*words: object, **env: str) -> str:
        status, data = otp("add", token.uri, *words, **env)
        assert status == 0, data
        addresses.append(data["seed"]["address"])
        return addresses[-1]

    yield add
    for address in addresses:
        otp("delete", address, "--yes", token.serial)


def oathtool(*words: str) -> list[str]:
    return subprocess.run(["oathtool", "-b", *words, SEED], capture_output=True, text=True, check=True).stdout.split()


def test_a_seed_from_a_uri_shows_its_code(otp, added, token) -> None:
    """Added, listed with all that the URI said, and its code is oathtool's; the URI is nowhere in what is printed."""
    address = added("--uri-source", "env:URI", URI=URI)
    assert address == f"{token.uri};object=hong;type=secret-key"
    status, data = otp("list", token.uri)
    (seed,) = data["seeds"]
    assert (status, seed["address"], seed["issuer"], seed["account"]) == (0, address, "Bank", "hong")
    assert (seed["kind"], seed["hash"], seed["digits"], seed["period"]) == ("totp", "sha1", 6, 30)
    status, data = otp("code", address)
    moment = datetime.fromisoformat(data["valid_until"])
    (expected,) = oathtool("--totp", "-N", f"@{int(moment.timestamp()) - 1}")
    assert (status, data["code"], data["counter"]) == (0, expected, None)
    assert 0 <= data["seconds_left"] <= 30
    assert moment > datetime.now(UTC) or data["seconds_left"] <= 1


def test_codes_by_counter_go_on_over_runs(otp, added) -> None:
    """Each run shows the next one; --plan uses none up; a typed seed in base32 may have groups."""
    address = added("--name", "vpn", "--kind", "hotp", "--seed-source", "env:SEED", SEED=SEED.lower())
    shown = [otp("code", address)[1]["code"] for _ in range(2)]
    assert otp("code", address, "--plan")[1]["changed"] is False
    shown.append(otp("code", address)[1]["code"])
    assert shown == oathtool("--hotp", "-w", "2")


def test_people_and_scripts_get_what_they_need(run_dojang, added, token) -> None:
    """A person sees the code and how long it is good for; --quiet prints the code alone; Korean is spoken."""
    address = added("--uri-source", "env:URI", URI=URI)
    words = ("otp", "code", address, "--pin-source", token.pin_source)
    code, left = run_dojang(*words).stdout.splitlines()
    assert code.isdigit()
    assert "more seconds" in left
    assert run_dojang(*words, "--quiet").stdout.strip().isdigit()
    assert "초 동안" in run_dojang(*words, "--lang", "ko").stdout


def test_a_code_is_accepted_once(otp, added) -> None:
    """Right, then used; a wrong one is exit status 13 too, under another code."""
    address = added("--uri-source", "env:URI", URI=URI)
    code = otp("code", address)[1]["code"]
    assert otp("verify", address, "--code-source", "env:CODE", CODE=code) == (0, {"address": address, "valid": True})
    status, error = otp("verify", address, "--code-source", "env:CODE", CODE=code)
    assert (status, error["code"]) == (13, "otp-replayed")
    status, error = otp("verify", address, "--code-source", "env:CODE", CODE="12345")
    assert (status, error["code"]) == (13, "otp-incorrect")
    assert otp("verify", address)[1]["code"] == "input-required"


def test_a_counter_is_found_again(otp, added) -> None:
    """By two codes in a row, by saying it, and never back."""
    address = added("--name", "vpn", "--kind", "hotp", "--seed-source", "env:SEED", SEED=SEED)
    first, second = oathtool("--hotp", "-c", "50", "-w", "1")
    sources = ("--code-source", "env:FIRST", "--next-code-source", "env:SECOND")
    assert otp("resync", address, *sources, FIRST=first, SECOND=second) == (0, {"address": address, "counter": 52})
    assert otp("resync", address, "--counter", 60)[0] == 0
    assert otp("resync", address, "--counter", 59)[1]["code"] == "not-permitted"
    assert otp("code", address)[1]["counter"] == 60


def test_a_transaction_is_answered(otp, added) -> None:
    """OCRA: the code for a challenge, checked with the same challenge; without one it is refused."""
    address = added("--name", "pay", "--suite", "OCRA-1:HOTP-SHA256-8:QN08-PSHA1", "--issuer", "Bank")
    asked = ("--challenge", "12345678", "--ocra-pin-source", "env:PIN4")
    code = otp("code", address, *asked, PIN4="1234")[1]["code"]
    assert otp("verify", address, "--code-source", "env:CODE", *asked, CODE=code, PIN4="1234")[0] == 0
    assert otp("verify", address, "--code-source", "env:CODE", *asked, CODE=code, PIN4="4321")[0] == 13
    assert otp("code", address)[1]["code"] == "invalid-otp"
    assert otp("code", address, "--challenge", "1")[1]["code"] == "invalid-otp"


def test_what_makes_no_sense_is_said(otp, token) -> None:
    """Two sources, a URI beside options that it says itself, a suite for another kind, no address, no such scheme."""
    for words in (
        ("--uri-source", "env:URI", "--seed-source", "env:URI"),
        ("--uri-source", "env:URI", "--digits", 8),
        ("--kind", "totp", "--suite", "OCRA-1:HOTP-SHA1-6:QN08"),
        ("--kind", "ocra"),
        ("--applicant", "5f0c"),
        ("--show",),
    ):
        status, _ = otp("add", token.uri, *words, URI=URI)
        assert status == 2
    assert otp("add")[1]["code"] == "usage"
    elsewhere = otp("code", "npki:")[1]
    assert (elsewhere["code"], "dojang otp list" in elsewhere["next"]) == ("invalid-address", True)
    assert otp("list", token.uri)[1]["seeds"] == []


def test_a_plan_changes_nothing(otp, token, added) -> None:
    """Each verb says what it would do, and does not."""
    status, data = otp("add", token.uri, "--name", "planned", "--plan")
    assert (status, data["changed"], len(data["plan"])) == (0, False, 1)
    assert otp("list", token.uri)[1]["seeds"] == []
    address = added("--name", "there", "--kind", "hotp")
    for words in (
        ("verify", address, "--code-source", "env:CODE"),
        ("resync", address, "--counter", 9),
        ("delete", address),
    ):
        assert otp(*words, "--plan", CODE="123456")[1]["changed"] is False
    assert otp("code", address)[1]["counter"] == 0


def test_deleting_asks_for_the_serial(otp, token, added) -> None:
    """Another serial destroys nothing; the right one destroys key and data object; the next time it is not found."""
    address = added("--name", "gone")
    assert otp("delete", address)[1]["code"] == "input-required"
    assert otp("delete", address, "--yes", "1234")[1]["code"] == "serial-mismatch"
    assert otp("delete", address, "--yes", token.serial) == (0, {"address": address, "destroyed": 1})
    assert otp("delete", address, "--yes", token.serial)[1]["code"] == "not-found"


def test_other_commands_leave_seeds_alone(run_dojang, otp, added, token) -> None:
    """Keys, certificates and the token itself are listed as before; a name is given once."""
    address = added("--name", "seed")
    for words in (("token", "show"), ("key", "list"), ("cert", "list"), ("token", "fsck")):
        done = run_dojang(*words, token.uri, "--pin-source", token.pin_source, "--json")
        assert done.returncode == 0, done.stdout
    assert (
        json.loads(run_dojang("key", "list", token.uri, "--pin-source", token.pin_source, "--json").stdout)["data"][
            "keys"
        ]
        == []
    )
    assert otp("add", token.uri, "--name", "seed")[1]["code"] == "already-exists"
    assert otp("code", address)[0] == 0


def test_no_code_and_no_seed_is_kept(otp, added, home: Path, run_dojang) -> None:
    """Neither the log at its most talkative nor any other file of ours holds them."""
    address = added("--name", "vpn", "--kind", "hotp", "--seed-source", "env:SEED", "--log-level", "debug", SEED=SEED)
    code = otp("code", address, "--log-level", "debug")[1]["code"]
    otp("verify", address, "--code-source", "env:CODE", "--log-level", "debug", CODE=code)
    secrets = [code.encode(), SEED.encode(), b"12345678901234567890", b"12345678901234567890".hex().encode()]
    files = [path for path in home.parent.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if any(secret in path.read_bytes() for secret in secrets)] == []


def test_without_an_address_no_pin_is_tried_on_several_tokens(otp, added, make_token) -> None:
    """Every device is listed where one token is there; with a PIN that is one token's, of several none is asked."""
    address = added("--name", "only")
    make_token(f"otp-{uuid4().hex[:8]}")
    status, error = otp("list")
    assert (status, error["code"]) == (4, "ambiguous")
    assert address.partition(";object")[0] in error["message"]


def test_without_an_address_nobody_is_asked_for_a_pin(terminal, added, token, otp) -> None:
    """What is behind one is named with the command that shows it; a device and a list of devices are not the same."""
    address = added("--name", "hidden")
    child = terminal("otp", "list")
    child.expect_exact(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    named = address.partition(";object")[0]
    assert f"Behind a PIN or password: dojang otp list '{named}'" in child.before.replace("\r\n", "\n")
    for words in (("list", token.uri, "--ca", "office"), ("list", "--officer", "x"), ("add", token.uri, "--ca", "x")):
        assert otp(*words)[0] == 2


def test_a_counter_that_cannot_be_makes_no_seed(otp, token) -> None:
    """Nothing of it is left."""
    status, error = otp("add", token.uri, "--name", "absurd", "--kind", "hotp", "--counter", 1 << 63)
    assert (status, error["code"]) == (2, "invalid-otp")
    assert otp("list", token.uri)[1]["seeds"] == []


def test_a_person_may_watch(terminal, added, token) -> None:
    """The present code on one line, anew each second, until Ctrl-C, which is exit status 130."""
    address = added("--uri-source", "env:URI", URI=URI)
    child = terminal("otp", "code", address, "--watch", "--pin-source", token.pin_source)
    child.expect(r"(\d{6})  (\d+) s")
    code = child.match[1]
    child.expect(r"(\d{6})  (\d+) s")
    assert code in oathtool("--totp") + oathtool("--totp", "-N", "30 seconds ago")
    child.sendintr()
    child.expect_exact("Interrupted")
    child.wait()
    assert child.exitstatus == 130
