"""``dojang token`` on a real token."""

import json
import shlex
from uuid import uuid4

import pytest


def answer(done) -> dict:
    """The one JSON document on standard output."""
    return json.loads(done.stdout)


@pytest.fixture
def token(make_token):
    return make_token(f"cli-{uuid4().hex[:8]}")


def test_list_names_every_token(run_dojang, token) -> None:
    """The list holds each token with the fields that scripts read, and an address that leads back to it."""
    tokens = {row["label"]: row for row in answer(run_dojang("token", "list", "--json"))["data"]["tokens"]}
    row = tokens[token.label]
    assert row.keys() >= {"label", "serial", "model", "manufacturer", "module", "address", "flags", "initialized"}
    assert (row["serial"], row["initialized"]) == (token.serial, True)
    shown = answer(run_dojang("token", "show", row["address"], "--json"))["data"]["token"]
    assert shown["serial"] == token.serial
    assert "CKM_ECDSA" in shown["mechanisms"]


def test_list_for_people_and_for_pasting(run_dojang, token) -> None:
    """The table shows the label; --quiet prints addresses alone."""
    assert token.label in run_dojang("token", "list").stdout
    lines = run_dojang("token", "list", "--quiet").stdout.splitlines()
    assert any(token.serial in line for line in lines)
    assert all(line.startswith("pkcs11:") for line in lines)


def test_init_makes_a_token_that_can_be_used(run_dojang, token) -> None:
    """A new token has its label and both PINs."""
    label = f"new-{uuid4().hex[:8]}"
    done = run_dojang(
        "token", "init", "--label", label, "--so-pin-source", token.so_pin_source, "--new-pin-source", token.pin_source
    )
    assert done.returncode == 0
    address = answer(run_dojang("token", "show", f"pkcs11:token={label}", "--json"))["data"]["token"]["address"]
    made = run_dojang("key", "generate", address, "--label", "k", "--pin-source", token.pin_source)
    assert made.returncode == 0, made.stderr


def test_init_refuses_an_existing_label(run_dojang, token) -> None:
    """A label that is taken is exit status 9, and nothing is initialised."""
    before = answer(run_dojang("token", "list", "--json"))["data"]["tokens"]
    done = run_dojang("token", "init", "--label", token.label, "--so-pin-source", token.so_pin_source, "--json")
    assert (done.returncode, answer(done)["error"]["code"]) == (9, "already-exists")
    assert answer(run_dojang("token", "list", "--json"))["data"]["tokens"] == before


def test_init_without_a_pin_changes_nothing(run_dojang, token) -> None:
    """Where a PIN is missing and nobody can be asked, the slot stays as it is."""
    label = f"never-{uuid4().hex[:8]}"
    done = run_dojang("token", "init", "--label", label, "--so-pin-source", token.so_pin_source, "--json")
    assert (done.returncode, answer(done)["error"]["code"]) == (2, "input-required")
    assert "--new-pin-source" in answer(done)["error"]["next"]
    assert run_dojang("token", "show", f"pkcs11:token={label}").returncode == 6


def test_init_with_an_unusable_pin_changes_nothing(run_dojang, token) -> None:
    """A user PIN that the token would not take is refused before the slot is initialised."""
    label = f"never-{uuid4().hex[:8]}"
    words = ["token", "init", "--label", label, "--so-pin-source", token.so_pin_source, "--new-pin-source", "env:SHORT"]
    done = run_dojang(*words, "--json", env={"SHORT": "12"})
    assert (done.returncode, answer(done)["error"]["code"]) == (2, "pin-unusable")
    assert run_dojang("token", "show", f"pkcs11:token={label}").returncode == 6


def test_so_pin_change(run_dojang, token) -> None:
    """--so changes the SO PIN: the new one unblocks."""
    new = {"NEW": "87654321"}
    words = ["token", "pin", "change", token.uri, "--so", "--so-pin-source", token.so_pin_source]
    assert run_dojang(*words, "--new-pin-source", "env:NEW", env=new).returncode == 0
    words = ["token", "pin", "unblock", token.uri, "--so-pin-source", "env:NEW", "--new-pin-source", token.pin_source]
    assert run_dojang(*words, env=new).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ["token", "init", "--label", "planned"],
        ["token", "pin", "change", "URI"],
        ["token", "pin", "unblock", "URI"],
        ["token", "wipe", "URI"],
    ],
)
def test_plan_changes_nothing_and_asks_nothing(run_dojang, token, words: list[str]) -> None:
    """--plan lists the steps and needs neither PIN nor confirmation."""
    done = run_dojang(*[token.uri if word == "URI" else word for word in words], "--plan", "--json", "--no-input")
    assert done.returncode == 0, done.stderr
    data = answer(done)["data"]
    assert data["plan"]
    assert data["changed"] is False
    assert answer(run_dojang("token", "show", token.uri, "--json"))["data"]["token"]["label"] == token.label


def test_pin_change(run_dojang, token, tmp_path) -> None:
    """After a change the new PIN works and the old one does not."""
    new = tmp_path / "new"
    new.write_text("97531")
    new.chmod(0o600)
    words = ["token", "pin", "change", token.uri, "--pin-source", token.pin_source, "--new-pin-source", f"file:{new}"]
    assert run_dojang(*words).returncode == 0
    assert run_dojang("key", "list", token.uri, "--pin-source", f"file:{new}").returncode == 0
    assert run_dojang("key", "list", token.uri, "--pin-source", token.pin_source).returncode == 7


def test_pin_unblock(run_dojang, token, tmp_path) -> None:
    """The SO PIN sets a new user PIN."""
    new = tmp_path / "new"
    new.write_text("86420")
    new.chmod(0o600)
    so = ["--so-pin-source", token.so_pin_source]
    assert run_dojang("token", "pin", "unblock", token.uri, *so, "--new-pin-source", f"file:{new}").returncode == 0
    assert run_dojang("key", "list", token.uri, "--pin-source", f"file:{new}").returncode == 0


def test_wrong_pin(run_dojang, token) -> None:
    """A wrong PIN is exit status 7; the same one again is not tried; neither shows it."""
    wrong = {"WRONG": "62951413"}
    first = run_dojang("key", "list", token.uri, "--pin-source", "env:WRONG", "--json", env=wrong)
    assert (first.returncode, answer(first)["error"]["code"]) == (7, "pin-incorrect")
    again = run_dojang("key", "list", token.uri, "--pin-source", "env:WRONG", "--json", env=wrong)
    assert (again.returncode, answer(again)["error"]["code"]) == (7, "pin-known-wrong")
    assert "62951413" not in first.stdout + first.stderr + again.stdout + again.stderr
    assert run_dojang("key", "list", token.uri, "--pin-source", token.pin_source).returncode == 0


def test_advice_can_be_pasted(run_dojang, make_token) -> None:
    """The command that an error advises is whole, whatever the token is called."""
    token = make_token(f"it's; 내 토큰 {uuid4().hex[:4]}")
    for words in (["key", "list", token.uri], ["token", "init", "--label", token.label]):
        done = run_dojang(*words, "--pin-source", "env:WRONG", "--json", env={"WRONG": "0000"})
        advice = json.loads(done.stdout)["error"]["next"]
        words = shlex.split(advice.partition(": dojang ")[2])
        shown = run_dojang(*words, "--plan")
        assert shown.returncode == 0, advice
        assert token.label in shown.stdout


def test_a_pin_of_the_wrong_length_is_refused_before(run_dojang, token) -> None:
    """A new PIN that the token would not take is exit status 2 and the old one stays."""
    words = ["token", "pin", "change", token.uri, "--pin-source", token.pin_source, "--new-pin-source", "env:SHORT"]
    done = run_dojang(*words, "--json", env={"SHORT": "12"})
    assert (done.returncode, answer(done)["error"]["code"]) == (2, "pin-unusable")
    assert run_dojang("key", "list", token.uri, "--pin-source", token.pin_source).returncode == 0


def test_wipe_needs_the_right_serial(run_dojang, token) -> None:
    """A wrong serial is exit status 9, none at all is 2, and the keys are still there."""
    run_dojang("key", "generate", token.uri, "--label", "kept", "--pin-source", token.pin_source)
    so = ["--so-pin-source", token.so_pin_source]
    assert run_dojang("token", "wipe", token.uri, *so, "--yes-wipe", "0000").returncode == 9
    assert run_dojang("token", "wipe", token.uri, *so).returncode == 2
    keys = answer(run_dojang("key", "list", token.uri, "--pin-source", token.pin_source, "--json"))["data"]["keys"]
    assert [key["label"] for key in keys] == ["kept"]


def test_wipe(run_dojang, token) -> None:
    """After a wipe the token is there, empty and without a user PIN, under the same label."""
    run_dojang("key", "generate", token.uri, "--label", "gone", "--pin-source", token.pin_source)
    so = ["--so-pin-source", token.so_pin_source]
    done = run_dojang("token", "wipe", token.uri, *so, "--yes-wipe", token.serial, "--json")
    assert done.returncode == 0, done.stdout
    row = answer(done)["data"]["token"]
    assert row["label"] == token.label
    assert "user-pin-initialized" not in row["flags"]
    assert run_dojang("key", "list", row["address"], "--pin-source", token.pin_source).returncode == 6


def test_no_such_token(run_dojang) -> None:
    """A token that is not there is exit status 6."""
    assert run_dojang("token", "show", "pkcs11:token=nobody-has-this").returncode == 6


def test_two_tokens_of_one_label(run_dojang, make_token) -> None:
    """A second match is exit status 4 and both addresses are printed, each of which leads to one."""
    label = f"twin-{uuid4().hex[:8]}"
    serials = {make_token(label).serial, make_token(label).serial}
    done = run_dojang("token", "show", f"pkcs11:token={label}", "--json")
    error = answer(done)["error"]
    assert (done.returncode, error["code"]) == (4, "ambiguous-token")
    assert all(serial in error["message"] for serial in serials)


def test_a_module_that_is_not_there(run_dojang) -> None:
    """A module named by hand that does not load is exit status 5 and says why."""
    done = run_dojang("token", "list", "--module", "/nowhere/lib.so", "--json")
    assert (done.returncode, answer(done)["error"]["code"]) == (5, "module-unloadable")


def test_aliases(run_dojang, token, home) -> None:
    """``@name`` stands for a saved address; an unknown one says where it would be written."""
    (home / "config.toml").write_text(f'[aliases]\nwork = "{token.uri}"\n')
    assert answer(run_dojang("token", "show", "@work", "--json"))["data"]["token"]["serial"] == token.serial
    done = run_dojang("token", "show", "@play", "--json")
    assert done.returncode == 3
    assert "[aliases]" in answer(done)["error"]["next"]


def test_a_pin_in_the_address_works_with_a_warning(run_dojang, token) -> None:
    """pin-value is accepted, warned about and never echoed."""
    done = run_dojang("key", "list", f"{token.uri}?pin-value={token.pin}")
    assert done.returncode == 0
    assert "--pin-source" in done.stderr
    assert f"pin-value={token.pin}" not in done.stdout + done.stderr


def test_an_open_pin_file_is_warned_about(run_dojang, token, tmp_path) -> None:
    """A PIN file that others may read works, with a warning that says how to close it."""
    path = tmp_path / "pin"
    path.write_text(token.pin)
    path.chmod(0o644)
    done = run_dojang("key", "list", token.uri, "--pin-source", f"file:{path}")
    assert done.returncode == 0
    assert f"chmod 600 {path}" in done.stderr
