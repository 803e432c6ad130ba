"""``dojang otp … --ca``: devices of an authority, from registering to removing, and the key over their seeds."""

import json
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass(frozen=True)
class Office:
    """A home with an authority called office; ``run`` runs dojang there as JSON."""

    home: Path
    token: Any
    runner: Callable[..., subprocess.CompletedProcess[str]]

    def run(self, *words: object, code: str | None = None, **named: Any) -> dict[str, Any]:
        if code is not None:
            (self.home / "code").write_text(code)
            words += ("--code-source", f"file:{self.home / 'code'}")
        done = self.runner("otp", *words, "--ca", "office", "--ca-pin-source", self.token.pin_source, "--json", **named)
        return json.loads(done.stdout) | {"status": done.returncode}

    def data(self, *words: object, **named: Any) -> dict[str, Any]:
        done = self.run(*words, **named)
        assert done["status"] == 0, done
        return done["data"]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, make_token, dojang_at) -> Office:
    home = tmp_path_factory.mktemp("devices") / "dojang"
    home.mkdir()
    made = Office(home, make_token(), dojang_at(home))
    root = ("--key", f"{made.token.uri};object=root", "--name", "CN=Office CA")
    done = made.runner("ca", "init", "--alias", "office", *root, "--ca-pin-source", made.token.pin_source)
    assert done.returncode == 0, done
    return made


def shown(seed: str, counter: int, *, digits: str = "6") -> str:
    """What a program that we did not write computes."""
    command = ["oathtool", "--hotp", "--counter", str(counter), "--digits", digits, "--base32", seed]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_device_from_its_qr_code_to_its_end(office, tmp_path):
    """What the picture says computes what the authority accepts; locked, unlocked, found again, suspended, removed."""
    picture = tmp_path / "hong.png"
    made = office.data("add", "--kind", "hotp", "--digits", "8", "--name", "bank", "--export-qr", picture)
    device = made["device"]["id"]
    assert made["device"]["exportable"] is False
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    read = subprocess.run(["zbarimg", "-q", "--raw", picture], capture_output=True, text=True, check=True).stdout
    uri = urlsplit(read.strip())
    said = parse_qs(uri.query)
    assert (uri.netloc, said["digits"], said["counter"], said["issuer"]) == ("hotp", ["8"], ["0"], ["office"])
    (seed,) = said["secret"]
    codes = [shown(seed, counter, digits="8") for counter in range(60)]
    assert office.data("verify", device, code=codes[0])["valid"] is True
    again = office.run("verify", device, code=codes[0])
    assert (again["status"], again["error"]["code"]) == (13, "otp-incorrect")
    following = tmp_path / "following"
    following.write_text(codes[51])
    found = office.data("resync", device, "--next-code-source", f"file:{following}", code=codes[50])
    assert found["device"]["state"] == "active"
    assert office.data("suspend", device, "--reason", "lost")["device"]["state"] == "suspended"
    assert office.run("verify", device, code=codes[52])["status"] == 13
    assert office.data("restore", device)["device"]["state"] == "active"
    assert office.data("kek", "rotate")["kek"] == "kek-2"
    assert office.data("verify", device, code=codes[52])["valid"] is True
    assert office.data("delete", device, "--yes", device)["device"]["state"] == "removed"
    assert office.data("list")["devices"] == []


def test_a_phone_calls_the_issuer_as_its_messages_do(office):
    """Where the authority has a name for people; and whatever ``--issuer`` says goes before."""
    settings = office.home / "state" / "authorities" / "office" / "authority.toml"
    settings.write_text('[messages]\nname = "예시은행"\n')
    try:
        for words, issuer in (((), "예시은행"), (("--issuer", "Bank"), "Bank")):
            made = office.data("add", "--show", *words)
            assert parse_qs(urlsplit(made["uri"]).query)["issuer"] == [issuer]
            office.data("delete", made["device"]["id"], "--yes", made["device"]["id"])
    finally:
        settings.unlink()


def test_a_given_seed_is_locked_and_unlocked(office, tmp_path):
    """A seed in base32 goes in; the list tells an officer why nothing is accepted. Nothing shows the seed or a code."""
    seed = tmp_path / "seed"
    seed.write_text("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    next(office.home.rglob("store.sqlite")).with_name("authority.toml").write_text("[otp]\ntries = 2\n")
    device = office.data("add", "--kind", "hotp", "--seed-source", f"file:{seed}", "--counter", "1")["device"]["id"]
    for _ in range(2):
        assert office.run("verify", device, code="000000")["status"] == 13
    (listed,) = office.data("list")["devices"]
    assert (listed["state"], listed["wrong_tries"]) == ("locked", 2)
    assert office.run("verify", device, code="287082")["status"] == 13
    assert office.data("unlock", device)["device"]["state"] == "active"
    assert office.data("verify", device, code="287082")["valid"] is True
    kept = b"".join(path.read_bytes() for path in office.home.rglob("*") if path.is_file() and path.name != "code")
    for secret in (b"12345678901234567890", seed.read_bytes(), b"287082"):
        assert secret not in kept
    office.data("delete", device, "--yes", device)


def test_what_cannot_be_is_refused(office, tmp_path):
    """Nothing is registered by it; with --plan neither."""
    taken = tmp_path / "there.svg"
    taken.touch()
    applicant = ("--applicant", "nobody")
    assert office.run("add", "--export-qr", taken)["error"]["code"] == "already-exists"
    assert office.run("add", "--export-qr", tmp_path / "qr.gif")["error"]["code"] == "invalid-otp"
    assert office.run("add", "--suite", "OCRA-1:HOTP-SHA1-6:QN08", "--export-qr", tmp_path / "qr.svg")["status"] == 2
    assert office.run("add", "--touch")["error"]["code"] == "usage"
    assert office.run("add", *applicant)["error"]["code"] == "not-found"
    assert office.run("unlock", "nobody")["error"]["code"] == "not-found"
    assert office.run("verify", "nobody", code="000000")["error"]["code"] == "otp-incorrect"
    for words in (["add"], ["kek", "rotate"], ["suspend", "nobody"]):
        assert office.run(*words, "--plan")["status"] == 0
    assert office.data("list")["devices"] == []


def test_ocra_is_asked_and_answered(office):
    """What is asked is answered with verify; the question is the result of the command."""
    device = office.data("add", "--suite", "OCRA-1:HOTP-SHA1-6:QN08")["device"]["id"]
    asked = office.data("challenge", device)["challenge"]
    assert len(asked) == 8
    assert asked.isdigit()
    assert office.run("verify", device, code="000000")["status"] == 13
    assert office.run("challenge", device, "--question", "12345678")["error"]["code"] == "invalid-otp"
    office.data("delete", device, "--yes", device)
