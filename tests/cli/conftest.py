"""What the tests of the command line share: compiled catalogues, every text for people, a terminal."""

import ast
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pexpect
import pytest
from babel.messages.extract import extract_from_dir, extract_from_file

from dojang import errors

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dojang"
# Where the first argument is a text for people, the second of ``refusal``, the third of ``not_known``. Check names what
# verifying looks at.
FIRST = ("_", "N_", "say", "Phrase", "Check", "Fault", "NotFetched", "_refuse")
KEYWORDS = {**dict.fromkeys(FIRST), "refusal": (2,), "CmpFault": (2,), "not_known": (3,)}
# Facts of an error that are words rather than names of things.
WORDS_IN_FACTS = {"problem", "what", "expected", "operation", "purpose", "remedy", "next_step", "wanted", "where"}


@pytest.fixture(scope="session", autouse=True)
def compiled_catalogues() -> None:
    """The catalogues as they stand in the sources, compiled by the build hook's own function."""
    sys.path.insert(0, str(ROOT))
    importlib.import_module("hatch_build").compile_catalogues()


@pytest.fixture(autouse=True)
def nobodys_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that ran inside the test process leaves it no language for what the system says."""
    monkeypatch.setenv("LANGUAGE", "")


@pytest.fixture(scope="session")
def leaves() -> list[type[errors.DojangError]]:
    """Every error that may be raised."""
    return list(_leaves_below(errors.DojangError))


def _leaves_below(family: type[errors.DojangError]) -> Iterator[type[errors.DojangError]]:
    for kind in family.__subclasses__():
        if kind.code:
            yield kind
        yield from _leaves_below(kind)


@pytest.fixture(scope="session")
def raises() -> list[tuple[Path, ast.Call]]:
    """Every construction of an error leaf in the sources, with its file."""
    names = {leaf.__name__ for leaf in _leaves_below(errors.DojangError)}
    return [
        (path, node)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _called_name(node) in names
    ]


def _called_name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


@pytest.fixture(scope="session")
def texts(leaves: list[type[errors.DojangError]], raises: list[tuple[Path, ast.Call]]) -> dict[str, str]:
    """Every text that a person may read, and where it comes from: ours, the error templates, and click's."""
    found: dict[str, str] = {}
    for name, _line, message, *_rest in extract_from_dir(SOURCE, method_map=[("**.py", "python")], keywords=KEYWORDS):
        found |= {text: name for text in ([message] if isinstance(message, str) else message) if text}
    for leaf in leaves:
        found |= dict.fromkeys((leaf.sentence, leaf.next_step), f"errors.{leaf.__name__}")
    for path, call in raises:
        for keyword in call.keywords:
            if keyword.arg in WORDS_IN_FACTS and isinstance(keyword.value, ast.Constant) and keyword.value.value:
                found[keyword.value.value] = str(path.relative_to(SOURCE))
    return found


@pytest.fixture(scope="session")
def click_texts() -> set[str]:
    """The texts that click shows to people: its errors and its help page."""
    import click

    folder = Path(click.__file__).parent
    found: set[str] = set()
    for name in ("exceptions", "core", "formatting", "types", "decorators", "parser"):
        for _line, message, *_rest in extract_from_file("python", folder / f"{name}.py"):
            found.add(message if isinstance(message, str) else message[-1])
    return found


Terminal = Callable[..., pexpect.spawn]


@pytest.fixture
def terminal(home: Path, softhsm_module: str) -> Iterator[Terminal]:
    """Runs ``dojang ARGS`` on a pseudo-terminal, as a person does."""
    running: list[pexpect.spawn] = []

    def run(*args: object, **env: str) -> pexpect.spawn:
        environment = {**os.environ, "DOJANG_MODULE": softhsm_module, "LC_ALL": "C.UTF-8", **env}
        child = pexpect.spawn(
            sys.executable, ["-m", "dojang", *map(str, args)], env=environment, encoding="utf-8", timeout=20
        )
        running.append(child)
        return child

    yield run
    for child in running:
        child.close(force=True)


SOON = """
title = {{ en = "Due from its first day", ko = "첫날부터 갱신" }}
validity-days = {days}
renewal-window-days = {window}
keep-key = true
algorithms = ["ec-p256", "rsa-2048"]
key-usage = ["digital-signature"]
"""
"""What is issued for 60 days has its turn at once where the window is 90; its successor, for 400 more, has not."""


@dataclass(slots=True)
class Desk:
    """A home with an authority called office, a token, an NPKI folder and their secrets; ``run`` runs dojang there."""

    home: Path
    token: str
    environment: dict[str, str]
    settings: str

    def run(self, *words: object, **named: object) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "dojang", *map(str, words)]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, **named)

    def start(self, *words: object, **named: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "dojang", *map(str, words)]
        usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": self.environment}
        return subprocess.Popen(command, **{**usual, **named})

    def data(self, *words: object) -> dict:
        """The data of a run that must succeed, or has nothing to do."""
        run = self.run(*words, "--json")
        assert run.returncode in (0, 14), (words, run.stdout, run.stderr)
        return json.loads(run.stdout)["data"]

    def issue(self, name: str, to: str = "npki:", profile: str = "soon", **more: str) -> str:
        """The address of a new credential."""
        words = ["cert", "issue", "--to", to, "--subject", f"CN={name},C=KR", "--profile", profile]
        words += [word for option, value in more.items() for word in (f"--{option}", value)]
        profiles = self.home / "state" / "authorities" / "office" / "profiles"
        profiles.mkdir(exist_ok=True)
        (profiles / "soon.toml").write_text(SOON.format(days=60, window=30))
        address = self.data(*words)["credential"]["address"]
        (profiles / "soon.toml").write_text(SOON.format(days=400, window=90))
        return address

    def configure(self, text: str) -> None:
        (self.home / "config.toml").write_text(self.settings + text)

    def twin(self, name: str) -> "Desk":
        """Another machine's home: records of its own, the same authority, token and folders."""
        home = self.home.parent / name
        (home / "state").mkdir(parents=True)
        (home / "state" / "authorities").symlink_to(self.home / "state" / "authorities")
        (home / "config.toml").write_text(self.settings)
        return replace(self, home=home, environment={**self.environment, "DOJANG_HOME": str(home)})


@pytest.fixture
def desk(home: Path, make_token, softhsm_module: str) -> Desk:
    """Every secret is in a file that the settings name, so nothing is ever asked."""
    token, office = make_token(), make_token()
    password = home / "password"
    password.write_text("correct horse 1!")
    password.chmod(0o600)
    settings = f'pin-source = "{token.pin_source}"\npassword-source = "file:{password}"\n'
    settings += f'ca-pin-source = "{office.pin_source}"\nrenewal-window-days = 90\n'
    (home / "config.toml").write_text(settings)
    environment = {**os.environ, "DOJANG_MODULE": softhsm_module, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    desk = Desk(home, token.uri, environment, settings)
    desk.data("ca", "init", "--alias", "office", "--key", f"{office.uri};object=root", "--name", "CN=Office CA")
    return desk


@pytest.fixture
def json_run(home: Path, make_token, run_dojang):
    """Runs dojang with the PIN of one token, its ``token``; what it printed as JSON, and its exit status."""
    token = make_token()

    def run(*words, ok=True):
        done = run_dojang(*words, "--pin-source", token.pin_source, "--json")
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout) | {"status": done.returncode}

    run.token = token
    return run


@dataclass(frozen=True)
class PlainOffice:
    """A home with an authority called office; ``run`` runs dojang there as JSON, with the PIN of the authority."""

    home: Path
    pin_source: str
    runner: Callable[..., subprocess.CompletedProcess[str]]

    def run(self, *words: object, **named: Any) -> dict[str, Any]:
        done = self.runner(*words, "--ca-pin-source", self.pin_source, "--json", **named)
        return json.loads(done.stdout) | {"status": done.returncode, "told": done.stderr}

    def data(self, *words: object, **named: Any) -> dict[str, Any]:
        done = self.run(*words, **named)
        assert done["status"] == 0, done
        return done["data"]

    def applicant(self, name: str = "홍길동") -> str:
        return self.data("ca", "applicant", "add", "--name", name)["applicant"]["id"]


@pytest.fixture(scope="module")
def plain_office(tmp_path_factory: pytest.TempPathFactory, make_token, dojang_at) -> PlainOffice:
    """Founded once for a file."""
    home, token = tmp_path_factory.mktemp("office") / "dojang", make_token()
    home.mkdir()
    office = PlainOffice(home, token.pin_source, dojang_at(home))
    office.data("ca", "init", "--alias", "office", "--key", f"{token.uri};object=root", "--name", "CN=Office CA")
    return office
