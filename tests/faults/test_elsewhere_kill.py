"""A kill before everything that lasts while an authority elsewhere is asked: no answer is lost, or asked for twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cmp.own_server import OwnServer, own_server
from tests.faults.conftest import Bench, strike_everywhere

from dojang.authority.store import Record
from dojang.ledger import Ledger

KINDS = ["token", "disk"]


class Afar:
    """A bench whose authority is reached by a URL; every subscriber is handed a code in a file of its own."""

    def __init__(self, bench: Bench, server: OwnServer) -> None:
        self.bench, self.server = bench, server
        self.folder = bench.home / "codes"
        self.folder.mkdir()
        self.before = len(server.records())

    def issue_words(self, kind: str, name: str) -> list[str]:
        """The same words again are about the same code."""
        file = self.folder / name
        if not file.exists():
            reference, code = self.server.hand_out(f"CN={name},C=KR")
            file.write_bytes(code)
            file.chmod(0o600)
            file.with_suffix(".reference").write_text(reference)
        reference = file.with_suffix(".reference").read_text()
        where = ["--to", self.bench.locations[kind], "--subject", f"CN={name},C=KR", "--ca", self.server.url]
        return ["cert", "issue", *where, "--reference", reference, "--code-source", f"file:{file}"]

    def records(self, name: str) -> list[Record]:
        return [one for one in self.server.records()[self.before :] if one.subject == f"CN={name},C=KR"]

    def valid(self, name: str) -> list[str]:
        """The serials of what the authority has issued to it and nobody has revoked; all of them arrived."""
        records = [one for one in self.records(name) if one.state != "revoked"]
        assert {one.state for one in records} <= {"confirmed"}
        return [one.serial for one in records]

    def nothing_waits(self, kind: str) -> None:
        with Ledger.open(self.bench.home / "state" / "ledger.sqlite") as ledger:
            assert ledger.incomplete() == []
        if kind == "token":
            listed = self.bench.json("cert", "list", self.bench.locations[kind])["credentials"]
            assert self.bench.keys_on_token() == {one["id"] for one in listed}
        else:
            staging = self.bench.home.parent / "NPKI" / ".dojang"
            assert not staging.exists() or not any(staging.iterdir())

    def go_on(self, point: int, words: list[str], kind: str) -> None:
        """By the same command, or by whatever runs next."""
        if point % 2:
            again = self.bench.run(*words)
            assert again.status in (0, 14), (again.out, again.err)
        else:
            left = self.bench.run("renew", "run", self.bench.locations[kind])
            assert left.status in (0, 14), (left.out, left.err)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_server(tmp_path_factory.mktemp("centre")) as server:
        yield server


@pytest.fixture
def afar(bench: Bench, server: OwnServer, tmp_path: Path) -> Afar:
    bench.environment["no_proxy"] = "127.0.0.1"
    return Afar(bench, server)


@pytest.mark.parametrize("kind", KINDS)
def test_issue_killed_anywhere(afar: Afar, kind: str) -> None:
    """One certificate, which works, or nothing anywhere; the code is used once, and works again where it was not."""

    def check(name: str, point: int) -> None:
        afar.go_on(point, afar.issue_words(kind, name), kind)
        credentials = afar.bench.credentials(kind, name)
        assert [one["serial"] for one in credentials] == afar.valid(name)
        assert len(afar.records(name)) == len(credentials)
        assert credentials or not point % 2
        assert afar.bench.signs(*credentials)
        afar.nothing_waits(kind)

    strike_everywhere(afar.bench, lambda name: afar.issue_words(kind, name), check)


def test_renew_killed_anywhere(afar: Afar) -> None:
    """Something in use always signs; afterwards it is the old pair, or the new one with the old one retired."""

    def prepare(name: str) -> list[str]:
        afar.bench.json(*afar.issue_words("token", name))
        return ["renew", "now", afar.bench.address_of("token", name)]

    def check(name: str, point: int) -> None:
        in_use = [one for one in afar.bench.credentials("token", name) if one["state"] != "retired"]
        assert in_use, "there is a moment without a credential"
        assert afar.bench.signs(*in_use), "there is a moment without a working key"
        afar.go_on(point, ["renew", "now", afar.bench.address_of("token", name)], "token")
        credentials = afar.bench.credentials("token", name)
        (live,) = [one for one in credentials if one["state"] != "retired"]
        assert afar.bench.signs(live)
        assert sorted(one["serial"] for one in credentials) == sorted(afar.valid(name))
        assert len(credentials) == 2 or not point % 2
        afar.nothing_waits("token")

    # Asking goes as for an issue, which is struck at all of it; the rest as for a renewal here.
    strike_everywhere(afar.bench, prepare, check, every=5, journal=False)


def test_reissue_killed_anywhere(afar: Afar) -> None:
    """One valid certificate at the authority, and it is the one in use."""

    def prepare(name: str) -> list[str]:
        afar.bench.json(*afar.issue_words("disk", name))
        return ["cert", "reissue", afar.bench.address_of("disk", name)]

    def check(name: str, point: int) -> None:
        afar.go_on(point, ["cert", "reissue", afar.bench.address_of("disk", name)], "disk")
        credentials = afar.bench.credentials("disk", name)
        (live,) = [one for one in credentials if one["state"] == "valid"]
        assert afar.bench.signs(live)
        assert afar.valid(name) == [live["serial"]]
        assert len(afar.records(name)) == len(credentials)
        afar.nothing_waits("disk")

    strike_everywhere(afar.bench, prepare, check, every=6, journal=False)


def test_revoke_killed_anywhere(afar: Afar) -> None:
    """The authority and the ledger come to say the same."""
    serials: dict[str, str] = {}

    def words(name: str) -> list[str]:
        where = afar.bench.address_of("token", name)
        return ["cert", "revoke", where, "--reason", "superseded", "--yes-revoke", serials[name]]

    def prepare(name: str) -> list[str]:
        issued: dict[str, Any] = afar.bench.json(*afar.issue_words("token", name))
        serials[name] = issued["credential"]["serial"]
        return words(name)

    def check(name: str, point: int) -> None:
        afar.go_on(point, words(name), "token")
        (listed,) = afar.bench.credentials("token", name)
        (record,) = afar.records(name)
        assert listed["state"] == ("revoked" if record.state == "revoked" else "valid")
        assert record.state == "revoked" or point == 0
        afar.nothing_waits("token")

    strike_everywhere(afar.bench, prepare, check)
