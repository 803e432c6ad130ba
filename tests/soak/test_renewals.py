"""A credential renewed over and over: the life of twenty years in a few minutes."""

import json

import pytest

pytestmark = pytest.mark.soak

RENEWALS = 60


def test_a_credential_outlives_many_renewals(make_token, run_dojang, home):
    """After sixty renewals the address names one working credential; every old one is still there, retired."""
    token, office = make_token(), make_token()
    pins = ["--pin-source", token.pin_source, "--ca-pin-source", office.pin_source]
    address = f"{token.uri};object=hong"

    def succeed(*words: str) -> dict:
        run = run_dojang(*words, *pins, "--json", timeout=120)
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)["data"]

    succeed("ca", "init", "--alias", "office", "--key", f"{office.uri};object=root", "--name", "CN=Office CA")
    succeed("cert", "issue", "--to", token.uri, "--label", "hong", "--subject", "CN=Hong", "--ca", "office")
    for _ in range(RENEWALS):
        renewed = succeed("renew", "now", address, "--again")
        assert renewed["credential"]["serial"] != renewed["previous"]["serial"]
    states = [one["state"] for one in succeed("cert", "list", token.uri)["credentials"]]
    assert states.count("retired") == RENEWALS
    (home / "letter").write_text("letter")
    succeed("sign", "cms", "--key", address, str(home / "letter"), "-o", str(home / "letter.p7s"))
    succeed("ca", "show", "office", "-o", str(home / "office.pem"))
    succeed("verify", str(home / "letter.p7s"), "--trust", str(home / "office.pem"))
