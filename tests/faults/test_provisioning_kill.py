"""Killed while a device is made whose seed goes to a phone: what is registered has its picture, whole."""

import subprocess
from urllib.parse import parse_qs, urlsplit

from tests.faults.conftest import Bench, strike_everywhere


def test_a_provisioning_killed_anywhere(bench: Bench, tmp_path) -> None:
    """No device is left that nobody can have the seed of; the codes of what is there are accepted."""
    done: set[str] = set()

    def prepare(name: str) -> list[object]:
        picture = tmp_path / f"{name}.png"
        return ["otp", "add", "--ca", "office", "--kind", "hotp", "--name", name, "--export-qr", picture, "--json"]

    def check(name: str, _point: int) -> None:
        found = [one for one in bench.json("otp", "list", "--ca", "office")["devices"] if one["id"] not in done]
        if not found:
            return
        (device,) = found
        done.add(device["id"])
        read = subprocess.run(
            ["zbarimg", "-q", "--raw", tmp_path / f"{name}.png"], capture_output=True, text=True, check=True
        )
        (seed,) = parse_qs(urlsplit(read.stdout.strip()).query)["secret"]
        shown = subprocess.run(["oathtool", "--hotp", "-b", seed], capture_output=True, text=True, check=True)
        bench.environment["CODE"] = shown.stdout.strip()
        assert bench.json("otp", "verify", "--ca", "office", device["id"], "--code-source", "env:CODE")["valid"]

    strike_everywhere(bench, prepare, check, every=3, journal=False)
