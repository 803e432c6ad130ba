"""``dojang ca … --ca https://host/NAME --officer ADDRESS``: the same commands, at an authority behind a centre."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.centre.serving import Served, serving, until

ROLES = [word for role in ("revoker", "registrar", "auditor") for word in ("--role", role)]


@dataclass
class Far:
    """An officer with a token, and the authority that he cannot reach but over TLS."""

    run: Any
    url: str
    officer: list[str]
    served: Served
    own_data: Any
    token: str
    settings: Path

    def data(self, *words: object) -> dict[str, Any]:
        said = self.said(*words)
        assert said["ok"], said
        return said["data"]

    def said(self, *words: object, **named: Any) -> dict[str, Any]:
        done = self.run(*words, "--ca", self.url, *self.officer, "--json", "--no-input", **named)
        found: dict[str, Any] = json.loads(done.stdout)
        return found | {"status": done.returncode}


@pytest.fixture(scope="module")
def far(make_token, dojang_at, tmp_path_factory, softhsm_module) -> Iterator[Far]:
    folder = tmp_path_factory.mktemp("far")
    near, away = folder / "near/dojang", folder / "away/dojang"
    for home in (near, away):
        home.mkdir(parents=True)
    authority, token = make_token(), make_token()
    run, run_away = dojang_at(near), dojang_at(away)

    def data(*words: object) -> dict[str, Any]:
        pins = ["--ca-pin-source", authority.pin_source, "--pin-source", token.pin_source]
        done = run(*words, *pins, "--json", "--no-input")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)["data"]
        return found

    words = ["--issuing-key", f"{authority.uri};object=issuing", "--issuing-name", "CN=Office,C=KR"]
    data("ca", "init", "--alias", "office", "--key", f"{authority.uri};object=root", "--name", "CN=Root,C=KR", *words)
    made = data("cert", "issue", "--to", token.uri, "--subject", "CN=Kim,C=KR", "--label", "kim")["credential"]
    data("cert", "show", made["address"], "-o", folder / "kim.pem")
    data("ca", "officer", "add", "--certificate", folder / "kim.pem", *ROLES)
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=centre"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "tls.key", "-out", folder / "tls.pem"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    (away / "config.toml").write_text(f'ca-tls-certificate = "{folder / "tls.pem"}"\n')
    environment = {**os.environ, "HOME": str(near.parent), "DOJANG_HOME": str(near), "DOJANG_MODULE": softhsm_module}
    tls = ["--tls-certificate", folder / "tls.pem", "--tls-key", folder / "tls.key"]
    pin = ["--ca-pin-source", authority.pin_source]
    with serving(tmp_path_factory.mktemp("host"), environment, *pin, *tls) as served:
        served.began()
        settings = near / "state/authorities/office/authority.toml"
        officer = ["--officer", made["address"], "--pin-source", token.pin_source]
        yield Far(run_away, f"https://127.0.0.1:{served.port}/office", officer, served, data, token.uri, settings)


def test_what_is_on_record_there_is_listed(far: Far) -> None:
    """As whoever is there lists it, a page at a time underneath."""
    assert far.data("ca", "list")["certificates"] == far.own_data("ca", "list")["certificates"]


def test_a_certificate_is_suspended_restored_and_revoked(far: Far, tmp_path: Path) -> None:
    """Each change is published at once; the list that is signed on order is the newest, and openssl reads it."""
    code = far.data("ca", "code", "new", "--profile", "tls-client", "--subject", "CN=Lee")
    assert len(code["code"]) == 16
    victim = far.own_data(
        "cert", "issue", "--to", far.token, "--subject", "CN=Lee", "--profile", "tls-client", "--ca", "office"
    )
    serial = victim["credential"]["serial"]
    for verb, state in (("suspend", "suspended"), ("restore", "confirmed"), ("revoke", "revoked")):
        assert far.data("ca", verb, serial)["certificate"]["state"] == state
    far.data("ca", "crl", "-o", tmp_path / "office.crl")
    command = ["openssl", "crl", "-inform", "DER", "-in", tmp_path / "office.crl", "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert serial.upper().removeprefix("0") in text


def test_a_device_is_registered_listed_and_removed(far: Far) -> None:
    """Its seed is made there; whatever would bring one here, or there, is refused, and so is what is no order."""
    device = far.data("otp", "add", "--kind", "hotp", "--name", "vpn", "--exportable")["device"]
    assert (device["kind"], device["name"], device["exportable"]) == ("hotp", "vpn", True)
    assert far.data("otp", "list")["devices"] == [device]
    for verb in (("verify",), ("resync", "--next-code-source", "env:CODE")):
        words = ("otp", verb[0], device["id"], "--code-source", "env:CODE", *verb[1:])
        assert far.said(*words, env={"CODE": "000000"})["error"]["code"] == "otp-incorrect"
    assert far.own_data("otp", "list", "--ca", "office")["devices"][0]["wrong_tries"] == 2
    assert far.data("otp", "delete", device["id"], "--yes", device["id"])["device"]["state"] == "removed"
    assert far.said("otp", "add", "--show")["status"] == 2
    done = far.run("otp", "kek", "rotate", "--ca", far.url, "--json", "--no-input")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (10, "unsupported-operation")


def test_a_card_from_afar_bears_the_name_of_its_issuer(far: Far, tmp_path: Path) -> None:
    """Not the address at which he was asked; and the name of its messages, where they have one."""
    applicant = far.data("ca", "applicant", "add", "--name", "Hong")["applicant"]["id"]
    for name in ("office", "예시은행"):
        card = tmp_path / f"{name}.pdf"
        far.data("otp", "card", "new", "--applicant", applicant, "-o", card)
        text = subprocess.run(["pdftotext", "-layout", card, "-"], capture_output=True, text=True, check=True).stdout
        assert name in text
        assert "127.0.0.1" not in text
        far.settings.write_text('[messages]\nname = "예시은행"\n')
        far.served.process.send_signal(signal.SIGHUP)
        until(lambda: '"event": "reloaded"' in far.served.log())
    far.settings.unlink()


def test_the_record_says_which_officer_it_was(far: Far) -> None:
    """Not whoever's process it is."""
    officer = far.own_data("ca", "officer", "list")["officers"][0]
    rows = far.own_data("audit", "tail")["entries"]
    assert f"officer:{officer['id']}" in {row["actor"] for row in rows}
    assert far.data("audit", "tail")["entries"] == rows
    assert far.said("audit", "tail", "--follow")["status"] == 2


def test_errors_are_those_of_the_command_there(far: Far) -> None:
    """Not found is 3, a role that he has not is 9, somebody without a key is asked for one."""
    missing = far.said("ca", "revoke", "abcdef")
    assert (missing["status"], missing["error"]["code"]) == (3, "not-found")
    refused = far.said("ca", "enrolment", "approve", "0000000000")
    assert (refused["status"], refused["error"]["code"]) == (9, "not-permitted")
    nobody = far.run("ca", "list", "--ca", far.url, "--json", "--no-input")
    assert (nobody.returncode, json.loads(nobody.stdout)["error"]["code"]) == (2, "input-required")
    plain = far.run("ca", "list", "--ca", "http://ca.example/office", *far.officer, "--json", "--no-input")
    assert (plain.returncode, json.loads(plain.stdout)["error"]["code"]) == (9, "not-permitted")


@pytest.mark.parametrize(
    "words",
    [("officer", "add", "--certificate", "kim.pem", "--role", "auditor"), ("officer", "remove", "x"), ("jobs", "list")],
)
def test_what_is_done_at_the_authority_says_so(far: Far, words: tuple[str, ...]) -> None:
    """Before anything is read or planned; nobody is asked for a credential that the command does not take."""
    done = far.run("ca", *words, "--ca", far.url, "--json", "--no-input")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (10, "unsupported-operation"), error
    assert error["next"] == "Run the command where the authority is."


def test_a_centre_that_tls_does_not_know_is_told_nothing(far: Far, dojang_at, tmp_path: Path) -> None:
    """Its certificate is not one that is believed: 13, before anything is sent."""
    home = tmp_path / "other" / "dojang"
    home.mkdir(parents=True)
    done = dojang_at(home)("ca", "list", "--ca", far.url, *far.officer, "--json", "--no-input")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (13, "authority-untrusted")
