"""Giving an authority keys, and switching between them, killed at every effect: all of it is done, or nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.conftest import Bench, strike_everywhere

from dojang.pkcs11 import open_token
from dojang.pkcs11.discovery import ModuleSearch
from dojang.secret import Secret

Labels = Callable[[], set[str]]


@pytest.fixture
def vault(make_token: Any, softhsm_module: str) -> tuple[str, Labels]:
    """How to name a key on one more token, and what keys lie there."""
    token = make_token()
    search = ModuleSearch(module=softhsm_module, discover=False)

    def labels() -> set[str]:
        with open_token(token.uri, Secret(token.pin), search=search) as opened:
            return {key.label for key in opened.keys(label=None)}

    return f"{token.uri};object={{name}}?pin-source={token.pin_source}", labels


def signers(bench: Bench) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in bench.json("ca", "signer", "list")["signers"]}


def in_state(bench: Bench, role: str, state: str) -> list[str]:
    return [name for name, one in signers(bench).items() if (one["role"], one["state"]) == (role, state)]


def nothing_waits(bench: Bench) -> None:
    assert "operation-incomplete" not in {finding["code"] for finding in bench.findings()}


@pytest.mark.parametrize("what", ["prepare", "prepare --root", "add"])
def test_giving_a_key_killed_anywhere(bench: Bench, vault: tuple[str, Labels], what: str) -> None:
    """The key is on record and on its token, or neither; the same command goes on with it, or with a new one."""
    address, labels = vault
    role = {"prepare": "issuing", "prepare --root": "root", "add": "ocsp"}[what]

    def words(name: str) -> list[str]:
        key = ["--key", address.format(name=name)]
        if what == "add":
            return ["ca", "signer", "add", "--role", role, *key]
        again = ["--name", "CN=Issuing"] if role == "issuing" else ["--root"]
        return ["ca", "rollover", "prepare", *key, *again]

    def prepare(name: str) -> list[str]:
        if in_state(bench, role, "next"):
            assert bench.run("ca", "rollover", "switch", *(["--root"] if role == "root" else [])).status == 0
        return words(name)

    def check(name: str, point: int) -> None:
        before = len([one for one in signers(bench).values() if one["role"] == role])
        if point % 2:
            assert bench.run("renew", "run", "npki:").status in (0, 14)
            addresses = {one["address"] for one in signers(bench).values()}
            listed = {key["address"] for key in keys_of(bench, address)}
            assert len(listed) == len([one for one in addresses if same_token(one, address)])
        assert bench.run(*words(name)).status == 0
        assert name in labels()
        assert len([one for one in signers(bench).values() if one["role"] == role]) in (before, before + 1)
        assert len(in_state(bench, role, "current" if what == "add" else "next")) == 1
        nothing_waits(bench)

    # All three go the same way; the others have a list and further certificates to sign on it.
    strike_everywhere(bench, prepare, check, every=1 if what == "add" else 3)
    assert bench.run("ca", "crl").status == 0


def keys_of(bench: Bench, address: str) -> list[dict[str, Any]]:
    token = address.partition(";object=")[0]
    source = address.partition("pin-source=")[2]
    return bench.json("key", "list", token, "--pin-source", source)["keys"]


def same_token(address: str, other: str) -> bool:
    serial = other.partition("serial=")[2].partition(";")[0]
    return f"serial={serial}" in address


@pytest.mark.parametrize("root", [False, True], ids=["issuing", "root"])
def test_a_switch_killed_anywhere(bench: Bench, vault: tuple[str, Labels], root: bool) -> None:
    """One key issues at every moment, the old or the new; the same command goes on, or finds nothing to do."""
    address, _labels = vault
    role, flags = ("root", ["--root"]) if root else ("issuing", [])
    responder = ["ca", "signer", "add", "--role", "ocsp", "--key", address.format(name="ocsp")]
    assert bench.run(*responder).status == 0
    name_it = [] if root else ["--name", "CN=Issuing"]

    def prepare(name: str) -> list[str]:
        key = ["--key", address.format(name=name)]
        assert bench.run("ca", "rollover", "prepare", *key, *flags, *name_it).status == 0
        return ["ca", "rollover", "switch", *flags]

    def check(name: str, point: int) -> None:
        waiting = in_state(bench, role, "next")
        assert bench.run("ca", "rollover", "switch", *flags).status == (0 if waiting else 14)
        assert in_state(bench, role, "next") == []
        assert len(in_state(bench, role, "current")) == 1
        assert len(in_state(bench, "ocsp", "current")) == 1
        assert bench.run("ca", "crl").status == 0
        nothing_waits(bench)

    strike_everywhere(bench, prepare, check, every=3 if root else 1)
