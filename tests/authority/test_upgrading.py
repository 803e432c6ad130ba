"""A store of the first release becomes one of today when it is opened, whole, and nothing of it is lost."""

import hashlib
import os
import signal
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import Engine, event

from dojang.authority import LocalAuthority, open_authority
from dojang.authority.database import Database
from dojang.authority.schema import SCHEMA
from dojang.errors import StateUnreadable
from dojang.x509.keys import spki_of

DUMP = Path(__file__).with_name("store_v1.sql")
OLD = ("signer", "certificate", "submission")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The authority ``office`` as the first release left it: renewed, held, revoked, cancelled and unconfirmed."""
    path = tmp_path / "office" / "store.sqlite"
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(DUMP.read_text())
    database.close()
    return path


def rows(path: Path, table: str, columns: str = "*") -> list[dict[str, Any]]:
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    found = [dict(row) for row in database.execute(f"SELECT {columns} FROM {table}")]
    database.close()
    return found


def opened(store: Path) -> LocalAuthority:
    return open_authority(store.parent.parent, "office", lambda address: pytest.fail(address))


def is_old(path: Path) -> bool:
    """Whether it is whole in the old form; in the new form it must be whole as well."""
    database = sqlite3.connect(path)
    (version,) = database.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    counts = [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in OLD]
    assert counts == [2, 9, 8]
    database.close()
    assert version in (1, int(SCHEMA))
    assert (tables == set(OLD)) is (version == 1)
    return version == 1


def test_every_row_is_kept_as_it_was(store: Path) -> None:
    """Signers, certificates in their order, and answers; what is new is computed from them."""
    before = {table: rows(store, table) for table in OLD}
    opened(store).close()
    after = {table: rows(store, table) for table in OLD}
    assert [row | {"id": row["role"]} for row in before["signer"]] == [
        {name: row[name] for name in ("id", *before["signer"][0])} | {"id": row["id"]} for row in after["signer"]
    ]
    for table in ("certificate", "submission"):
        assert [{name: row[name] for name in before[table][0]} for row in after[table]] == before[table]
    for row in after["certificate"]:
        key = x509.load_der_x509_certificate(row["certificate_der"]).public_key()
        assert row["key_fingerprint"] == hashlib.sha256(spki_of(key)).digest()
    assert [row["number"] for row in after["certificate"]] == list(range(1, 10))
    assert rows(store, "audit", "event")[0] == {"event": "store-upgraded"}
    assert [row["name"] for row in rows(store, "authority")] == ["office"]


def test_what_was_replaced_is_known(store: Path) -> None:
    """A confirmed successor counts, one that nobody confirmed does not."""
    with opened(store) as authority:
        answered = {row["transaction_id"]: row["serial"] for row in rows(store, "submission")}
        replaced = [record.serial for record in authority.issued() if record.replaced_at is not None]
        assert replaced == [answered["t-renewed"]]
        states = {transaction: authority.find(serial).state for transaction, serial in answered.items()}
    assert states == {
        "t-renewed": "confirmed",
        "t-unconfirmed": "issued",
        "t-held": "suspended",
        "t-revoked": "revoked",
        "t-cancelled": "revoked",
        "t-lost": "confirmed",
        "t-renewal": "confirmed",
        "t-never-confirmed": "issued",
    }


def test_an_upgraded_store_goes_on(store: Path) -> None:
    """What was asked before is confirmed and cancelled as before."""
    with opened(store) as authority:
        authority.confirm("t-unconfirmed")
        authority.cancel("t-never-confirmed")
        serial = next(row["serial"] for row in rows(store, "submission") if row["transaction_id"] == "t-unconfirmed")
        assert authority.find(serial).state == "confirmed"
    with opened(store) as authority:
        assert len(list(authority.issued())) == 8


def test_killed_at_any_statement_it_is_old_or_new(store: Path) -> None:
    """SIGKILL before one statement after the other: the records are whole, and the next opening brings them here."""
    seen, number, whole = set(), 1, store.read_bytes()
    while False not in seen:
        for leftover in store.parent.glob("store.sqlite*"):
            leftover.unlink()
        store.write_bytes(whole)
        killed = _upgrade_and_die(store, number)
        seen.add(is_old(store))
        assert not killed or seen == {True}  # nothing shows before the end
        number += 9
    assert seen == {True, False}
    with opened(store) as authority:
        assert len(list(authority.issued())) == 8


def _upgrade_and_die(store: Path, at: int) -> bool:
    """In a child that kills itself before statement number ``at``; false when it came to the end."""
    child = os.fork()
    if child == 0:
        count = [at]

        def strike(*_: Any) -> None:
            count[0] -= 1
            if count[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", strike)
        try:
            Database.open(f"sqlite:///{store}").close()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_two_who_open_at_once_agree(store: Path) -> None:
    """One upgrades, the other waits and finds it done."""
    failed: list[Exception] = []

    def attempt() -> None:
        try:
            opened(store).close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert not is_old(store)
    assert len(rows(store, "audit")) == 1


def test_a_store_of_tomorrow_is_left_alone(store: Path) -> None:
    """It says which form it has and which are known."""
    opened(store).close()
    with sqlite3.connect(store) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(StateUnreadable, match="9999"):
        opened(store)
