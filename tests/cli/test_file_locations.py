"""Certificates in PKCS#12 and PEM files from the command line; phones and clouds, which are not there yet."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dojang.cli.credentials import LOCATIONS
from dojang.cli.place_words import ADVICE
from dojang.locations.registry import location_kinds
from dojang.npki.pkcs12_writing import PROFILES
from dojang.settings import PKCS12_PROFILES


@pytest.fixture
def office(home: Path, make_token, run_dojang) -> Callable[..., tuple[int, dict]]:
    """An authority; returns a function that runs dojang with the password of files and gives its status and JSON."""
    authority = make_token()
    password = home / "password"
    password.write_text("correct horse 1!")
    password.chmod(0o600)
    sources = ["--password-source", f"file:{password}", "--ca-pin-source", authority.pin_source]

    def run(*words: object) -> tuple[int, dict]:
        ended = run_dojang(*words, *sources, "--json", "--no-input")
        assert "Traceback" not in ended.stderr
        return ended.returncode, json.loads(ended.stdout)

    assert run("ca", "init", "--key", authority.uri, "--name", "CN=Office CA")[0] == 0
    return run


@pytest.mark.parametrize("kind", ["pkcs12", "pem"])
def test_the_life_of_a_certificate_in_a_file(office, tmp_path: Path, kind: str) -> None:
    """Issued, listed, used, renewed under its name, and gone with its file; OpenSSL knows it all the while."""
    path = tmp_path / f"hong.{kind}"
    place = f"{kind}:{path}"
    status, issued = office("cert", "issue", "--to", place, "--subject", "CN=홍길동,C=KR", "--profile", "tls-client")
    assert status == 0, issued
    credential = issued["data"]["credential"]
    assert (credential["location"], credential["key_leaves"], credential["copyable"]) == (kind, True, True)
    assert credential["address"] == f"{place}?cn=홍길동"
    letter, signature = tmp_path / "letter", tmp_path / "letter.p7s"
    letter.write_text("letter")
    assert office("sign", "cms", "--detached", "--key", credential["address"], letter, "-o", signature)[0] == 0
    verify = f"openssl cms -verify -binary -inform DER -in {signature} -content {letter} -noverify"
    assert subprocess.run(verify.split(), capture_output=True).returncode == 0
    status, renewed = office("renew", "now", credential["address"])
    assert status == 0, renewed
    assert renewed["data"]["credential"]["address"] == credential["address"]
    status, listed = office("cert", "list", place)
    assert [one["state"] for one in listed["data"]["credentials"]] == ["valid", "retired"]
    for one in listed["data"]["credentials"]:
        assert office("cert", "show", one["address"])[0] == 0
        assert office("cert", "delete", one["address"], "--yes", one["serial"])[0] == 0
    assert not path.exists()


@pytest.mark.parametrize("source", ["flag", "setting"])
def test_the_old_profile_is_asked_for_by_flag_or_setting(office, home: Path, tmp_path: Path, source: str) -> None:
    """For programs that read nothing else."""
    path = tmp_path / "hong.p12"
    words = ["cert", "issue", "--to", f"pkcs12:{path}", "--subject", "CN=Hong", "--profile", "tls-client"]
    if source == "setting":
        (home / "config.toml").write_text('pkcs12-profile = "legacy-3des"\n')
    status, told = office(*words, *(["--pkcs12-profile", "legacy-3des"] if source == "flag" else []))
    assert status == 0, told
    info = ["openssl", "pkcs12", "-in", path, "-info", "-noout", "-legacy", "-passin", "pass:correct horse 1!"]
    assert "3-KeyTripleDES-CBC" in subprocess.run(info, capture_output=True, text=True).stderr


def test_the_profiles_are_those_that_can_be_written() -> None:
    """What the settings and flags allow, and what is written."""
    assert PKCS12_PROFILES == PROFILES


@pytest.mark.parametrize("kind", ["pkcs12", "pem"])
def test_a_wrong_password_is_status_7(office, home: Path, tmp_path: Path, kind: str) -> None:
    """And the file stays as it was."""
    place = f"{kind}:{tmp_path}/hong.{kind}"
    assert office("cert", "issue", "--to", place, "--subject", "CN=Hong", "--profile", "tls-client")[0] == 0
    before = (tmp_path / f"hong.{kind}").read_bytes()
    (home / "password").write_text("wrong horse 2!")
    status, told = office("renew", "now", f"{place}?cn=Hong")
    assert (status, told["error"]["code"]) == (7, "password-incorrect")
    assert (tmp_path / f"hong.{kind}").read_bytes() == before


@pytest.mark.parametrize("kind", ["pkcs12", "pem"])
def test_a_place_that_cannot_be_written_leaves_nothing_to_recover(office, tmp_path: Path, kind: str) -> None:
    """Status 9, and the journal is closed again."""
    place = f"{kind}:{tmp_path}/missing/hong.{kind}"
    status, told = office("cert", "issue", "--to", place, "--subject", "CN=Hong", "--profile", "tls-client")
    assert (status, told["error"]["code"]) == (9, "file-unwritable"), told
    status, ran = office("renew", "run", place)
    assert status == 14
    assert ran["data"]["recovered"] == []


@pytest.mark.parametrize(
    "words",
    [
        ["cert", "list", "phone:"],
        ["renew", "now", "phone:?cn=Hong"],
        ["cert", "list", "cloud:https://sign.example/csc"],
        ["sign", "cms", "--key", "cloud:https://sign.example/csc?cn=Hong", __file__],
    ],
    ids=" ".join,
)
def test_what_has_no_service_yet_is_status_10(run_dojang, words: list[str]) -> None:
    """Every command that opens it says so and what to use instead."""
    ended = run_dojang(*words, "--json", "--no-input")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["error"]["code"]) == (10, "unsupported-operation"), told
    assert "npki:" in told["error"]["next"]


def test_every_kind_is_told_of_in_words() -> None:
    """The table that a person chooses from has words for each."""
    kinds = {row.kind for row in location_kinds()}
    assert set(LOCATIONS) == kinds
    assert set(ADVICE) == kinds
