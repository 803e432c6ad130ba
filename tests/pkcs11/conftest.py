"""A token of its own for every test module, opened through dojang."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token
from dojang.secret import Secret


@pytest.fixture(scope="session")
def search(softhsm_module: str) -> ModuleSearch:
    return ModuleSearch(module=softhsm_module, discover=False)


@pytest.fixture
def guard(tmp_path: Path) -> PinGuard:
    return PinGuard(tmp_path / "pin-guard")


@pytest.fixture(scope="module")
def fixture(make_token):
    return make_token()


@pytest.fixture
def token(fixture, search: ModuleSearch, guard: PinGuard) -> Iterator[OpenToken]:
    with open_token(fixture.uri, Secret(fixture.pin), search=search, guard=guard) as opened:
        yield opened
