"""Bureaus on databases of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.authority.status.bureau import Bureau, ask, opened

from dojang.authority.database import Database


@pytest.fixture(scope="session")
def request_about() -> Callable[..., bytes]:
    return ask


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An empty database as it is on disk, made once."""
    path = tmp_path_factory.mktemp("empty") / "store.sqlite"
    Database.create(f"sqlite:///{path}").close()
    return path.read_bytes()


@pytest.fixture
def bureau(tmp_path: Path, clock: Any, founded: bytes) -> Iterator[Bureau]:
    """A root, an issuing authority below it, and a responder that both certified."""
    path = tmp_path / "store.sqlite"
    path.write_bytes(founded)
    with opened(f"sqlite:///{path}", tmp_path, clock) as made:
        yield made


@pytest.fixture
def any_bureau(database_url: str, tmp_path: Path, clock: Any) -> Iterator[Bureau]:
    """The same on either database."""
    Database.create(database_url).close()
    with opened(database_url, tmp_path, clock) as made:
        yield made
