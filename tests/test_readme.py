"""What the README shows is true: commands, the Python example, settings, names of scripts, exit codes."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from dojang import errors
from dojang.settings import load
from dojang.x509.profiles import profiles

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SECRETS = {
    "hong.pin": "482913",
    "ca.pin": "730164",
    "root.pin": "615243",
    "so.pin": "59310284",
    "kim.password": "Spring-2026!",
    "new.password": "Summer-2027!",
    "backup.password": "in-a-Safe-7731",
}


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
PORTS = "8710", "8711"
"""What the README serves at; here something else may be there."""


@pytest.fixture(scope="module")
def reader(softhsm_dir: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A reader's folder and environment: the files the README speaks of, no tokens yet."""
    folder = softhsm_dir / "reader"
    up = subprocess.run([ROOT / "softhsm/up", folder], capture_output=True, text=True, check=True).stdout
    exports = dict(word.split("=", 1) for word in shlex.split(up) if "=" in word)
    home = {"HOME": str(folder), "DOJANG_HOME": str(folder / "dojang"), "LC_ALL": "C.UTF-8"}
    scripts = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for name, pin in SECRETS.items():
        (folder / name).write_text(pin)
        (folder / name).chmod(0o600)
    (folder / "letter.txt").write_text("To whom it may concern\n")
    yield folder, {**os.environ, **exports, **home, "PATH": scripts}
    for file in folder.glob("*.pid"):  # what a reader who stopped half-way would have left running
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


def elsewhere(commands: list[str]) -> list[str]:
    """The same commands, with ports that are free."""
    with contextlib.ExitStack() as held:
        free = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in PORTS]
    found = "\n".join(commands)
    for port, other in zip(PORTS, free, strict=True):
        assert port in found
        found = found.replace(f":{port}", f":{other}")
    return found.split("\n")


@pytest.mark.timeout(600)  # each command has its own limit
def test_commands_run_in_order(reader):
    """A reader who types every command of the README, one after the other, sees none of them fail."""
    folder, environment = reader
    assert COMMANDS
    for command in elsewhere(COMMANDS):
        run = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"


def test_python_example_runs(reader):
    """The Python example opens the token by URI and signs; it has about ten lines."""
    folder, environment = reader
    example, _ = blocks("python")
    subprocess.run(COMMANDS[0], shell=True, cwd=folder, env=environment, capture_output=True)  # the token, if need be
    run = subprocess.run([sys.executable, "-c", example], cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(example.split("\n")) <= 12


def test_settings_are_accepted(tmp_path):
    """The configuration file shown is valid, and it shows every setting there is."""
    example, _ = blocks("toml")
    path = tmp_path / "config.toml"
    path.write_text(example)
    settings = load(path, {"DOJANG_HOME": str(tmp_path)})
    assert settings.modules[0].name == "vendor"
    assert settings.aliases["hong"].startswith("pkcs11:")


def test_a_profile_of_ones_own_is_accepted(tmp_path):
    """The profile shown is valid, and shows everything that those shipped for subscribers say."""
    _, example = blocks("toml")
    (tmp_path / "member.toml").write_text(example)
    member = next(one for one in profiles(tmp_path) if one.name == "member")
    assert member.titles["ko"] == "회원"
    told = tomllib.loads(example)
    for one in profiles():
        if one.is_for_subscribers:
            said = tomllib.loads((files("dojang.x509.profiles") / f"{one.name}.toml").read_text())
            assert set(said) <= set(told) | {"validity-days"}


def test_scripts_exist():
    """Every script that is named is there and can be executed, and every script that is there is named."""
    named = set(re.findall(r"\bscripts/(\w+)", README))
    there = {path.name for path in (ROOT / "scripts").iterdir() if not path.name.startswith(".")}
    assert named == there
    assert all(os.access(ROOT / "scripts" / name, os.X_OK) for name in named)


def leaves(family: type[errors.DojangError]) -> Iterator[type[errors.DojangError]]:
    for kind in family.__subclasses__():
        if kind.code:
            yield kind
        yield from leaves(kind)


def test_exit_codes_are_listed():
    """Every exit status that an error can lead to stands in the table."""
    table = README.partition("## Exit codes")[2].partition("##")[0]
    listed = {int(code) for code in re.findall(r"\| (\d+) ", table)}
    assert {leaf.exit_status for leaf in leaves(errors.DojangError)} <= listed
