"""Killed while seeds come in from a PSKC file or leave in one: all of a file or nothing, and the next run does it."""

import io
from pathlib import Path

from pskc import PSKC
from tests.faults.conftest import Bench, strike_everywhere

KEY = bytes(range(16))
SEED = b"12345678901234567890"


def test_an_import_killed_anywhere(bench: Bench, tmp_path) -> None:
    """Every device of the file is there or none is; the same command again leaves every one there, once."""
    bench.environment["KEY"] = KEY.hex()

    def prepare(name: str) -> list[object]:
        return ["otp", "import", _file(tmp_path / f"{name}.xml", name), "--key-source", "env:KEY", "--json"]

    def check(name: str, _point: int) -> None:
        again = bench.json("otp", "import", tmp_path / f"{name}.xml", "--key-source", "env:KEY")
        assert sorted([len(again["added"]), len(again["present"])]) == [0, 2]
        last = bench.json("otp", "import", tmp_path / f"{name}.xml", "--key-source", "env:KEY")
        assert last["present"] == [f"{name}-1", f"{name}-2"]

    strike_everywhere(bench, prepare, check, every=7, journal=False)


def test_an_export_killed_anywhere(bench: Bench, tmp_path) -> None:
    """The file is whole or not there, and the next run writes it."""
    bench.environment["KEY"] = KEY.hex()
    file = _file(tmp_path / "seeds.xml", "device")
    bench.json("otp", "import", file, "--key-source", "env:KEY", "--exportable")

    def order(path: Path) -> list[object]:
        return ["otp", "export", "device-1", "device-2", "--to", path, "--key-source", "env:KEY", "--json"]

    def prepare(name: str) -> list[object]:
        return order(tmp_path / f"{name}.xml")

    def check(name: str, _point: int) -> None:
        path = tmp_path / f"{name}.xml"
        if not path.exists():
            bench.json(*order(path)[:-1])
        read = PSKC(str(path))
        read.encryption.key = KEY
        assert [key.secret.rstrip(b"\0") for key in read.keys] == [SEED, SEED]

    strike_everywhere(bench, prepare, check, every=4, journal=False)


def _file(path: Path, name: str) -> Path:
    sent = PSKC()
    for number in (1, 2):
        serial = f"{name}-{number}"
        sent.add_key(id=serial, serial=serial, secret=SEED, algorithm="urn:ietf:params:xml:ns:keyprov:pskc:totp")
    sent.encryption.setup_preshared_key(key=KEY, algorithm="aes128-cbc")
    written = io.BytesIO()
    sent.write(written)
    path.write_bytes(written.getvalue())
    return path
