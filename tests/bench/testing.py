"""Tokens for other people's tests: each against a bare softhsm2-util, and pytest with the plugin against without."""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

from place import Place, Row

from dojang.pkcs11 import ModuleSearch, list_tokens
from dojang.testing.softhsm import SoftHsm, softhsm

CONFIGURATION = "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n"
ONE_TEST = "def test_nothing():\n    pass\n"


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    return [*_tokens(place.folder / "bare", rounds), _plugin(place.folder / "pytest", rounds)]


def _tokens(folder: Path, rounds: int) -> list[Row]:
    bare, apart, here = [], [], []
    numbers = count()
    with softhsm() as hsm, hsm.in_this_process(), softhsm() as other:
        list_tokens(ModuleSearch(module=str(hsm.module), discover=False))  # from now on it makes tokens in here
        for _ in range(rounds):
            bare.append(_bare(folder / str(next(numbers))))
            apart.append(_ours(other))
            here.append(_ours(hsm))
    ways = {"a token for a test, by another process": apart, "a token for a test, in the process that uses it": here}
    return [_row(name, ours, bare, 3.0) for name, ours in ways.items()]


def _bare(folder: Path) -> float:
    (folder / "tokens").mkdir(parents=True)
    (folder / "conf").write_text(CONFIGURATION.format(folder / "tokens"))
    environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "conf")}
    command = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "bare",
        "--so-pin",
        "12345678",
        "--pin",
        "12345678",
    ]
    start = perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def _ours(hsm: SoftHsm) -> float:
    start = perf_counter()
    hsm.token()
    return perf_counter() - start


def _plugin(folder: Path, rounds: int) -> Row:
    """A pytest run of somebody who has dojang installed and asks for none of it."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_one.py").write_text(ONE_TEST)
    with_it, without = [], []
    for _ in range(rounds):
        without.append(_collect(folder, "-p", "no:dojang"))
        with_it.append(_collect(folder))
    return _row("pytest --co with the plugin, unused", with_it, without, 1.1)


def _collect(folder: Path, *words: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", "--co", "-q", *words]
    start = perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def _row(name: str, ours: list[float], theirs: list[float], target: float) -> Row:
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{median(ours) * 1000:.1f} ms, bare {median(theirs) * 1000:.1f} ms"
    return Row("testing", name, ratio, target, False, detail)
