"""A kill before everything that lasts while a credential goes from one place to another: nothing is lost, and the key
lies nowhere in a form that anybody could read.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.faults.conftest import Bench, strike_everywhere
from tests.lifecycle.test_copy import self_signed

from dojang.ledger import Ledger
from dojang.lifecycle.drill import put_in
from dojang.lifecycle.finish import twin_in
from dojang.locations.base import Location
from dojang.locations.registry import open_location
from dojang.npki.keyfile import KeyFileForm
from dojang.npki.pkcs8 import Pkcs8, new_random_number
from dojang.pkcs11 import ModuleSearch, PinGuard
from dojang.pkcs11.pin import PinSource
from dojang.secret import Secret
from dojang.x509.challenge import prove_possession

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
        self.watched = [self.home.parent, watched]
        self.here = f"npki:{self.home}/NPKI"
        self.secrets: list[bytes] = []
        self.words: list[str] = []

    def place(self, kind: str, name: str) -> str:
        """A place of that kind that nobody has used before; there is but one token."""
        if kind == "token":
            return self.bench.locations["token"]
        forms = {"disk": f"npki:{self.home}/{name}/NPKI", "pkcs12": f"pkcs12:{self.home}/{name}.p12"}
        return {**forms, "pem": f"pem:{self.home}/{name}.pem"}[kind]

    def put(self, name: str, address: str | None = None) -> str:
        """A new credential, in the folder unless said, whose secrets are looked for from now on; its address."""
        parcel, quick = self_signed(name, days=400), KeyFileForm("pbes2-seed")
        self.secrets = secrets_of(parcel.key)
        with open_location(
            address or self.here, passwords=lambda path, new: Secret(PASSWORD), key_files=quick
        ) as there:
            put_in(parcel, there, name)
            return twin_in(there, parcel.certificate_der).address

    def working(self, address: str, name: str) -> int:
        """How many credentials of that name are there; each of them signs."""
        with self.open_at(address) as location:
            found = [one for one in location.credentials() if one.live and one.label == name]
            for one in found:
                prove_possession(location.private_key(one.key_id), one.certificate_der)
        return len(found)

    def remembering(self, prepare: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
        """The same, and ``goes_on`` knows which command it was."""

        def prepared(name: str) -> list[str]:
            self.words = prepare(name)
            return self.words

        return prepared

    def goes_on(self, point: int) -> None:
        """The same command again, or any that sees to what was left; then nothing waits, and no key shows."""
        run = self.bench.run(*(self.words if point % 2 else ["renew", "run", self.here]))
        assert run.status in ((0,) if point % 2 else (0, 14)), run.err
        self.nothing_waits()
        self.nothing_shows()

    def nothing_shows(self) -> None:
        assert where_found(self.secrets, *self.watched) == []

    def nothing_waits(self) -> None:
        with Ledger.open(self.bench.home / "state" / "ledger.sqlite") as ledger:
            assert ledger.incomplete() == []
        rests = [path for path in self.home.rglob("*") if path.name.endswith((".part", ".removed"))]
        assert rests == []


@pytest.fixture(autouse=True)
def _temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What dojang or a library puts among temporary files lies where the search looks."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


@pytest.fixture
def journey(bench: Bench, softhsm_dir: Path, softhsm_module: str, tmp_path: Path, quick_passwords: None) -> Journey:
    """What the commands leave is looked at from here, with the same PIN and password."""
    pin = PinSource.parse(bench.environment["DOJANG_PIN_SOURCE"])
    search, guard = ModuleSearch(module=softhsm_module, discover=False), PinGuard(tmp_path / "pin-guard")
    passwords = lambda path, new: Secret(PASSWORD)  # noqa: E731
    return Journey(
        bench,
        softhsm_dir,
        lambda address: open_location(address, search=search, guard=guard, pins=pin, passwords=passwords),
    )


def test_the_search_finds_what_it_looks_for(journey: Journey) -> None:
    """A plain key, in whatever form, would be found: the search is no comfort otherwise."""
    key = Pkcs8.from_key(rsa.generate_private_key(65537, 2048), new_random_number())
    journey.secrets, plain = secrets_of(key), journey.home / "plain"
    for form in (key.der, base64.encodebytes(key.der), key.der.hex().encode()):
        plain.write_bytes(form)
        assert where_found(journey.secrets, journey.home) == [plain]
    plain.unlink()
    journey.nothing_shows()


WAYS = [
    ("copy", "disk", "disk"),
    ("copy", "disk", "pkcs12"),
    ("move", "disk", "token"),
    ("move", "pem", "disk"),
]


@pytest.mark.parametrize(("verb", "source", "target"), WAYS)
def test_a_killed_transfer_loses_nothing(journey: Journey, verb: str, source: str, target: str) -> None:
    """At every moment the original or its proven copy signs; the next run finishes or undoes; no key shows."""
    bench, stays = journey.bench, journey.put("hong") if verb == "copy" else None

    def ends(name: str) -> tuple[str, str]:
        here = journey.here if source == "disk" else journey.place(source, f"from-{name}")
        return here, journey.place(target, f"to-{name}")

    def prepare(name: str) -> list[str]:
        address = stays or journey.put(name, ends(name)[0])
        return ["location", verb, address, "--to", ends(name)[1]]

    def check(name: str, point: int) -> None:
        journey.nothing_shows()
        called = "hong" if stays else name
        assert sum(journey.working(end, called) for end in ends(name))
        journey.goes_on(point)
        here, there = (journey.working(end, called) for end in ends(name))
        assert there or not point % 2
        assert here == (1 if verb == "copy" or not there else 0)

    strike_everywhere(bench, journey.remembering(prepare), check)


@pytest.mark.parametrize("target", ["disk", "pkcs12", "token"])
def test_a_killed_replacement_leaves_the_old_copy_or_the_new_one(journey: Journey, target: str) -> None:
    """At every moment what is in use there signs; on a token both may be, until the old one has lost its name. The next
    run takes all of the new one back, or finishes: then the old one is retired. Run again, the new one is there.
    """
    bench = journey.bench

    def prepare(name: str) -> list[str]:
        there = journey.place(target, f"to-{name}")
        with journey.open_at(there) as location:
            put_in(self_signed(name, begins=-20, days=400), location, name)
        return ["location", "copy", journey.put(name), "--to", there, "--replace"]

    def check(name: str, point: int) -> None:
        there = journey.place(target, f"to-{name}")
        journey.nothing_shows()
        assert journey.working(there, name) in ((1, 2) if target == "token" else (1,))
        journey.goes_on(point)
        assert journey.working(there, name) == 1
        found = bench.json("cert", "list", there)["credentials"]
        states = sorted(one["state"] for one in found if one["subject"] == f"CN={name}")
        assert states == ["retired", "valid"] or (states == ["valid"] and not point % 2)

    strike_everywhere(bench, journey.remembering(prepare), check, every=8)


def test_a_killed_backup_is_none(journey: Journey) -> None:
    """Before it passed its drill there is no file; afterwards it has its name, or gets it in the next run. Nothing of
    the scratch folder stays, and an older backup is what it was until then.
    """
    bench, before, address = journey.bench, {}, journey.put("hong")

    def backup(name: str) -> Path:
        return journey.home / f"{name}.p12"

    def prepare(name: str) -> list[str]:
        if name.endswith(("0", "3", "6", "9")):
            bench.json("location", "export", address, "--to", backup(name))
        before[name] = backup(name).read_bytes() if backup(name).exists() else None
        return ["location", "backup", address, "--to", backup(name), "--replace"]

    def check(name: str, point: int) -> None:
        journey.nothing_shows()
        journey.goes_on(point)
        now = backup(name).read_bytes() if backup(name).exists() else None
        assert now != before[name] or not point % 2
        if now != before[name]:
            assert journey.working(f"pkcs12:{backup(name)}", "hong")
        assert [path for path in journey.home.iterdir() if path.name.endswith(".drill")] == []

    strike_everywhere(bench, journey.remembering(prepare), check)


def test_a_killed_restore_is_finished_or_undone(journey: Journey) -> None:
    """Run again, it brings everything; the backup stays as it was; no key shows."""
    bench, backup = journey.bench, journey.home / "backup.p12"
    bench.json("location", "backup", journey.put("hong"), "--to", backup)
    whole = backup.read_bytes()

    def prepare(name: str) -> list[str]:
        return ["location", "restore", backup, "--to", journey.place("disk", name)]

    def check(name: str, point: int) -> None:
        journey.nothing_shows()
        journey.goes_on(point)
        assert journey.working(journey.place("disk", name), "hong") or not point % 2
        assert backup.read_bytes() == whole

    strike_everywhere(bench, journey.remembering(prepare), check)
