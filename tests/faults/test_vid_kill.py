"""A signal before what lasts while a certificate with a VID is made or renewed: the VID fits the R that is there."""

import json

import pytest
from tests.faults.conftest import Bench, strike_everywhere

NUMBER, PROFILE = "1234561234567", "with-vid"
TABLE = """
title = { en = "With a VID", ko = "VID 있음" }
validity-days = 90
renewal-window-days = 30
early-renewal = true
algorithms = ["ec-p256"]
key-usage = ["digital-signature"]
vid = "required"
"""


@pytest.fixture
def bank(bench: Bench) -> Bench:
    """The bench with a profile that wants a VID, and a number that only the environment has."""
    profiles = bench.home / "state" / "authorities" / "office" / "profiles"
    profiles.mkdir()
    (profiles / f"{PROFILE}.toml").write_text(TABLE)
    bench.environment["NUMBER"] = NUMBER
    return bench


def _issue_words(bench: Bench, kind: str, name: str) -> list[str]:
    return [*bench.issue_words(kind, name)[:-1], PROFILE, "--number-source", "env:NUMBER"]


def _is_proved(bench: Bench, address: str) -> bool:
    """Whether the number and the R that lies there explain the VID; of the other checks nothing is wanted."""
    told = json.loads(bench.run("cert", "register", address, "--vid-number-source", "env:NUMBER", "--json").out)
    return {check["name"]: check["ok"] for check in told["error"]["details"]["checks"]}["person"]


def _nothing_tells_the_number(bench: Bench) -> None:
    for path in bench.home.parent.rglob("*"):
        assert not path.is_file() or NUMBER.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("kind", ["token", "disk"])
@pytest.mark.parametrize("verb", ["issue", "renew"])
def test_a_vid_and_its_r_are_never_parted(bank: Bench, kind: str, verb: str) -> None:
    """The next run finishes or undoes it; whatever is in use then is explained by the number and the R beside it."""

    def prepare(name: str) -> list[str]:
        words = _issue_words(bank, kind, name)
        if verb == "issue":
            return words
        assert bank.run(*words).status == 0
        return ["renew", "now", bank.address_of(kind, name)]

    def check(name: str, point: int) -> None:
        if verb == "issue" and point % 2:
            assert bank.run(*_issue_words(bank, kind, name)).status == 0
        else:
            assert bank.run("renew", "run", bank.locations[kind]).status in (0, 14)
        live = [one for one in bank.credentials(kind, name) if one["state"] not in ("retired", "revoked")]
        assert len(live) == 1 or (verb == "issue" and not live and not point % 2)
        assert all(_is_proved(bank, one["address"]) for one in live)
        if kind == "token":
            listed = bank.json("cert", "list", bank.locations[kind])["credentials"]
            assert bank.keys_on_token() == {one["id"] for one in listed}
        assert "operation-incomplete" not in {finding["code"] for finding in bank.findings()}

    # A reissue goes the same way as a renewal; the transitions of the ledger are struck in test_kill.py.
    strike_everywhere(bank, prepare, check, every=5 if verb == "issue" else 9, journal=False)
    _nothing_tells_the_number(bank)
