"""Killed while a key comes to a token: what was begun is gone or whole after the next run, and no half of it stays."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.faults.conftest import Bench, strike_everywhere

from dojang.lifecycle.shares import join_value
from dojang.npki.pkcs8 import Pkcs8
from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token
from dojang.secret import Secret

R = bytes(range(100, 120))


@pytest.fixture
def spare(bench: Bench, make_token: Callable, softhsm_module: str) -> "Spare":
    """A second token."""
    token = make_token()
    return Spare(bench, token.uri, Secret(token.pin), softhsm_module)


class Spare:
    def __init__(self, bench: Bench, uri: str, pin: Secret, module: str) -> None:
        self.bench, self.uri, self.pin, self.module = bench, uri, pin, module

    def open(self, uri: str | None = None) -> OpenToken:
        search = ModuleSearch(module=self.module, discover=False)
        return open_token(uri or self.uri, self.pin, search=search, guard=PinGuard(self.bench.home / "guard"))

    def objects(self, uri: str | None = None) -> dict[bytes, list[str]]:
        """Types by CKA_ID; data objects, whose tie is another, under the empty id."""
        found: dict[bytes, list[str]] = {}
        with self.open(uri) as token:
            for one in token.private_objects():
                if not one.problem and one.type != "cert":
                    found.setdefault(one.key_id, []).append(one.type)
        return {key_id: sorted(types) for key_id, types in found.items()}


def strike_and_look(bench: Bench, prepare: Callable[[str], list[str]], check: Callable[[str, int], None]) -> None:
    """The same, and no operation is left over."""

    def check_all(name: str, point: int) -> None:
        check(name, point)
        assert "operation-incomplete" not in {finding["code"] for finding in bench.findings()}

    strike_everywhere(bench, prepare, check_all, journal=False)


def written(bench: Bench, secret: bytes, *but: str) -> list[Path]:
    """The files of this user that hold a secret in plain, in hex or in base64, but those that end so."""
    forms = secret, secret.hex().encode(), b64encode(secret)[:-4]
    files = [path for path in bench.home.parent.rglob("*") if path.is_file() and not path.name.endswith(but)]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


def recover(bench: Bench, address: str) -> None:
    assert bench.run("renew", "run", address).status in (0, 14)


def test_an_import_killed_anywhere(bench: Bench, spare: Spare) -> None:
    """The next run takes back key and R; the same command brings both, and the key signs; no file of ours holds R."""

    def prepare(name: str) -> list[str]:
        file = bench.home / f"{name}.der"
        file.write_bytes(Pkcs8.from_key(ec.generate_private_key(ec.SECP256R1()), Secret(R)).der)
        return ["key", "import", f"{spare.uri};object={name}", str(file)]

    def check(name: str, point: int) -> None:
        if point % 2:
            again = bench.run("key", "import", f"{spare.uri};object={name}", bench.home / f"{name}.der")
            assert again.status == 0, again.err
            letter = bench.home / "letter"
            letter.write_text("letter")
            signed = bench.run("sign", "raw", "--key", f"{spare.uri};object={name}", letter, "-o", bench.home / "sig")
            assert signed.status == 0, signed.err
            (bench.home / "sig").unlink()
        else:
            recover(bench, spare.uri)
        found = spare.objects()
        r_objects = found.pop(b"", [])
        assert all(types == ["private", "public"] for types in found.values())
        assert r_objects == ["data"] * len(found)
        with spare.open() as token:
            assert bool(list(token.keys(label=name))) == bool(point % 2)
        assert written(bench, R, ".der") == []

    strike_and_look(bench, prepare, check)


@pytest.fixture
def shared_kek(bench: Bench, spare: Spare) -> Path:
    """The wrapping key ``backup`` on both tokens; the folder with its shares."""
    folder = bench.home / "shares"
    folder.mkdir()
    made = bench.json(
        "key", "custody", "split", bench.locations["token"], "--shares", 2, "--threshold", 2, "--into", folder
    )
    words = [word for file in made["files"] for word in ("--share", file)]
    bench.json("key", "custody", "join", spare.uri, *words)
    return folder


def test_an_unwrapping_killed_anywhere(bench: Bench, spare: Spare, shared_kek: Path) -> None:
    """The credential is whole on the other token, or nothing of it is there; run again, it is whole and signs."""

    def prepare(name: str) -> list[str]:
        bench.json(*bench.issue_words("token", name), "--backup-under", "backup")
        file = bench.home / f"{name}.wrapped"
        bench.json("key", "wrap", bench.address_of("token", name), "--under", "backup", "-o", file)
        return ["key", "unwrap", str(file), "--to", spare.uri, "--under", "backup"]

    def check(name: str, point: int) -> None:
        if point % 2:
            words = ["key", "unwrap", bench.home / f"{name}.wrapped", "--to", spare.uri, "--under", "backup"]
            again = bench.run(*words)
            assert again.status == 0, again.err
        else:
            recover(bench, spare.uri)
        found = bench.json("cert", "list", spare.uri)["credentials"]
        mine = [one for one in found if one["subject"] == f"CN={name},C=KR"]
        assert len(mine) == 1 if point % 2 else len(mine) <= 1
        if mine:
            assert bench.signs(mine[0])
        keys = {key_id.hex(): types for key_id, types in spare.objects().items() if types != ["secret-key"]}
        assert keys.keys() == {one["id"] for one in found}
        assert all(types == ["private", "public"] for types in keys.values())

    strike_and_look(bench, prepare, check)


def test_handing_out_shares_killed_anywhere(bench: Bench, spare: Spare) -> None:
    """No wrapping key stays of which a custodian may not have his share; run again, there is one."""

    def words(name: str) -> list[str]:
        folder = bench.home / name
        folder.mkdir(exist_ok=True)
        label = ["--label", name, "--shares", "3", "--threshold", "2", "--into", str(folder)]
        return ["key", "custody", "split", spare.uri, *label]

    def check(name: str, point: int) -> None:
        if point % 2:
            made = bench.json(*words(name))
            assert len(made["files"]) == 3
            assert made["check"] in {key.get("check") for key in bench.json("key", "list", spare.uri)["keys"]}
        else:
            recover(bench, spare.uri)
        labels = [key["label"] for key in bench.json("key", "list", spare.uri)["keys"]]
        assert labels.count(name) == point % 2

    strike_and_look(bench, words, check)


def test_joining_shares_killed_anywhere(bench: Bench, spare: Spare, shared_kek: Path) -> None:
    """The key is there or not; run again with the same shares, it is there once; no file ever holds it."""
    shares = sorted(shared_kek.iterdir())
    files = [word for file in shares for word in ("--share", str(file))]
    value = join_value([Secret(file.read_text().partition("words:")[2]) for file in shares])

    def words(name: str) -> list[str]:
        return ["key", "custody", "join", spare.uri, "--label", name, *files]

    def check(name: str, point: int) -> None:
        if point % 2:
            assert bench.json(*words(name))["label"] == name
        else:
            recover(bench, spare.uri)
        labels = [key["label"] for key in bench.json("key", "list", spare.uri)["keys"]]
        assert labels.count(name) == point % 2
        assert written(bench, value) == []

    strike_and_look(bench, words, check)
