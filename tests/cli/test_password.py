"""``dojang location password``: passwords of files, PINs of tokens, and how it ends."""

import json

import pytest


@pytest.fixture
def office(home, tmp_path, make_token, run_dojang):
    """A token, an authority, one credential in a folder; runs dojang with their secrets."""
    token, authority = make_token(), make_token()
    for name, text in (("old", "correct horse 1!"), ("new", "battery staple 2?"), ("new-pin", "864209")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)

    def run(*words, password="old", pin=token.pin_source, ok=True):
        sources = ["--password-source", f"file:{tmp_path}/{password}", "--pin-source", pin]
        done = run_dojang(*words, *sources, "--ca-pin-source", authority.pin_source, "--json")
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) | {"status": done.returncode}

    run("ca", "init", "--key", f"{authority.uri};object=root", "--name", "CN=Office CA")
    run.issued = lambda to: run("cert", "issue", "--to", to, "--subject", "CN=Hong")["data"]["credential"]["address"]
    run.token, run.new = token, f"file:{tmp_path}/new"
    return run


def test_a_folder(office, tmp_path) -> None:
    """The old one is refused afterwards, the new one signs; without a new one nothing is changed, nor by the plan."""
    address, letter = office.issued(f"npki:{tmp_path}/NPKI"), tmp_path / "letter"
    letter.write_text("a letter")
    asked = office("location", "password", address, ok=False)
    assert (asked["status"], "--new-password-source" in asked["error"]["next"]) == (2, True)
    words = ["location", "password", address, "--new-password-source", office.new]
    assert office(*words, "--plan")["data"]["changed"] is False
    wrong = office(*words, password="new", ok=False)
    assert (wrong["status"], wrong["error"]["code"]) == (7, "password-incorrect")
    done = office(*words)["data"]
    assert ([one["address"] for one in done["credentials"]], done["failed"]) == ([address], [])
    sign = ["sign", "raw", "--key", address, letter, "-o", tmp_path / "letter.sig"]
    assert office(*sign, ok=False)["status"] == 7
    office(*sign, password="new")


def test_a_token(office, tmp_path) -> None:
    """The PIN is changed as ``token pin change`` does it, and the key on the token signs with the new one."""
    address = office.issued(office.token.uri)
    words = ["location", "password", office.token.uri, "--new-pin-source", f"file:{tmp_path}/new-pin"]
    done = office(*words)["data"]
    assert [one["address"] for one in done["credentials"]] == [address]
    assert office("key", "list", office.token.uri, ok=False)["status"] == 7
    office("token", "pin", "change", office.token.uri, "--new-pin-source", office.token.pin_source, pin=words[-1])


def test_a_person_is_asked(office, tmp_path, terminal) -> None:
    """The old password once, the new one twice for all that is there."""
    office.issued(f"npki:{tmp_path}/NPKI")
    child = terminal("location", "password", f"npki:{tmp_path}/NPKI", "--all")
    for question, answer in (("Password for", "old"), ("New password", "new"), ("gain", "new")):
        child.expect(question)
        child.sendline((tmp_path / answer).read_text())
    child.expect("The password is changed")
    child.expect("Copies and backups")
