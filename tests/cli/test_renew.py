"""``dojang renew``: now, due, run; exit statuses 0, 14 and 15."""

import json

import pytest

from dojang.cli.context import Invocation
from dojang.cli.flags import peek
from dojang.cli.renew_report import report
from dojang.cli.run import run as run_here
from dojang.ledger import Ledger
from dojang.lifecycle.workplace import Recovered


@pytest.fixture
def office(home, make_token, run_dojang):
    """A token with one credential, an authority; returns a function that runs dojang with their PINs."""
    token, authority = make_token(), make_token()
    pins = ["--pin-source", token.pin_source, "--ca-pin-source", authority.pin_source]

    def run(*words):
        return run_dojang(*words, *pins, "--json")

    assert run("ca", "init", "--key", authority.uri, "--name", "CN=Office CA").returncode == 0
    assert run("cert", "issue", "--to", token.uri, "--subject", "CN=Hong", "--label", "hong").returncode == 0
    run.token, run.address = token, f"{token.uri};object=hong"
    return run


def test_now_gives_new_and_previous(office) -> None:
    """The JSON has the new credential and the old one; run again there is nothing to do."""
    first = office("renew", "now", office.address)
    assert first.returncode == 0, first.stderr
    data = json.loads(first.stdout)["data"]
    assert data["credential"]["address"] == office.address
    assert (data["credential"]["state"], data["previous"]["state"]) == ("valid", "retired")
    assert office("cert", "show", data["previous"]["address"]).returncode == 0
    again = office("renew", "now", office.address)
    assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (14, "nothing-due")
    assert office("renew", "now", office.address, "--again").returncode == 0


def test_due_and_run(office) -> None:
    """Nothing due is 14 with an empty list; a window makes it due, ``run`` renews it, and then nothing is due again."""
    due = office("renew", "due", office.token.uri)
    assert (due.returncode, json.loads(due.stdout)["data"]["credentials"]) == (14, [])
    due = office("renew", "due", office.token.uri, "--window", "365d")
    assert (due.returncode, len(json.loads(due.stdout)["data"]["credentials"])) == (0, 1)
    run = office("renew", "run", office.token.uri, "--window", "365d", "--plan")
    assert json.loads(run.stdout)["data"]["changed"] is False
    run = office("renew", "run", office.token.uri, "--window", "365d")
    assert (run.returncode, len(json.loads(run.stdout)["data"]["renewed"])) == (0, 1)
    assert office("renew", "run", office.token.uri).returncode == 14


@pytest.fixture
def passwords(tmp_path):
    """Files with a right password and a wrong one."""
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(f"{name} horse 1!\n")
        (tmp_path / name).chmod(0o600)
    return lambda name: ("--password-source", f"file:{tmp_path / name}")


def test_one_that_fails_does_not_stop_the_others(office, tmp_path, passwords) -> None:
    """A key that does not open is not renewed, the other is, and the status is 15."""
    folder = f"npki:{tmp_path}/NPKI"
    assert office("cert", "issue", "--to", folder, "--subject", "CN=Kim", *passwords("right")).returncode == 0
    run = office("renew", "run", folder, office.token.uri, "--window", "365d", *passwords("wrong"))
    data = json.loads(run.stdout)["data"]
    assert [one["credential"]["address"] for one in data["renewed"]] == [office.address]
    assert [one["code"] for one in data["failed"]] == ["password-incorrect"]
    assert run.returncode == 15


def test_a_copy_is_renewed_once_and_told_of(office, tmp_path, passwords) -> None:
    """The plan names a certificate once; copies that are the old one afterwards are told, however it is renewed."""
    here, there = f"npki:{tmp_path}/NPKI", f"pem:{tmp_path}/kim.pem"
    right = passwords("right")
    assert office("cert", "issue", "--to", here, "--subject", "CN=Kim", *right).returncode == 0
    assert office("location", "copy", here, "--to", there, *right).returncode == 0
    places = (here, there, "--window", "365d", *right)
    assert len(json.loads(office("renew", "run", *places, "--plan").stdout)["data"]["plan"]) == 1
    (renewed,) = json.loads(office("renew", "run", *places).stdout)["data"]["renewed"]
    assert renewed["copies"] == [f"{there}?cn=Kim"]
    assert json.loads(office("renew", "now", office.address).stdout)["data"]["copies"] == []
    assert office("location", "copy", here, "--to", f"pem:{tmp_path}/more.pem", *right).returncode == 0
    data = json.loads(office("renew", "now", here, "--again", *right).stdout)["data"]
    assert data["copies"] == [f"pem:{tmp_path}/more.pem?cn=Kim"]


def test_an_alias_that_leads_nowhere(office, home) -> None:
    """A saved address that this version cannot open is noted, and everything else that is due is still found."""
    (home / "config.toml").write_text('[aliases]\nphone = "phone:"\n')
    due = office("renew", "due", "--window", "365d")
    assert due.returncode == 0, due.stderr
    assert office.address in [one["address"] for one in json.loads(due.stdout)["data"]["credentials"]]
    assert "phone:" in due.stderr


def test_keep_key_is_the_profiles_to_allow(office) -> None:
    """The personal profile wants a new key: 9, and nothing has changed."""
    done = office("renew", "now", office.address, "--keep-key")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (9, "not-permitted")
    listed = json.loads(office("cert", "list", office.token.uri).stdout)["data"]["credentials"]
    assert [one["state"] for one in listed] == ["valid"]


@pytest.mark.parametrize("verb", ["due", "run"])
def test_what_cannot_be_read_is_told_of_a_place_that_was_named(home, tmp_path, capsys, verb: str) -> None:
    """As where every place is looked into: nobody is to think that a damaged certificate is not due."""
    folder = tmp_path / "NPKI" / "CA" / "USER" / "cn=Kim"
    folder.mkdir(parents=True)
    (folder / "signCert.der").write_bytes(b"cut off")
    assert run_here(["renew", verb, f"npki:{tmp_path}/NPKI", "--lang", "en"]) == 14
    assert f"{folder} is not a certificate folder" in capsys.readouterr().err


@pytest.mark.parametrize(("outcome", "status"), [("left", 14), ("finished", 0), ("undone", 0)])
def test_what_goes_on_waiting_is_nothing_done(tmp_path, capsys, outcome: str, status: int) -> None:
    """Work of an earlier run that was ended counts; what cannot be ended yet is told, and the status is as without."""
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        record = ledger.begin("copy", "npki:/there", {}).record
        assert report(Invocation(peek(["renew", "run", "--json"])), [], [Recovered(record, outcome)], [], {}) == status
    assert json.loads(capsys.readouterr().out)["data"]["recovered"] == [{"verb": "copy", "outcome": outcome}]
