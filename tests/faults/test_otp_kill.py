"""Killed while a seed comes to a token, goes from it or shows a code: whole or gone, and no code is shown twice."""

import json
import subprocess
from collections.abc import Callable
from itertools import count
from signal import SIGKILL

import pytest
from tests.faults.conftest import Bench, strike_everywhere

from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret

SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
def look(bench: Bench, make_token: Callable, softhsm_module: str) -> "Look":
    return Look(bench, make_token(), softhsm_module)


class Look:
    """A token of its own, and what is on it."""

    def __init__(self, bench: Bench, token, module: str) -> None:
        self.bench, self.uri, self.serial, self._pin, self._module = bench, token.uri, token.serial, token.pin, module

    def seeds(self) -> set[str]:
        return {one["name"] for one in self.bench.json("otp", "list", self.uri)["seeds"]}

    def objects(self) -> list[str]:
        """The types of everything on the token."""
        search = ModuleSearch(module=self._module, discover=False)
        guard = PinGuard(self.bench.home / "guard")
        with open_token(self.uri, Secret(self._pin), search=search, guard=guard) as token:
            return sorted(one.type for one in token.private_objects() if not one.problem)

    def all_is_whole(self) -> None:
        """Every seed has its key and what tells of it, and there is nothing else; no operation is left over."""
        many = len(self.seeds())
        assert self.objects() == ["data"] * many + ["secret-key"] * many
        assert "operation-incomplete" not in {finding["code"] for finding in self.bench.findings()}

    def recover(self) -> None:
        assert self.bench.run("renew", "run", self.uri).status in (0, 14)


@pytest.mark.parametrize("source", ["made on the token", "given"])
def test_adding_killed_anywhere(bench: Bench, look: Look, source: str) -> None:
    """The next run takes back what there is; the same command brings the seed, and its codes are right."""
    bench.environment["SEED"] = SEED

    def words(name: str) -> list[str]:
        given = ["--seed-source", "env:SEED"] if source == "given" else []
        return ["otp", "add", look.uri, "--name", name, "--kind", "hotp", *given]

    def check(name: str, point: int) -> None:
        if point % 2:
            address = bench.json(*words(name))["seed"]["address"]
            shown = bench.json("otp", "code", address)
            assert shown["counter"] == 0
            assert source != "given" or shown["code"] == "755224"
        else:
            look.recover()
        assert (name in look.seeds()) == bool(point % 2)
        look.all_is_whole()

    strike_everywhere(bench, words, check, every=1)


def test_deleting_killed_anywhere(bench: Bench, look: Look) -> None:
    """Before anything is gone it is all there; afterwards the next run removes the rest."""

    def prepare(name: str) -> list[str]:
        address = bench.json("otp", "add", look.uri, "--name", name)["seed"]["address"]
        return ["otp", "delete", address, "--yes", look.serial]

    def check(name: str, point: int) -> None:
        look.recover()
        assert (name in look.seeds()) == (point == 0)
        look.all_is_whole()

    strike_everywhere(bench, prepare, check, every=1)


def test_showing_and_checking_killed_anywhere(bench: Bench, look: Look) -> None:
    """Before and after the counter is written: what was shown is never shown again, what was accepted never accepted
    again, and nothing has to be repaired.
    """
    bench.environment["SEED"] = SEED
    added = bench.json("otp", "add", look.uri, "--name", "vpn", "--kind", "hotp", "--seed-source", "env:SEED")
    address = added["seed"]["address"]
    words = ["oathtool", "-b", "--hotp", "-w", "40", SEED]
    codes = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    shown, accepted = [], -1
    for point in count():
        run = bench.run("otp", "code", address, "--json", at=point)
        if run.status == 0:
            shown.append(json.loads(run.out)["data"]["counter"])
        shown.append(bench.json("otp", "code", address)["counter"])
        bench.environment["CODE"] = codes[shown[-1]]
        check = ["otp", "verify", address, "--code-source", "env:CODE", "--json"]
        struck = bench.run(*check, at=point)
        again = bench.run(*check)
        once = struck.status == 0 or "counted" in str(struck.effects)
        assert (again.status == 13) == once
        assert shown[-1] > accepted
        accepted = shown[-1]
        if run.status == struck.status == 0:
            break
        assert {run.status, struck.status} <= {0, -SIGKILL}
    assert shown == sorted(set(shown))
    assert point >= 2
    look.all_is_whole()
