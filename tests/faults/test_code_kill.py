"""Killed while the first code of an authority is made: the next run takes up the secret, and makes the code."""

from tests.faults.conftest import Bench, strike_everywhere


def test_a_first_code_killed_anywhere(bench: Bench, make_token) -> None:
    """Whatever was left is in nobody's way: the same command gives a code, and there is one enrolment."""
    token = make_token()

    def prepare(name: str) -> list[str]:
        key = f"{token.uri};object={name}?pin-source={token.pin_source}"
        made = bench.run("ca", "init", "--alias", name, "--key", key, "--name", f"CN={name}")
        assert made.status == 0, made.err
        return ["ca", "code", "new", "--ca", name, "--profile", "personal", "--subject", "CN=Hong", "--json"]

    def check(name: str, _point: int) -> None:
        assert bench.json("ca", "code", "list", "--ca", name)["enrolments"] == []  # the last effect records it
        made = bench.json("ca", "code", "new", "--ca", name, "--profile", "personal", "--subject", "CN=Hong")
        assert made["enrolment"]["state"] == "ready"
        assert len(made["code"]) == 16
        assert len(bench.json("ca", "code", "list", "--ca", name)["enrolments"]) == 1

    strike_everywhere(bench, prepare, check, every=1)
