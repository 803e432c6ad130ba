"""The record in its database: written with the change, never changed again, and read back as it was."""

import dataclasses
import json
from datetime import timedelta

import pytest
from sqlalchemy import insert, text
from tests.authority.audit.signers import AT, Signer, root_signer

from dojang.authority import audit, tables
from dojang.authority.answers import key_fingerprint_of
from dojang.authority.audit.chain import is_intact
from dojang.authority.audit.reading import entries, heads, last_row, latest, newest_head
from dojang.authority.audit.sealing import seal, sealing_signer
from dojang.authority.audit.verify import verify
from dojang.authority.database import Database
from dojang.authority.store import Record, insert_record
from dojang.errors import StateUnreadable


@pytest.fixture
def database(database_url, root, issuing):
    """An authority's database with the certificates of a root and of what issues below it."""
    made = Database.create(database_url)
    rows = [
        {"id": role, "role": role, "certificate_der": signer.chain[0], "key_address": f"pkcs11:object={role}"}
        for role, signer in (("root", root), ("issuing", issuing))
    ]
    with made.writing() as connection:
        connection.execute(insert(tables.signer), rows)
    yield made
    made.close()


def write(database: Database, count: int) -> None:
    with database.writing() as connection:
        for number in range(count):
            audit.record(connection, event="certificate-revoked", subject=f"{number:x}", at=AT, reason="superseded")


def checked(database: Database, root: Signer):
    return verify(root.chain[0], entries(database), heads(database))


def test_rows_come_back_as_they_were_written(database, root):
    """Numbers from 1 without a gap, the moment to the millisecond, and details as JSON; all of it hangs together."""
    with database.writing() as connection, audit.acting("officer:7"):
        audit.record(
            connection, event="applicant-added", subject="홍길동\0", at=AT + timedelta(milliseconds=5), kind="person"
        )
        audit.record(connection, event="certificate-revoked", actor="job:end-holds", subject="a1", reason=None)
    first, second = entries(database)
    assert dataclasses.astuple(first)[:6] == (
        *(1, "2026-01-31T12:00:00.005Z", "officer:7", "applicant-added", "홍길동\\x00"),
        '{"kind":"person"}',
    )
    assert (second.seq, second.actor, json.loads(second.details)) == (2, "job:end-holds", {})
    assert second.previous == first.hash
    assert checked(database, root).valid


def test_unless_said_it_is_the_process_owner(database):
    """A row without an actor is of the user who runs the process; what was said in a block ends with it."""
    with audit.acting("cmp:1"):
        assert audit.current_actor() == "cmp:1"
    write(database, 1)
    assert next(entries(database)).actor.startswith("local:")


def test_a_row_is_there_with_its_change_or_not_at_all(database):
    """A transaction that fails takes its rows along, and the numbers go on without a gap."""
    write(database, 2)

    def fails() -> None:
        with database.writing() as connection:
            audit.record(connection, event="certificate-revoked", subject="f", at=AT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    write(database, 1)
    assert [entry.seq for entry in entries(database)] == [1, 2, 3]


def test_many_at_once_leave_one_chain(database, root):
    """Threads that record at the same time, each in its transaction, make one chain without a gap."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _turn: write(database, 2), range(10)))
    outcome = checked(database, root)
    assert (outcome.valid, outcome.entries) == (True, 20)


@pytest.mark.parametrize("table", ["audit", "audit_head"])
def test_the_database_refuses_every_change(database, issuing, table):
    """UPDATE, DELETE, and what would replace or empty are refused by triggers, for rows and for heads."""
    write(database, 3)
    seal(database, lambda _signer: issuing.key, AT)
    statements = [f"UPDATE {table} SET hash = hash", f"DELETE FROM {table}", f"DELETE FROM {table} WHERE seq = 3"]
    if database.is_embedded:
        statements.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE seq = 3")
    else:
        statements.append(f"TRUNCATE {table}")
    for statement in statements:
        with pytest.raises(StateUnreadable, match="only ever added"), database.writing() as connection:
            connection.execute(text(statement))
    assert last_row(database)[0] == 3
    assert newest_head(database) is not None


def test_a_head_is_signed_once_for_a_row(database, root, issuing):
    """The head covers the last row; asked again without a new row, the same head comes back and nothing is signed."""
    write(database, 3)
    used = []

    def key(signer: str):
        used.append(signer)
        return issuing.key

    first = seal(database, key, AT)
    assert seal(database, key, AT + timedelta(hours=1)) == first == newest_head(database)
    write(database, 1)
    assert seal(database, key, AT + timedelta(hours=2)).entries == 4
    assert used == ["issuing", "issuing"]
    outcome = checked(database, root)
    assert (outcome.valid, outcome.heads, outcome.sealed) == (True, 2, 4)


def test_which_key_signs_heads(database, issuing):
    """The key for heads where there is one, else the one that issues."""
    assert sealing_signer(database) == "issuing"
    certificate = issuing.below("Heads", ca=False).chain[0]
    with database.writing() as connection:
        row = {"id": "audit", "role": "audit", "certificate_der": certificate, "key_address": "pkcs11:object=audit"}
        connection.execute(insert(tables.signer), row)
    assert sealing_signer(database) == "audit"


def test_a_head_leads_to_the_first_root_after_a_rollover(database, root):
    """Signed under a second root, it leads to the first by the certificate that the first gave to the second."""
    second = root_signer("Root 2")
    below = second.below("Issuing 2")
    row = {"id": "issuing-2", "role": "issuing", "generation": 2, "state": "next", "key_address": "x"}
    write(database, 1)
    two = {"id": "root-2", "role": "root", "generation": 2, "state": "next", "key_address": "y"}
    with database.writing() as connection:
        connection.execute(insert(tables.signer), {**row, "certificate_der": below.chain[0]})
        connection.execute(insert(tables.signer), {**two, "certificate_der": second.chain[0]})
    seal(database, lambda _signer: below.key, AT, signer="issuing-2")
    assert [one.kind for one in checked(database, root).findings] == ["head-forged"]
    crossing = root.crossed("Root 2", second)
    print_of = key_fingerprint_of(second.key.public_key())
    record = Record("c1", "root", crossing, "cross", "CN=Root 2", AT, AT, AT, "confirmed", key_fingerprint=print_of)
    with database.writing() as connection:
        insert_record(connection, record)
    outcome = checked(database, root)
    assert (outcome.valid, outcome.sealed) == (True, 1)


def touch(database: Database, *statements: str) -> None:
    """What only the owner of the database can do: drop the triggers, and write."""
    sqlite = ("audit_no_update", "audit_no_delete", "audit_at_the_end")
    with database.writing() as connection:
        for name in sqlite if database.is_embedded else ("audit_no_change", "audit_no_truncate"):
            connection.execute(text(f"DROP TRIGGER {name}{'' if database.is_embedded else ' ON audit'}"))
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["UPDATE audit SET subject = 'ff' WHERE seq = 4"], [("changed", 4)]),
        (["DELETE FROM audit WHERE seq = 4"], [("missing", 4)]),
        (["DELETE FROM audit WHERE seq > 7"], [("missing", 8)]),
        (["DELETE FROM audit"], [("missing", 1)]),
        (
            [f"UPDATE audit SET seq = {new} WHERE seq = {old}" for old, new in ((4, 90), (5, 4), (90, 5))],
            [("changed", 4), ("torn", 4), ("changed", 5), ("torn", 5), ("torn", 6)],
        ),
        (
            ["INSERT INTO audit SELECT 11, at, actor, event, subject, details, previous, hash FROM audit WHERE seq=10"],
            [("changed", 11), ("torn", 11)],
        ),
    ],
)
def test_what_the_owner_of_the_database_does_is_found(database, root, issuing, statements, found):
    """Without the triggers rows can be changed, removed, moved and added: each is found, with its number."""
    write(database, 10)
    seal(database, lambda _signer: issuing.key, AT)
    touch(database, *statements)
    assert [(one.kind, one.row) for one in checked(database, root).findings] == found


def test_pages_follow_each_other(database, root, monkeypatch):
    """A record longer than a page is read whole and in order, and its end by itself."""
    from dojang.authority.audit import reading

    monkeypatch.setattr(reading, "PAGE", 4)
    write(database, 13)
    assert [entry.seq for entry in entries(database)] == list(range(1, 14))
    assert [entry.seq for entry in entries(database, after=3, up_to=9)] == [4, 5, 6, 7, 8, 9]
    assert [entry.seq for entry in latest(database, 5)] == [9, 10, 11, 12, 13]
    assert all(map(is_intact, entries(database)))


def test_what_is_done_together_stays_each_one_s_own(database):
    """Threads whose wishes become durable in one transaction are told apart: each row names who wanted it."""
    from threading import Thread

    def wish(number: int) -> None:
        def work(connection) -> None:
            audit.record(connection, event="certificate-revoked", subject=str(number), at=AT, reason="superseded")

        with audit.acting(f"cmp:{number}"):
            database.together(work)

    threads = [Thread(target=wish, args=(number,)) for number in range(12)]
    with database.writing():
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert {(entry.actor, entry.subject) for entry in entries(database)} == {
        (f"cmp:{number}", str(number)) for number in range(12)
    }
