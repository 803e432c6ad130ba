"""What every bring-up is made of: files of the system, PINs in files of their own, programs that must succeed."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dojang.testing.daemon import did_not_start
from dojang.testing.setup import BringUpFailed

LABEL: Final = "Hong"
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def library(pattern: str, package: str) -> Path:
    """The first file under the system's library folders that fits ``pattern``; ``package`` is Debian's name for it."""
    for folder in (Path("/usr/lib"), Path("/usr/local/lib"), Path("/usr/lib64")):
        found = sorted(folder.glob(pattern)) or sorted(folder.glob(f"*/{pattern}"))
        if found:
            return found[0]
    raise _missing(pattern, package)


def program(name: str, package: str) -> str:
    """Where the program is, also where only root has it on the path."""
    found = shutil.which(name) or shutil.which(name, path=_SYSTEM_PATH)
    if found is None:
        raise _missing(name, package)
    return found


def _missing(what: str, package: str) -> BringUpFailed:
    return BringUpFailed(f"{what} is not installed (Debian: apt-get install {package}).")


def new_pin(folder: Path, name: str, value: str | None = None) -> tuple[str, str]:
    """A PIN of eight digits, or the one given, and the ``file:`` source that holds it (mode 0600)."""
    pin = value or f"{secrets.randbelow(90_000_000) + 10_000_000}"
    path = folder / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(pin)
    return pin, f"file:{path}"


def run(folder: Path, command: list[str], *, environment: Mapping[str, str] | None = None, answers: str = "") -> None:
    """Run a program to its end; ``BringUpFailed`` with its last words when it fails."""
    log = folder / "bring-up.log"
    with log.open("ab") as out:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            input=answers.encode(),
            stdout=out,
            stderr=out,
            timeout=60,
        )
    if done.returncode:
        raise did_not_start(command[0], log)
