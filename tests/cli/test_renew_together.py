"""Several at one credential at once, real processes all of them: exactly one renewal, whoever shares what."""

import json

import pytest

STATUSES = {0, 11, 14}


def _all_at_once(desks, *words: str) -> list[int]:
    """The exit statuses of one process for each desk, all started before any is waited for."""
    running = [desk.start(*words, "--json") for desk in desks]
    ends = [(process.communicate(timeout=60), process.returncode) for process in running]
    assert {status for _said, status in ends} <= STATUSES, ends
    return sorted(status for _said, status in ends)


def _renewed_once(desk, place: str, name: str) -> None:
    """One live credential that signs, one retired; the authority was asked once and has nothing unconfirmed."""
    found = [one for one in desk.data("cert", "list", place)["credentials"] if one["subject"] == f"CN={name},C=KR"]
    assert sorted(one["state"] == "retired" for one in found) == [False, True]
    issued = [one for one in desk.data("ca", "list")["certificates"] if one["subject"] == f"CN={name},C=KR"]
    assert [one["state"] for one in issued] == ["confirmed", "confirmed"]
    live = next(one for one in found if one["state"] != "retired")
    letter = desk.home / "letter"
    letter.write_text("letter")
    assert desk.run("sign", "cms", "--key", live["address"], letter, "-o", f"{letter}.{name}.p7s").returncode == 0


@pytest.mark.parametrize(("kind", "command"), [("token", "run"), ("disk", "run"), ("disk", "now"), ("pem", "run")])
def test_two_homes_share_a_place(desk, kind: str, command: str) -> None:
    """Two machines with records of their own meet at one token, disk or file: a claim there keeps one away."""
    place = {"token": desk.token, "disk": "npki:", "pem": f"pem:{desk.home.parent}/NPKI/both.pem"}[kind]
    (desk.home.parent / "NPKI").mkdir()
    other = desk.twin("other")
    for name in ("first", "second"):
        address = desk.issue(name, place)
        statuses = _all_at_once([desk, other], "renew", command, address)
        assert statuses.count(0) == 1, statuses
        _renewed_once(desk, place, name)
    claims = list((desk.home.parent / "NPKI").rglob("*.claim*"))
    assert claims == []


@pytest.mark.parametrize("kind", ["token", "disk"])
def test_four_processes_of_one_home(desk, kind: str) -> None:
    """The ledger keeps the processes of one home apart."""
    place = desk.token if kind == "token" else "npki:"
    address = desk.issue("four", place)
    statuses = _all_at_once([desk] * 4, "renew", "run", address)
    assert statuses.count(0) == 1, statuses
    _renewed_once(desk, place, "four")


def test_another_home_later(desk) -> None:
    """A machine that was not there when another renewed sees it in the place itself, and renews only when asked to."""
    address = desk.issue("later", desk.token, profile="tls-client")
    assert desk.run("renew", "now", address).returncode == 0
    other = desk.twin("other")
    again = other.run("renew", "now", address, "--json")
    assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (14, "nothing-due")
    assert other.run("renew", "now", address, "--again").returncode == 0


def test_a_mistyped_password_seals_no_new_key(desk) -> None:
    """The password has to open the old key first; so nothing is made under one that nobody knows."""
    address = desk.issue("Hong")
    mistyped = desk.home / "mistyped"
    mistyped.write_text("correct horse 2!")
    mistyped.chmod(0o600)
    wrong = ("--password-source", f"file:{mistyped}")
    now = desk.run("renew", "now", address, *wrong, "--no-input", "--json")
    assert json.loads(now.stdout)["error"]["code"] == "password-incorrect"
    run = desk.run("renew", "run", "npki:", *wrong, "--no-input", "--json")
    assert [one["code"] for one in json.loads(run.stdout)["data"]["failed"]] == ["password-incorrect"]
    assert [one["state"] for one in desk.data("cert", "list", "npki:")["credentials"]] == ["due"]
    assert desk.data("renew", "now", address)["credential"]["state"] == "valid"
