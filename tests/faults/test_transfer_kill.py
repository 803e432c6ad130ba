"""A kill before everything that lasts while a credential goes from one place to another: nothing is lost, and the key
lies nowhere in a form that anybody could read.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from signal import SIGKILL

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.faults.conftest import Bench

from dojang.ledger import Ledger
from dojang.locations.base import Location
from dojang.locations.registry import open_location
from dojang.npki.pkcs8 import Pkcs8
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.pkcs11.pin import PinSource
from dojang.secret import Secret
from dojang.x509.challenge import prove_possession

FEWEST_EFFECTS = 5
PASSWORD = "correct horse 1!"


def secrets_of(key: Pkcs8) -> list[bytes]:
    """What nobody may find: the numbers that are the key, and R, in every form in which a program would write them."""
    opened = key.key()
    if isinstance(opened, rsa.RSAPrivateKey):
        numbers = opened.private_numbers()
        raw = [number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (numbers.p, numbers.q, numbers.d)]
    else:
        raw = [opened.private_numbers().private_value.to_bytes(32, "big")]
    assert key.random_number is not None
    return [form for one in [*raw, key.random_number.reveal()] for form in _forms(one)]


def _forms(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret[::-1]
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):  # base64 of a longer text, wherever the secret begins in it
        encoded = base64.b64encode(b"\0" * before + secret)
        yield encoded[4 if before else 0 : len(encoded) // 4 * 4 - 8]


def where_found(secrets: list[bytes], *folders: Path) -> list[Path]:
    """The files below ``folders`` in which a secret lies; line breaks hide nothing."""
    found = []
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        joined = data.replace(b"\r", b"").replace(b"\n", b"")
        if any(secret in data or secret in joined for secret in secrets):
            found.append(path)
    return found


class Journey:
    """The same way again and again: a fresh credential in the folder, brought to a fresh place."""

    def __init__(self, bench: Bench, watched: Path, open_at: Callable[[str], AbstractContextManager[Location]]) -> None:
        self.bench, self.home, self.open_at = bench, bench.home.parent, open_at
        self.watched = [self.home, watched]
        self.here = f"npki:{self.home}/NPKI"
        self.secrets: list[bytes] = []

    def issued(self, name: str, algorithm: str = "ec-p256") -> str:
        """A new credential in the folder, whose secrets are looked for from now on; its address."""
        made = self.bench.json(*self.bench.issue_words("disk", name), "--algorithm", algorithm)["credential"]
        self.secrets = secrets_of(self.key_at(made["address"]))
        return made["address"]

    def key_at(self, address: str) -> Pkcs8:
        with self.open_at(address) as location:
            return location.export_key(location.find(address).key_id)

    def working(self, address: str, name: str) -> int:
        """How many credentials of that name are there; each of them signs."""
        with self.open_at(address) as location:
            found = [one for one in location.credentials() if one.live and one.label == name]
            for one in found:
                prove_possession(location.private_key(one.key_id), one.certificate_der)
        return len(found)

    def nothing_shows(self) -> None:
        assert where_found(self.secrets, *self.watched) == []

    def nothing_waits(self) -> None:
        with Ledger.open(self.bench.home / "state" / "ledger.sqlite") as ledger:
            assert ledger.incomplete() == []
        rests = [path for path in self.home.rglob("*") if path.name.endswith((".part", ".removed"))]
        assert rests == []


@pytest.fixture
def journey(bench: Bench, softhsm_dir: Path, softhsm_module: str, tmp_path: Path) -> Journey:
    """What the commands leave is looked at from here, with the same PIN and password."""
    pin = PinSource.parse(bench.environment["DOJANG_PIN_SOURCE"])
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    passwords = lambda path, new: Secret(PASSWORD)  # noqa: E731
    return Journey(
        bench,
        softhsm_dir,
        lambda address: open_location(address, search=search, guard=guard, pins=pin, passwords=passwords),
    )


def strike_everywhere(
    bench: Bench, prepare: Callable[[int], list[str]], check: Callable[[int, list[str]], None]
) -> None:
    """Run the command of ``prepare`` once for every effect it has, killed just before it, and check each time."""
    for point in count():
        words = prepare(point)
        run = bench.run(*words, at=point)
        if not run.effects or not run.effects[-1].startswith("!"):
            assert run.status == 0, (run.out, run.err)
            assert point >= FEWEST_EFFECTS, "the effects were not seen"
            return
        try:
            assert run.status == -SIGKILL, run.err
            check(point, words)
        except BaseException as error:
            error.add_note(f"struck at {point}: {run.effects}")
            raise


def test_the_search_finds_what_it_looks_for(journey: Journey) -> None:
    """A plain key, in whatever form, would be found: the search is no comfort otherwise."""
    key = journey.key_at(journey.issued("plain", "rsa-2048"))
    plain = journey.home / "plain"
    for form in (key.der, base64.encodebytes(key.der), key.der.hex().encode()):
        plain.write_bytes(form)
        assert where_found(journey.secrets, journey.home) == [plain]
    plain.unlink()
    journey.nothing_shows()


@pytest.mark.parametrize(("verb", "kind"), [("copy", "disk"), ("move", "token"), ("move", "disk")])
def test_a_killed_transfer_loses_nothing(journey: Journey, verb: str, kind: str) -> None:
    """At every moment the original or its proven copy signs; the next run finishes or undoes; no key shows."""
    bench = journey.bench

    def target(point: int) -> str:
        return f"npki:{journey.home}/disk-{point}/NPKI" if kind == "disk" else bench.locations["token"]

    def prepare(point: int) -> list[str]:
        return ["location", verb, journey.issued(f"name-{point}"), "--to", target(point)]

    def check(point: int, words: list[str]) -> None:
        journey.nothing_shows()
        name = f"name-{point}"
        assert journey.working(journey.here, name) + journey.working(target(point), name)
        if point % 2:
            again = bench.run(*words)
            assert again.status == 0, again.err
        else:
            assert bench.run("renew", "run", "npki:", target(point)).status in (0, 14)
        journey.nothing_waits()
        journey.nothing_shows()
        here, there = journey.working(journey.here, name), journey.working(target(point), name)
        assert there or not point % 2
        assert here == (1 if verb == "copy" or not there else 0)

    strike_everywhere(bench, prepare, check)
