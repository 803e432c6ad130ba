"""What an authority has on record: pages of it, what is due, and many who ask at once."""

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text

from dojang.authority import LocalAuthority, Submission, open_authority, tables
from dojang.authority.life import moved
from dojang.authority.store import DueWindow, Record, Store, insert_record, write_life
from dojang.errors import AuthorityRefused, ClockSetBack, NotFound
from dojang.x509.name import parse_name
from dojang.x509.request import build_request


def serial_of(certificate_der: bytes) -> str:
    return f"{x509.load_der_x509_certificate(certificate_der).serial_number:x}"


def fill(authority: LocalAuthority, records: list[Record]) -> None:
    with authority.database.writing() as connection:
        for record in records:
            insert_record(connection, record)


def some(authority: LocalAuthority, count: int, at: Any, **changed: Any) -> list[Record]:
    """Records as if so many had been issued; only the rows, no certificate."""
    blank = Record("0", "root", b"", "personal", "CN=a", at, at + timedelta(days=20), at, "confirmed")
    return [
        replace(blank, serial=f"{number + 1:x}", key_fingerprint=bytes([number % 256]), **changed)
        for number in range(count)
    ]


def test_pages_are_the_whole_in_order(authority: LocalAuthority, clock: Any) -> None:
    """Page after page, of any size, each record once, in the order of recording; also while more are recorded."""
    fill(authority, some(authority, 25, clock()))
    whole = [record.serial for record in authority.issued()]
    assert whole == [f"{number + 1:x}" for number in range(25)]
    for limit in (1, 7, 25, 26):
        found: list[str] = []
        while page := authority.records(after=found[-1] if found else None, limit=limit):
            found += [record.serial for record in page]
        assert found == whole
    assert [one.serial for one in authority.records(state="revoked", limit=9)] == []
    authority.revoke("5", "superseded")
    authority.suspend("7")
    assert [one.serial for one in authority.records(state="revoked", limit=9)] == ["5"]
    assert [one.serial for one in authority.records(state="suspended", limit=9)] == ["7"]
    assert len(authority.records(state="confirmed", limit=99)) == 23
    with pytest.raises(NotFound):
        authority.records(after="ffff", limit=1)


def test_due_is_what_can_be_renewed_now(desk: Any, clock: Any) -> None:
    """Inside the window of its profile, confirmed, and not replaced, on hold, revoked or expired."""
    authority = desk.authority
    old, held, gone = (desk.have(subject=f"CN={name}") for name in ("old", "held", "gone"))
    desk.ask(subject="CN=unconfirmed")
    short = desk.have(subject="CN=server", profile="tls-server", names=("dns:a.kr",))
    names = {"old": old, "held": held, "gone": gone, "short": short}
    serials = {name: serial_of(der) for name, der in names.items()}
    assert authority.due(limit=10) == []
    clock.turn(80)
    assert [record.serial for record in authority.due(limit=10)] == [serials["short"]]
    clock.turn(365 - 80 - 20)
    authority.suspend(serials["held"])
    authority.revoke(serials["gone"], "superseded")
    assert [record.serial for record in authority.due(limit=10)] == [serials["old"]]
    desk.ask("renew", subject="CN=old", old=old)
    assert [record.serial for record in authority.due(limit=10)] == [serials["old"]]  # until the new one is confirmed
    new = desk.have("renew", subject="CN=old", old=old)
    assert authority.due(limit=10) == []
    authority.revoke(serial_of(new), "keyCompromise")
    assert [record.serial for record in authority.due(limit=10)] == [serials["old"]]
    authority.restore(serials["held"])
    assert {record.serial for record in authority.due(limit=10)} == {serials["old"], serials["held"]}
    clock.turn(21)
    assert authority.due(limit=10) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.booleans()), max_size=25),
    st.integers(1, 9),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 10)),
)
def test_pages_of_what_is_due(
    records_in_memory: Store, clock: Any, rows: list[tuple[str, int, bool]], limit: int, windows: dict[str, int]
) -> None:
    """Whatever profiles, terms and windows: the pages are what is due, in order, each once."""
    store, at = records_in_memory, clock()
    with store.database.writing() as connection:
        connection.execute(text("DELETE FROM certificate"))
        for number, (profile, days, replaced) in enumerate(rows):
            (one,) = some(store, 1, at, profile=profile, not_after_at=at + timedelta(days=days))
            insert_record(connection, replace(one, serial=f"{number + 1:x}", replaced_at=at if replaced else None))
    wanted = [DueWindow(name, at + timedelta(days=days)) for name, days in windows.items()]
    due = sorted(
        (profile, days, f"{number + 1:x}")
        for number, (profile, days, replaced) in enumerate(rows)
        if not replaced and 0 < days <= windows.get(profile, 0)
    )
    found: list[Record] = []
    while page := store.due(wanted, at, after=found[-1].serial if found else None, limit=limit):
        assert len(page) <= limit
        found += page
    assert [record.serial for record in found] == [serial for _, _, serial in due]


@pytest.fixture
def records_in_memory(tmp_path: Path) -> Iterator[Store]:
    """A store without an authority."""
    from dojang.authority.database import Database

    database = Database.create(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with database.writing() as connection:
        connection.execute(insert(tables.signer).values(id="root", role="root", key_address="memory"))
    yield Store(database, "office")
    database.close()


def test_queries_use_their_indexes(records_in_memory: Store, clock: Any) -> None:
    """A page costs what it holds: no query of a page, of a key, of a hold or of a list walks through the table."""
    store = records_in_memory
    asked: list[str] = []

    from sqlalchemy import event

    @event.listens_for(store.database._engine.pool, "checkout")
    def see(connection: Any, *_: Any) -> None:
        connection.set_trace_callback(asked.append)  # with the values in it, whoever gave the statement to SQLite

    glances: Any = store.database.glances
    glances.watch = lambda connection: connection.set_trace_callback(asked.append)
    (one,) = some(store, 1, clock())
    with store.database.writing() as connection:
        insert_record(connection, one)
        write_life(connection, moved(one, "suspend", clock(), authority="office"), listed=True)
    store.records(limit=5, after="1")
    store.records(limit=5, state="revoked", for_subscribers=True)
    store.due([DueWindow("personal", clock() + timedelta(days=30))], clock(), after="1", limit=5)
    store.with_key(b"x")
    store.find("1")
    store.latest_at()
    with store.database.writing() as connection:
        write_life(connection, replace(one, replaces="2", changed_at=clock()), listed=False)
    queries = [one for one in asked if one.startswith(("SELECT certificate", "UPDATE certificate"))]
    assert len(queries) >= 8
    with store.database.reading() as connection:
        seen = [row[3] for query in queries for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    walks = [plan for plan in seen if plan.startswith("SCAN certificate") and "INDEX" not in plan]
    assert walks == ["SCAN certificate"]  # the newest, by number from the end
    assert not any("TEMP B-TREE" in plan for plan in seen)


def test_many_are_recorded_at_once(desk: Any, new_key: Any) -> None:
    """Each gets its own answer: new ones, one asked twice, one asked before, and ones that are refused."""
    key, subject = new_key(), parse_name("CN=a,C=KR")
    request = build_request(key, subject)
    before = desk.authority.submit(Submission("issue", request, "personal", "before"))
    answers = desk.authority.submit_many(
        [
            Submission("issue", request, "personal", "one"),
            Submission("issue", request, "personal", "two"),
            Submission("issue", request, "personal", "one"),
            Submission("issue", request, "personal", "before"),
            Submission("issue", b"no request", "personal", "three"),
            Submission("issue", request, "nothing", "four"),
            Submission("issue", request, "code-signing", "before"),
        ]
    )
    assert answers[0] == answers[2] != answers[1]
    assert answers[3] == before
    assert [type(answer) for answer in answers[4:]] == [AuthorityRefused] * 3
    assert len(list(desk.authority.issued())) == 3


def test_what_goes_along_is_kept_with_the_certificate_or_neither(desk: Any, new_key: Any) -> None:
    """Whatever uses up a permission stands or falls with the record."""
    request = build_request(new_key(), parse_name("CN=a,C=KR"))

    def refuse(_certificate_der: bytes) -> Any:
        def entry(_connection: Any) -> None:
            raise AuthorityRefused(authority="test", problem="used up")

        return entry

    with pytest.raises(AuthorityRefused, match="used up"):
        desk.authority.submit(Submission("issue", request, "personal", "t"), along=refuse)
    assert list(desk.authority.issued()) == []
    desk.authority.submit(Submission("issue", request, "personal", "t"))


def test_threads_each_get_their_own(desk: Any, new_key: Any) -> None:
    """Sixteen at once, half of them confirming and revoking too: no serial twice, no answer mixed up."""
    answers: dict[str, bytes] = {}
    failed: list[Exception] = []

    def ask(name: str) -> None:
        try:
            request = build_request(new_key(), parse_name(f"CN={name}"))
            answers[name] = desk.authority.submit(Submission("issue", request, "personal", name)).certificate_der
            desk.authority.confirm(name)
            if name.endswith("1"):
                desk.authority.revoke(serial_of(answers[name]), "superseded")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(f"t{number}",)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for name, der in answers.items():
        assert x509.load_der_x509_certificate(der).subject == parse_name(f"CN={name}")
    assert len({serial_of(der) for der in answers.values()}) == 16
    states = sorted(record.state for record in desk.authority.issued())
    assert states == ["confirmed"] * 14 + ["revoked"] * 2


def test_a_key_that_was_certified_before(desk: Any, tmp_path: Path, new_key: Any) -> None:
    """Where the profile wants a new one it is refused, whoever has it; a renewal may keep its own."""
    folder = tmp_path / "authorities" / "test" / "profiles"
    folder.mkdir()
    (folder / "fresh.toml").write_text(
        'title = { en = "Fresh", ko = "새" }\nvalidity-days = 365\nrenewal-window-days = 30\nkey-reuse = false\n'
        'algorithms = ["ec-p256"]\nkey-usage = ["digital-signature"]\nkeep-key = true\n'
    )
    key = new_key()
    desk.have(key=key)
    with pytest.raises(AuthorityRefused, match="certified before"):
        desk.ask(key=key, profile="fresh", subject="CN=another")
    own = new_key()
    old = desk.have(key=own, profile="fresh")
    desk.authority._clock.turn(340)
    desk.have("renew", key=own, profile="fresh", old=old)
    with pytest.raises(AuthorityRefused, match="certified before"):
        desk.ask("renew", key=key, profile="fresh", old=desk.have(profile="fresh"))


def test_what_nobody_confirmed_is_revoked_in_time(desk: Any, clock: Any) -> None:
    """After a day, unless the settings say otherwise; asked again, there is nothing to do."""
    desk.ask(transaction="late")
    clock.turn(0.9)
    desk.ask(transaction="young")
    assert desk.authority.revoke_unconfirmed() == []
    clock.turn(0.2)
    (revoked,) = desk.authority.revoke_unconfirmed()
    assert (revoked.state, revoked.reason) == ("revoked", "cessationOfOperation")
    assert desk.authority.revoke_unconfirmed() == []
    with pytest.raises(AuthorityRefused, match="revoked"):
        desk.authority.confirm("late")
    desk.authority.confirm("young")


def test_a_hold_ends_by_itself(desk: Any, clock: Any) -> None:
    """After six months it cannot be taken back, and is revoked from the moment it began."""
    der, began = desk.have(), clock()
    serial = serial_of(der)
    desk.authority.suspend(serial)
    clock.turn(180)
    assert desk.authority.revoke_overdue_holds() == []
    clock.turn(5)
    with pytest.raises(AuthorityRefused, match="6 months"):
        desk.authority.restore(serial)
    (revoked,) = desk.authority.revoke_overdue_holds()
    assert (revoked.serial, revoked.state, revoked.revoked_at) == (serial, "revoked", began)
    assert desk.authority.revoke_overdue_holds() == []


def test_a_clock_that_was_set_back_issues_nothing(desk: Any, clock: Any, tmp_path: Path, new_key: Any) -> None:
    """By more than clocks differ; whoever opened it, before or after. When the clock is right it goes on."""
    clock.turn(10)
    desk.have()
    key = desk.authority.roster.private("root")
    clock.turn(-1)
    with pytest.raises(ClockSetBack) as caught:
        desk.ask()
    assert caught.value.retryable
    with open_authority(tmp_path / "authorities", "test", lambda address: key, clock=clock) as other:
        request = build_request(new_key(), parse_name("CN=a"))
        with pytest.raises(ClockSetBack):
            other.submit(Submission("issue", request, "personal", "t"))
    serial = next(desk.authority.issued()).serial
    desk.authority.revoke(serial, "keyCompromise")  # which cannot wait for a clock
    clock.turn(1)
    desk.have()
    assert len(list(desk.authority.issued())) == 2
    clock.turn(-0.005)
    desk.have()


def test_the_reason_of_a_reissue_is_told(desk: Any, new_key: Any) -> None:
    """The old certificate is revoked with the reason that was given: that the key is lost, or in others' hands."""
    for reason in ("superseded", "keyCompromise"):
        old = desk.have()
        request = build_request(new_key(), parse_name("CN=홍길동,O=Example,C=KR"))
        submission = Submission("reissue", request, "personal", f"t-{reason}", old, reason=reason)
        desk.authority.submit(submission)
        desk.authority.confirm(f"t-{reason}")
        assert desk.authority.find(serial_of(old)).reason == reason
        other = "superseded" if reason == "keyCompromise" else "keyCompromise"
        with pytest.raises(AuthorityRefused, match="another request"):
            desk.authority.submit(replace(submission, reason=other))


def test_killed_under_load_everybody_who_was_answered_is_on_record(desk: Any, tmp_path: Path, new_key: Any) -> None:
    """SIGKILL while four threads are being answered, twice: each answer is on record, and no serial is there twice."""
    key, request = desk.authority.roster.private("root"), build_request(new_key(), parse_name("CN=a"))
    answered = []
    for turn in range(2):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _answer_for_ever(tmp_path / "authorities", key, request, writer, f"turn{turn}")
        os.close(writer)
        with os.fdopen(reader) as lines:
            answered += [next(lines).split() for _ in range(40)]
            os.kill(child, signal.SIGKILL)
            answered += [line.split() for line in lines if line.endswith("\n")]
        os.waitpid(child, 0)
    recorded = [record.serial for record in desk.authority.issued()]
    assert len(set(recorded)) == len(recorded)
    assert {serial for _, serial in answered} <= set(recorded)
    for transaction, serial in answered[::20]:
        again = desk.authority.submit(Submission("issue", request, "personal", transaction))
        assert serial_of(again.certificate_der) == serial


def _answer_for_ever(folder: Path, key: Any, request: bytes, writer: int, turn: str) -> None:
    """In a process of its own, which has to be killed."""
    with open_authority(folder, "test", lambda address: key) as authority:

        def ask(mark: str) -> None:
            for number in itertools.count():
                name = f"{turn}-{mark}-{number}"
                der = authority.submit(Submission("issue", request, "personal", name)).certificate_der
                os.write(writer, f"{name} {serial_of(der)}\n".encode())

        threads = [threading.Thread(target=ask, args=(mark,)) for mark in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os._exit(1)
