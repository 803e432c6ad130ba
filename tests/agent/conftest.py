"""Agents as a user has them: processes of their own in a home of their own, ended with the test."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dojang.pkcs11 import ModuleSearch, PinGuard, open_token
from dojang.secret import Secret

ALGORITHMS = ("rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519")


@dataclass(frozen=True, slots=True)
class Seal:
    """A token with one key of each kind, labelled by its kind."""

    label: str
    uri: str
    pin: str
    pin_source: str
    public: dict[str, object]

    def key(self, algorithm: str) -> str:
        return f"{self.uri};object={algorithm}"


@pytest.fixture(scope="session")
def seal(make_token, softhsm_module, tmp_path_factory) -> Seal:
    """Made once: every test here only signs with it."""
    token = make_token()
    guard = PinGuard(tmp_path_factory.mktemp("seal") / "pin-guard")
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(token.uri, Secret(token.pin), search=search, guard=guard) as opened:
        keys = {name: opened.generate_key_pair(name, label=name) for name in ALGORITHMS}
    public = {name: key.public_key() for name, key in keys.items()}
    return Seal(token.label, token.uri, token.pin, token.pin_source, public)


class AgentHome:
    """A home in which at most one agent runs; ``dojang`` runs a command there."""

    def __init__(self, folder: Path, dojang: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
        self.folder = folder
        self.dojang = dojang
        self.socket = folder / "state" / "agent" / "agent.sock"

    def start(self, *words: object, **named: object) -> dict:
        """``agent start``, which must succeed; what it says with ``--json``."""
        done = self.dojang("agent", "start", *words, "--json", **named)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["data"]

    def status(self) -> dict:
        done = self.dojang("agent", "status", "--json")
        assert done.returncode == 0, done.stdout
        return json.loads(done.stdout)["data"]

    def environment(self) -> dict[str, str]:
        """For programs that speak to the agent themselves."""
        return {**os.environ, "DOJANG_HOME": str(self.folder), "SSH_AUTH_SOCK": str(self.socket)}


@contextmanager
def short_home(dojang_at) -> Iterator[AgentHome]:
    """A home with a short name: a socket's path has at most 107 bytes. Its agent is ended."""
    folder = Path(tempfile.mkdtemp(prefix="dojang-agent-")) / "dojang"
    folder.mkdir()
    home = AgentHome(folder, dojang_at(folder))
    try:
        yield home
    finally:
        stopped = home.dojang("agent", "stop", "--json")
        shutil.rmtree(folder.parent)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def serve_all(home: AgentHome, seal: Seal) -> AgentHome:
    """An agent that serves every key of ``seal``."""
    words = [word for name in ALGORITHMS for word in ("--key", seal.key(name))]
    home.start(*words, "--pin-source", seal.pin_source)
    return home


@pytest.fixture
def home(dojang_at) -> Iterator[AgentHome]:
    with short_home(dojang_at) as made:
        yield made


@pytest.fixture
def agent(home: AgentHome, seal: Seal) -> AgentHome:
    """An agent for one test, which may end or lock it."""
    return serve_all(home, seal)


@pytest.fixture
def in_agent(agent: AgentHome, monkeypatch: pytest.MonkeyPatch) -> AgentHome:
    """The same, and this process is one of its user's."""
    monkeypatch.setenv("DOJANG_HOME", str(agent.folder))
    return agent


@pytest.fixture(scope="module")
def shared(dojang_at, seal: Seal) -> Iterator[AgentHome]:
    """An agent for all tests of a file that leave it as it is."""
    with short_home(dojang_at) as made:
        yield serve_all(made, seal)


@pytest.fixture
def in_shared(shared: AgentHome, monkeypatch: pytest.MonkeyPatch) -> AgentHome:
    """The same, and this process is one of its user's."""
    monkeypatch.setenv("DOJANG_HOME", str(shared.folder))
    return shared


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    """``program(name, script)`` is an executable shell script."""

    def make(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return path

    return make
