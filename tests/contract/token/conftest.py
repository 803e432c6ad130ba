"""The token that was brought up around this process, and what the checks saw of it.

These files are not collected with the other tests: ``tests.contract.token.run`` starts them in a process of its own,
once for each kind of token. Which token it is stands in the environment; no check asks for its name.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from tests.contract.token.abilities import Abilities
from tests.warm import Warm

from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, PinSource, open_token
from dojang.settings import Settings, load

KEYS = pytest.StashKey[Abilities]()
RESULTS = pytest.StashKey[dict[str, list[str]]]()


class Answer(NamedTuple):
    """What a command answered: its exit status, and the data or the error of its JSON document."""

    exit: int
    data: dict
    error: dict

    @property
    def code(self) -> str:
        return self.error.get("code", "")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", type=Path, help="where results and abilities go, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[KEYS] = Abilities()
    config.stash[RESULTS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Notes the outcome of each check under the chapter (the file) it stands in."""
    report = yield
    chapter = item.path.stem.removeprefix("check_")
    noted = item.config.stash[RESULTS].setdefault(chapter, [])
    if report.when == "call":
        noted.append("passed" if report.passed else f"{item.name}\n{report.longreprtext}")
    elif report.failed:
        noted.append(f"{item.name} ({report.when})\n{report.longreprtext}")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--report")
    if path is not None:
        seen = {"results": session.config.stash[RESULTS], "abilities": session.config.stash[KEYS].told()}
        path.write_text(json.dumps(seen, indent=2, ensure_ascii=False))


@pytest.fixture(scope="session")
def abilities(pytestconfig: pytest.Config) -> Abilities:
    """Where the checks write down what this token can do."""
    return pytestconfig.stash[KEYS]


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load()


@pytest.fixture(scope="session")
def search(settings: Settings) -> ModuleSearch:
    return ModuleSearch(module=settings.module, configured=settings.modules, discover=False)


@pytest.fixture(scope="session")
def uri() -> str:
    """The token by label and serial."""
    return os.environ["DOJANG_TOKEN"]


@pytest.fixture(scope="session")
def token(uri: str, settings: Settings, search: ModuleSearch, tmp_path_factory) -> Iterator[OpenToken]:
    """The token, open for the whole run."""
    guard = PinGuard(tmp_path_factory.mktemp("guard") / "pin-guard")
    with open_token(uri, PinSource.parse(settings.pin_source), search=search, guard=guard) as opened:
        yield opened


@pytest.fixture(scope="session")
def dojang() -> Iterator[Callable[..., Answer]]:
    """Runs a command of ours, as a process beside this one, on the same token."""
    warm = Warm()

    def run(*words: object) -> Answer:
        args = ["--json", "--no-input", *map(str, words)]
        done = warm.run(args, input=None, env=dict(os.environ), timeout=60)
        assert "Traceback" not in done.stderr, done.stderr
        answer = json.loads(done.stdout)
        assert answer["ok"] == (done.returncode == 0), done.stdout
        return Answer(done.returncode, answer.get("data", {}), answer.get("error", {}))

    yield run
    warm.close()


@pytest.fixture(scope="session")
def unlock() -> Callable[[], None]:
    """Takes back a lock that is the device's own, where there is a program for it."""

    def run() -> None:
        words = shlex.split(os.environ.get("DOJANG_TOKEN_UNLOCK", ""))
        if words:
            subprocess.run(words, check=True, capture_output=True, timeout=30)

    return run


@pytest.fixture(scope="session")
def certificate() -> Callable[[str], x509.Certificate]:
    """Makes a certificate that has nothing to do with the token."""
    from tests.contract.credentials import SmallAuthority

    authority = SmallAuthority()

    def make(common_name: str) -> x509.Certificate:
        return x509.load_der_x509_certificate(authority.certify(authority.key, common_name))

    return make
