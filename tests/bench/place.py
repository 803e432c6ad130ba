"""Where a part of the bench runs: a SoftHSM2 of its own on tmpfs, one token, and the C loop."""

import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio inside one run; ``target`` is what is promised, ``None`` for a figure shown alongside."""

    part: str
    name: str
    ratio: float
    target: float | None
    at_least: bool
    detail: str

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


@dataclass(frozen=True, slots=True)
class Place:
    """A folder on tmpfs with a token in it; ``SOFTHSM2_CONF`` of this process names it."""

    folder: Path
    module: str
    label: str

    @property
    def uri(self) -> str:
        return f"pkcs11:token={self.label}"

    @property
    def pin(self) -> str:
        return (self.folder / f"{self.label}.pin").read_text()

    @property
    def pin_source(self) -> str:
        return f"file:{self.folder / self.label}.pin"

    def c(self, *args: object) -> list[float]:
        """What the C loop prints for ``args``."""
        command = [self.folder / "loop", self.module, self.label, *map(str, args)]
        run = subprocess.run(command, input=f"{self.pin}\n", capture_output=True, text=True, check=True)
        return [float(line) for line in run.stdout.split()]

    def another(self, label: str) -> "Place":
        """One more token in the same folder; only before this process loads the module."""
        _up(self.folder, label)
        return replace(self, label=label)


def _up(folder: Path, label: str) -> dict[str, str]:
    command = [HERE.parent.parent / "softhsm" / "up", folder, label]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return dict(word.split("=", 1) for word in shlex.split(run.stdout) if "=" in word)


def bring_up(folder: Path) -> Place:
    """A ``Place`` in ``folder`` with the token ``bench``; only before this process loads the module."""
    environment = _up(folder, "bench")
    os.environ.update(environment, DOJANG_HOME=str(folder / "home"))
    compiler = ["gcc", "-O2", "-std=gnu99", "-o", folder / "loop", HERE / "loop.c", "-ldl", "-lpthread"]
    subprocess.run(compiler, check=True)
    return Place(folder, environment["DOJANG_MODULE"], "bench")


def timed(command: list[object], *, stderr: int | None = None) -> float:
    """Seconds that a whole process takes."""
    # An installed program has its bytecode; a setting of this shell must not make every start compile it again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = list(map(str, command))
    start = perf_counter()
    subprocess.run(
        words, check=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
    )
    return perf_counter() - start


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A folder on tmpfs, gone afterwards: on a disk, writing objects would be all there is to measure."""
    return tempfile.TemporaryDirectory(
        prefix="dojang-bench-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    )
