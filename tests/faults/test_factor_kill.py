"""A kill before everything that lasts while factors are passed: a certificate with its factors, or nothing anywhere."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.authority.factors.conftest import applicant_in
from tests.authority.factors.devices import seat
from tests.authority.factors.serving import bank_server
from tests.cmp.own_server import OwnServer
from tests.faults.conftest import Bench, strike_everywhere
from tests.faults.test_elsewhere_kill import Afar

from dojang.authority.tables import factor_evidence

FACTORS = ["--factor", "sms=env:RIGHT_CODE", "--factor", "otp=env:RIGHT_CODE"]


class AfarBank(Afar):
    """Every code is of one applicant, and every request has to pass two factors."""

    applicant: str

    def issue_words(self, kind: str, name: str) -> list[str]:
        return [*super().issue_words(kind, name), *FACTORS]

    def used_for(self, serial: str) -> set[str]:
        with self.server.counter.authority.database.reading() as connection:
            query = select(factor_evidence.c.factor).where(factor_evidence.c.used_serial == serial)
            return set(connection.execute(query).scalars())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with bank_server(tmp_path_factory.mktemp("bank")) as server:
        yield server


@pytest.fixture
def afar(bench: Bench, server: OwnServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AfarBank:
    bench.environment |= {"no_proxy": "127.0.0.1", "RIGHT_CODE": "246810"}
    applicant = applicant_in(server.counter)
    seat(server.counter, applicant)
    hand_out = server.counter.hand_out

    def hand_out_to_bank(subject: str, profile: str = "bank", **more: object) -> object:
        return hand_out(subject, "bank", applicant=applicant)

    monkeypatch.setattr(server.counter, "hand_out", hand_out_to_bank)
    return AfarBank(bench, server)


def test_issue_with_factors_killed_anywhere(afar: AfarBank) -> None:
    """Finished with the factors that were passed for its key, or undone; the next run passes them again then."""

    def check(name: str, point: int) -> None:
        afar.go_on(point, afar.issue_words("token", name), "token")
        credentials = afar.bench.credentials("token", name)
        assert [one["serial"] for one in credentials] == afar.valid(name)
        assert credentials or not point % 2
        assert afar.bench.signs(*credentials)
        for record in afar.records(name):
            assert afar.used_for(record.serial) == {"sms", "otp"}
        afar.nothing_waits("token")

    strike_everywhere(afar.bench, lambda name: afar.issue_words("token", name), check, every=5, journal=False)


def test_issue_here_with_factors_killed_anywhere(bench: Bench, tmp_path: Path) -> None:
    """The same at the local authority, with a real device: a seed on the token, whose codes are each taken once."""
    folder, picture, uri = bench.home / "state/authorities/office", tmp_path / "device.png", tmp_path / "uri"
    (folder / "profiles").mkdir()
    (folder / "profiles" / "otp.toml").write_text('like = "tls-client"\n[factors]\nall = ["otp"]\n')
    applicant = bench.json("ca", "applicant", "add", "--name", "Hong")["applicant"]["id"]
    words = ["--applicant", applicant, "--kind", "hotp", "--issuer", "Office", "--account", "Hong"]
    bench.json("otp", "add", "--ca", "office", *words, "--export-qr", picture)
    uri.touch(0o600)
    uri.write_bytes(subprocess.run(["zbarimg", "-q", "--raw", picture], capture_output=True, check=True).stdout)
    bench.json("otp", "add", bench.locations["token"], "--name", "bank", "--uri-source", f"file:{uri}")
    keys = bench.keys_on_token()

    def issue_words(name: str) -> list[str]:
        words = ["cert", "issue", "--to", bench.locations["token"], "--subject", f"CN={name},C=KR", "--ca", "office"]
        words += ["--profile", "otp", "--applicant", applicant]
        return [*words, "--factor", f"otp={bench.locations['token']};object=bank"]

    def check(name: str, point: int) -> None:
        again = bench.run(*(issue_words(name) if point % 2 else ["renew", "run", bench.locations["token"]]))
        assert again.status in (0, 14), (again.out, again.err)
        credentials = bench.credentials("token", name)
        issued = [one for one in bench.issued(name) if one["state"] != "revoked"]
        assert [one["serial"] for one in credentials] == [one["serial"] for one in issued]
        assert credentials or not point % 2
        assert bench.signs(*credentials)
        listed = bench.json("cert", "list", bench.locations["token"])["credentials"]
        assert bench.keys_on_token() == keys | {one["id"] for one in listed}
        events = [one["event"] for one in bench.json("audit", "tail", "--lines", "200")["entries"]]
        assert events.count("factors-used") == events.count("certificate-issued")

    strike_everywhere(bench, issue_words, check, every=7, journal=False)
