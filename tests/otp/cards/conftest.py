"""Cards over a real database, sealed by a real token."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from dojang.authority.database import Database
from dojang.otp import tables
from dojang.otp.cards import CardPolicy, Cards
from dojang.pkcs11.discovery import ModuleSearch
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.opened import OpenToken, open_token
from dojang.pkcs11.sealing import SealingKey, generate_sealing_key
from dojang.secret import Secret
from dojang.testing.postgres import PrivatePostgres, private_postgres


@pytest.fixture(scope="module")
def token(make_token, softhsm_module: str, tmp_path_factory) -> Iterator[OpenToken]:
    made = make_token()
    guard = PinGuard(tmp_path_factory.mktemp("guard") / "pin-guard")
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(made.uri, Secret(made.pin), search=search, guard=guard) as opened:
        yield opened


class Keys:
    """Two sealing keys; the first is current."""

    def __init__(self, token: OpenToken) -> None:
        self._keys = {}
        for name in ("one", "two"):
            key_id = os.urandom(20)
            generate_sealing_key(token, label=name, key_id=key_id)
            self._keys[name] = SealingKey(token, key_id)

    def current(self) -> tuple[str, SealingKey]:
        return "one", self._keys["one"]

    def of(self, kek: str) -> SealingKey:
        return self._keys[kek]

    for_new = of


@pytest.fixture(scope="module")
def keys(token: OpenToken) -> Keys:
    return Keys(token)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path / 'some.sqlite'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").new_database()
    database = Database.create(url)
    with database.writing() as connection:
        for name, state in (("one", "current"), ("two", "retiring")):
            row = {"id": name, "key_address": "pkcs11:", "check_value": "00", "state": state, "made_at": _now()}
            connection.execute(insert(tables.otp_kek).values(**row))
    yield database
    database.close()


class Notes:
    """What was put on record."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def __call__(self, connection: Any, *, event: str, subject: str, at: datetime | None = None, **details: Any):
        from dojang.authority.audit.events import EVENTS

        assert details.keys() <= EVENTS[event]
        self.events.append((event, subject))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def cards(records: Database, keys: Keys, notes: Notes) -> Cards:
    return Cards(records, keys, notes, _now, CardPolicy(), "office")


def _now() -> datetime:
    return datetime.now(UTC)
