"""A signal before everything that lasts, one point after the other: what was promised holds after each."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from signal import SIGINT

import pytest
from tests.faults.conftest import Bench, strike_everywhere

from dojang.locations.registry import open_location
from dojang.secret import Secret

KINDS = ["token", "disk"]
FILES = ["pkcs12", "pem"]  # tests/locations kills them at every write; so some points will do


def _one_live(bench: Bench, kind: str, name: str) -> tuple[dict, list[dict]]:
    """The one live credential of that name, which works, and the retired ones; the authority knows of no other."""
    credentials = bench.credentials(kind, name)
    (live,) = [one for one in credentials if one["state"] != "retired"]
    assert bench.signs(live)
    issued = bench.issued(name)
    assert {one["state"] for one in issued} <= {"confirmed", "revoked"}, "something unconfirmed is valid"
    assert {one["serial"] for one in issued if one["state"] == "confirmed"} == {one["serial"] for one in credentials}
    return live, [one for one in credentials if one["state"] == "retired"]


def _nothing_left_over(bench: Bench, kind: str) -> None:
    """Every key has its certificate, nothing is staged, and the journal has nothing open."""
    if kind == "token":
        listed = bench.json("cert", "list", bench.locations[kind])["credentials"]
        assert bench.keys_on_token() == {one["id"] for one in listed}
    elif kind == "disk":
        staging = bench.home.parent / "NPKI" / ".dojang"
        assert not staging.exists() or not any(staging.iterdir())
    else:
        password = Secret((bench.home / "password").read_bytes())
        with open_location(bench.locations[kind], passwords=lambda path, new: password) as location:
            contents = location._file.read()
        assert {one.key_id for one in contents.keys} == {one.key_id for one in contents.certificates}
        assert not any(one.state.staged for one in contents.certificates)
        assert not list(bench.home.parent.glob("*.part"))
    findings = bench.findings()
    assert "operation-incomplete" not in {finding["code"] for finding in findings}


@pytest.mark.parametrize("kind", KINDS + FILES)
def test_issue_killed_anywhere(bench: Bench, kind: str) -> None:
    """The same command leaves exactly one credential; ``renew run`` finishes it or leaves nothing of it anywhere."""

    def check(name: str, point: int) -> None:
        if point % 2:
            again = bench.run(*bench.issue_words(kind, name))
            assert again.status == 0, again.err
        else:
            assert bench.run("renew", "run", bench.locations[kind]).status in (0, 14)
        if point % 2 or bench.credentials(kind, name):
            _live, retired = _one_live(bench, kind, name)
            assert not retired
        else:
            assert {one["state"] for one in bench.issued(name)} <= {"revoked"}
        _nothing_left_over(bench, kind)

    strike_everywhere(bench, lambda name: bench.issue_words(kind, name), check, journal=kind not in FILES)


@pytest.mark.parametrize("kind", KINDS)
def test_issue_interrupted(bench: Bench, kind: str) -> None:
    """Ctrl-C ends with 130; the same command run again leaves one complete credential."""

    def check(name: str, point: int) -> None:
        again = bench.run(*bench.issue_words(kind, name))
        assert again.status == 0, again.err
        _one_live(bench, kind, name)
        _nothing_left_over(bench, kind)

    words = partial(bench.issue_words, kind)
    strike_everywhere(bench, words, check, signal=SIGINT, journal=False)


@pytest.mark.parametrize("kind", KINDS + FILES)
@pytest.mark.parametrize("keep", [[], ["--keep-key"]], ids=["new-key", "keep-key"])
def test_renew_killed_anywhere(bench: Bench, kind: str, keep: list[str]) -> None:
    """Something in use always signs; after the next run it is the old pair, or the new with the old one retired.

    A hook before the renewal has run once for each that got so far, the one after it at least once for each of those.
    """
    before: dict[str, str] = {}
    told = bench.home / "told"
    if keep:
        _add_hooks(bench, told)

    def prepare(name: str) -> list[str]:
        told.unlink(missing_ok=True)
        made = bench.json(*bench.issue_words(kind, name))
        before[name] = made["credential"]["serial"]
        return ["renew", "now", bench.address_of(kind, name), *keep]

    def check(name: str, point: int) -> None:
        in_use = [one for one in bench.credentials(kind, name) if one["state"] != "retired"]
        assert in_use, "there is a moment without a credential"
        assert bench.signs(*in_use), "there is a moment without a working key"
        address = bench.address_of(kind, name)
        if point % 2:
            again = bench.run("renew", "now", address, *keep)
            assert again.status == 0, again.err
        else:
            assert bench.run("renew", "run", bench.locations[kind]).status in (0, 14)
        live, retired = _one_live(bench, kind, name)
        if live["serial"] == before[name]:
            assert not retired
            assert not point % 2
        else:
            assert [one["serial"] for one in retired] == [before[name]]
            assert bench.signs(retired[0])
        _nothing_left_over(bench, kind)
        _check_hooks(told, renewed=live["serial"] != before[name])

    # The keys that are kept take the same way as new ones, with the hooks on it.
    # A reissue goes the same way; the writes of each kind are struck in tests/locations.
    strike_everywhere(bench, prepare, check, every=5 if kind in FILES else 3, journal=kind not in FILES and not keep)


def _add_hooks(bench: Bench, told: Path) -> None:
    """Hooks that write down what they are told."""
    words = ["/bin/sh", "-c", f'echo "$DOJANG_HOOK $DOJANG_TRANSACTION $DOJANG_OUTCOME" >> {told}']
    with (bench.home / "config.toml").open("a") as settings:
        settings.write(f"[renew]\npre-hook = {json.dumps(words)}\npost-hook = {json.dumps(words)}\n")


def _check_hooks(told: Path, *, renewed: bool) -> None:
    lines = [line.split() for line in told.read_text().splitlines()] if told.exists() else []
    begun = [transaction for hook, transaction, _outcome in lines if hook == "pre"]
    ended = {transaction: outcome for hook, transaction, outcome in lines if hook == "post"}
    assert len(begun) == len(set(begun)), "a hook before a renewal ran twice"
    assert set(begun) <= ended.keys(), "a hook after a renewal was lost"
    assert not begun or list(ended.values()).count("renewed") == renewed


@pytest.mark.parametrize("kind", KINDS + FILES)
def test_delete_killed_anywhere(bench: Bench, kind: str) -> None:
    """A destruction that was begun is finished by the next run, and nothing of the credential is left."""

    def prepare(name: str) -> list[str]:
        made = bench.json(*bench.issue_words(kind, name))["credential"]
        serial = made["address"].partition("serial=")[2].partition(";")[0] if kind == "token" else made["serial"]
        return ["cert", "delete", made["address"], "--yes", serial]

    def check(name: str, point: int) -> None:
        assert bench.run("renew", "run", bench.locations[kind]).status in (0, 14)
        assert len(bench.credentials(kind, name)) == (1 if point == 0 else 0)
        _nothing_left_over(bench, kind)

    strike_everywhere(bench, prepare, check)


@pytest.mark.parametrize("kind", KINDS)
def test_request_and_install_killed_anywhere(bench: Bench, kind: str) -> None:
    """A killed request leaves no key; a killed install is finished or can be run again, and the credential works."""

    def check_request(name: str, point: int) -> None:
        assert bench.run("renew", "run", bench.locations[kind]).status in (0, 14)
        _nothing_left_over(bench, kind)

    strike_everywhere(bench, lambda name: _request_words(bench, kind, name), check_request, journal=False)

    def prepare(name: str) -> list[str]:
        name = f"install-{name}"
        assert bench.run(*_request_words(bench, kind, name)).status == 0
        _certify(bench, name)
        return ["cert", "install", bench.locations[kind], "--cert", bench.home / f"{name}.pem"]

    def check_install(name: str, point: int) -> None:
        name = f"install-{name}"
        again = bench.run("cert", "install", bench.locations[kind], "--cert", bench.home / f"{name}.pem")
        assert again.status == 0, again.err
        (credential,) = bench.credentials(kind, name)
        assert bench.signs(credential)

    strike_everywhere(bench, prepare, check_install)


def _request_words(bench: Bench, kind: str, name: str) -> list[str]:
    return ["cert", "request", bench.locations[kind], "--subject", f"CN={name},C=KR", "-o", bench.home / f"{name}.csr"]


def _certify(bench: Bench, name: str) -> None:
    """A certificate by somebody else, made with openssl."""
    key, own, request = (bench.home / file for file in ("other.key", "other.pem", f"{name}.csr"))
    if not own.exists():
        words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {key} -out {own} -subj /CN=Other"
        subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    words = f"x509 -req -in {request} -CA {own} -CAkey {key} -days 30 -out {bench.home / name}.pem"
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True)


@pytest.mark.parametrize("kind", KINDS)
def test_two_renewals_at_once(bench: Bench, kind: str) -> None:
    """Of two processes that renew one credential at once, one does it; the other says busy or that nothing is due."""
    for name in ("first", "second", "third"):
        bench.json(*bench.issue_words(kind, name))
        words = [sys.executable, "-m", "dojang", "renew", "now", bench.address_of(kind, name), "--json"]
        both = [subprocess.Popen(words, env=bench.environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        ends = [(process.communicate()[0], process.returncode) for process in both]
        statuses = sorted(status for _out, status in ends)
        assert statuses in ([0, 11], [0, 14]), ends
        _live, retired = _one_live(bench, kind, name)
        assert len(retired) == 1
        _nothing_left_over(bench, kind)


def test_two_issues_of_one_label_at_once(bench: Bench) -> None:
    """Of two processes that issue under one label, one does it; the other says busy or that the label exists."""
    words = [sys.executable, "-m", "dojang", *bench.issue_words("token", "twice"), "--json"]
    both = [subprocess.Popen(words, env=bench.environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(process.communicate()[0], process.returncode) for process in both]
    assert sorted(status for _out, status in ends) in ([0, 9], [0, 11]), ends
    _one_live(bench, "token", "twice")
    _nothing_left_over(bench, "token")
