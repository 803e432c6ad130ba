"""``dojang key`` on a real token."""

import json
from uuid import uuid4

import pytest

ALGORITHMS = ("rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519")


def answer(done) -> dict:
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def token(make_token):
    return make_token(f"key-{uuid4().hex[:8]}")


@pytest.fixture
def key(run_dojang, token):
    """Runs ``dojang key …`` with the token's PIN and gives status and answer."""

    def run(*words: str) -> tuple[int, dict]:
        done = run_dojang("key", *words, "--pin-source", token.pin_source, "--json")
        assert "Traceback" not in done.stderr
        return done.returncode, answer(done)

    return run


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_generate_every_kind(key, token, algorithm: str) -> None:
    """Each kind of key is made, stays in the token, and is found by the address that was printed."""
    status, made = key("generate", token.uri, "--algorithm", algorithm, "--label", f"made-{algorithm}")
    assert status == 0, made
    row = made["data"]["key"]
    assert row["algorithm"] == algorithm
    _status, shown = key("show", row["address"])
    assert shown["data"]["key"]["id"] == row["id"]
    attributes = shown["data"]["key"]["attributes"]
    assert (attributes["sensitive"], attributes["extractable"]) == (True, False)


def test_the_label_may_stand_in_the_address(key, token) -> None:
    """``;object=`` names the key that is to be made."""
    status, made = key("generate", f"{token.uri};object=in-address")
    assert (status, made["data"]["key"]["label"]) == (0, "in-address")


def test_a_second_key_of_the_same_label_is_refused(key, token) -> None:
    """An existing label is exit status 9, and there is still one key."""
    key("generate", token.uri, "--label", "once")
    status, refused = key("generate", token.uri, "--label", "once")
    assert (status, refused["error"]["code"]) == (9, "already-exists")
    _status, listed = key("list", f"{token.uri};object=once")
    assert len(listed["data"]["keys"]) == 1


def test_show_nothing_and_show_too_much(key, token) -> None:
    """No match is exit status 3; several are 4 and every address is printed."""
    key("generate", token.uri, "--label", "one-of-many")
    key("generate", token.uri, "--label", "another")
    assert key("show", f"{token.uri};object=absent")[0] == 3
    status, several = key("show", token.uri)
    assert (status, several["error"]["code"]) == (4, "ambiguous")
    assert len(several["error"]["details"]["matches"]) >= 2
    assert key("show", several["error"]["details"]["matches"][0])[0] == 0


def test_delete_needs_the_serial(key, token) -> None:
    """Without or with a wrong serial nothing is destroyed; with it the pair is gone, and again there is nothing."""
    address = key("generate", token.uri, "--label", "doomed")[1]["data"]["key"]["address"]
    assert key("delete", address)[0] == 2
    assert key("delete", address, "--yes", "ffff")[0] == 9
    assert key("delete", address, "--plan")[1]["data"]["changed"] is False
    assert key("show", address)[0] == 0
    status, deleted = key("delete", address, "--yes", token.serial)
    assert (status, deleted["data"]["destroyed"]) == (0, 2)
    assert key("show", address)[0] == 3


def test_plan_makes_no_key(key, token) -> None:
    """--plan says which key would be made and makes none."""
    assert key("generate", token.uri, "--label", "imagined", "--plan")[1]["data"]["plan"]
    assert key("show", f"{token.uri};object=imagined")[0] == 3


def test_address_that_is_none(run_dojang) -> None:
    """What is not an address is exit status 2."""
    assert run_dojang("key", "list", "token=Hong").returncode == 2
