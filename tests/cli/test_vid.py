"""``--number-source``: a certificate with a VID from the command line, and the number in no file."""

import json
from pathlib import Path

import pytest

NUMBER = "1234561234567"
TABLE = """
title = {{ en = "With a VID", ko = "VID 있음" }}
validity-days = 90
renewal-window-days = 30
early-renewal = true
algorithms = ["ec-p256"]
key-usage = ["digital-signature"]
vid = "{rule}"
"""
WORDS = ["cert", "issue", "--to", "npki:", "--subject", "CN=홍길동,C=KR"]


@pytest.fixture
def bank(desk):
    """The desk with a profile that wants a VID and one that has none."""
    profiles = desk.home / "state" / "authorities" / "office" / "profiles"
    profiles.mkdir()
    for rule in ("required", "none"):
        (profiles / f"vid-{rule}.toml").write_text(TABLE.format(rule=rule))
    (desk.home.parent / "number").write_text(NUMBER)
    (desk.home.parent / "number").chmod(0o600)
    return desk


def _error(desk, *words) -> dict:
    run = desk.run(*words, "--json")
    assert run.returncode != 0, run.stdout
    return json.loads(run.stdout)["error"] | {"status": run.returncode}


def test_a_number_from_a_source(bank) -> None:
    """Issued, registered with the number, renewed: the VID is its owner's; the plan asks for nothing."""
    source = f"file:{bank.home.parent}/number"
    words = [*WORDS, "--profile", "vid-required", "--number-source", source]
    assert bank.run(*words[:-1], "env:NOBODY_SET_THIS", "--plan").returncode == 0
    address = bank.data(*words)["credential"]["address"]
    bank.data("ca", "crl", "-o", bank.home / "office.crl")
    trusted = bank.home / "chain.pem"
    bank.data("cert", "show", address, "-o", trusted)
    trusted.write_text("-----BEGIN" + trusted.read_text().split("-----BEGIN")[-1])
    bank.data("renew", "now", address)
    bank.data("ca", "crl", "-o", bank.home / "office.crl")
    register = ["cert", "register", address, "--trust", trusted, "--crl", bank.home / "office.crl"]
    checks = bank.data(*register, "--vid-number-source", source)["checks"]
    assert {"name": "person", "ok": True} in [{name: check[name] for name in ("name", "ok")} for check in checks]
    (bank.home.parent / "wrong").write_text("1234561234560")
    (bank.home.parent / "wrong").chmod(0o600)
    error = _error(bank, *register, "--vid-number-source", f"file:{bank.home.parent}/wrong")
    assert [check["name"] for check in error["details"]["checks"] if not check["ok"]] == ["person"]


def test_nobody_there_to_ask(bank) -> None:
    """A required number that nobody gives, one that nobody wants, one for an authority far away: one error each."""
    error = _error(bank, *WORDS, "--profile", "vid-required", "--no-input")
    assert (error["code"], error["status"]) == ("input-required", 2)
    assert "--number-source" in error["next"]
    source = ["--number-source", f"file:{bank.home.parent}/number"]
    error = _error(bank, *WORDS, "--profile", "vid-none", *source)
    assert (error["code"], error["status"]) == ("not-permitted", 9)
    assert "vid-none" in error["message"]
    error = _error(bank, *WORDS, "--ca", "http://127.0.0.1:9/", *source)
    assert (error["code"], error["status"]) == ("unsupported-operation", 10)
    assert "--ca NAME" in error["next"]
    listed = bank.data("ca", "list")["certificates"]
    assert len(listed) == 0


def test_a_person_is_asked(bank, terminal) -> None:
    """At a terminal the number is asked for without showing it, in Korean too; no file of the home has it."""
    (bank.home.parent / "number").unlink()
    child = terminal(*WORDS, "--profile", "vid-required", LC_ALL="ko_KR.UTF-8", LANG="ko_KR.UTF-8")
    child.expect("주민등록번호 또는 사업자등록번호")
    child.sendline(NUMBER[:6] + "-" + NUMBER[6:])
    child.expect("signCert|cert show")
    child.wait()
    assert child.exitstatus == 0
    assert NUMBER[6:] not in child.before
    for path in Path(bank.home.parent).rglob("*"):
        if path.is_file():
            assert NUMBER.encode() not in path.read_bytes(), path
            assert (NUMBER[:6] + "-" + NUMBER[6:]).encode() not in path.read_bytes(), path
