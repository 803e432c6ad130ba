"""The record against the tables: what was changed there behind the authority's back is found, and nothing else."""

import contextlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Connection, text
from tests.authority.conftest import Desk

from dojang.authority import LocalAuthority
from dojang.authority.audit import acting, reading
from dojang.authority.audit.against import Comparison, rows_in
from dojang.authority.audit.chain import Entry
from dojang.authority.audit.replay import Replay
from dojang.authority.database import Database
from dojang.authority.enrolment import EnrolmentPolicy, Office, Officers, Terms
from dojang.authority.enrolment.policy import ProfileRule
from dojang.authority.hierarchy import delegates, rollover
from dojang.errors import DatabaseUnavailable
from dojang.x509.profiles import profile

TERMS = Terms("personal", "CN=홍길동,O=Example,C=KR")


@dataclass(frozen=True)
class _Key:
    def digest(self, message: bytes) -> bytes:
        return hmac.digest(b"k" * 32, message, "sha256")


@dataclass
class House:
    """An authority that has seen everything, and the keys that it has rolled over to."""

    authority: LocalAuthority
    desk: Desk
    office: Office
    officers: Officers

    def compared(self) -> Comparison:
        with self.authority.database.standing_still() as connection:
            return _compared(self.authority.database, connection)

    def compared_after(self, statement: str) -> Comparison:
        """What is found once somebody who owns the database has done this, which is undone again."""
        with contextlib.suppress(_Undone), self.authority.database.writing() as connection:
            assert connection.execute(text(statement)).rowcount == 1, statement
            found = _compared(self.authority.database, connection)
            raise _Undone
        return found


class _Undone(Exception):
    pass


def _compared(database: Database, connection: Connection) -> Comparison:
    with Replay() as replay:
        for entry in reading.entries(database, within=connection):
            replay.hear(entry)
        found = Comparison(replay)
        found.run(connection)
        return found


def _serial(certificate_der: bytes) -> str:
    from cryptography import x509

    return f"{x509.load_der_x509_certificate(certificate_der).serial_number:x}"


def _certify(house: House) -> None:
    """Every move of every kind of certificate."""
    authority, desk = house.authority, house.desk
    kept, held, back, gone, old = (desk.have() for _ in range(5))
    desk.have("reissue", old=old, key=ec.generate_private_key(ec.SECP256R1()))
    authority.suspend(_serial(held))
    authority.suspend(_serial(back))
    authority.restore(_serial(back))
    authority.suspend(_serial(gone))
    authority.revoke(_serial(gone), "keyCompromise")
    transaction = desk.transaction()
    desk.ask(transaction=transaction)
    authority.cancel(transaction)
    desk.ask()
    house.officers.add(kept, ["approver", "auditor"])


def _enrol(house: House) -> None:
    """Every end of a code, and those that wait."""
    office = house.office
    with acting("local:clerk"):
        ready, refused, cancelled, _waiting, _one_more = (
            office.new(TERMS, pre_authorised=True).enrolment.reference for _ in range(5)
        )
    with acting("local:boss"):
        office.approve(ready)
        office.refuse(refused, "no")
        office.cancel(cancelled)
    applicant = office.add_applicant("person", "홍길동", {}).id
    with acting("local:clerk"):
        office.new(TERMS, applicant=applicant)
    office.record_check(applicant, "in-person", b"e" * 32)


def _roll(house: House) -> None:
    authority, private = house.authority, {}

    def key(name: str) -> tuple[Any, str]:
        private[f"pkcs11:object={name}"] = ec.generate_private_key(ec.SECP256R1())
        return private[f"pkcs11:object={name}"], f"pkcs11:object={name}"

    known = {one.key_address: authority.roster.private(one.id) for one in authority.roster.now().keys}
    private |= known
    delegates.add_delegate(authority.scene(private), "ocsp", *key("ocsp"))
    delegates.add_delegate(authority.scene(private), "tsa", *key("tsa"))
    delegates.add_delegate(authority.scene(private), "tsa", *key("tsa-2"))
    for role in ("root", "issuing"):
        rollover.prepare(authority.scene(private), role, *key(f"{role}-2"))
        rollover.switch(authority.scene(private), role)
    delegates.renew_delegates(authority.scene(private), all_of_them=True)


@pytest.fixture
def house(tiered: LocalAuthority, clock: Any) -> House:
    policy = EnrolmentPolicy(usual=ProfileRule("people", True))
    wanted = replace(profile("personal"), identity_checks=("in-person",))
    office = Office(tiered.database, tiered.name, policy, lambda _name: wanted, _Key, clock)
    made = House(tiered, Desk(tiered), office, Officers(tiered.database, tiered.name, policy, clock))
    _certify(made)
    _enrol(made)
    _roll(made)
    return made


def test_tables_that_nobody_touched_agree_with_the_record(house):
    """After every move of certificates, codes, officers and keys; each row was looked at."""
    found = house.compared()
    assert found.findings == []
    with house.authority.database.reading() as connection:
        assert sum(found.counts.values()) == rows_in(connection) > 25


CERTIFICATE = "UPDATE certificate SET {} WHERE number = (SELECT min(number) FROM certificate WHERE {})"
TOUCHED = {
    "a revocation undone": (
        CERTIFICATE.format("state = 'confirmed', reason = NULL, revoked_at = NULL", "reason = 'keyCompromise'"),
        {"certificate-differs"},
    ),
    "a reason made harmless": (
        CERTIFICATE.format("reason = 'superseded'", "reason = 'keyCompromise'"),
        {"certificate-differs"},
    ),
    "a revocation made later": (
        CERTIFICATE.format("revoked_at = '2090-01-01T00:00:00+00:00'", "reason = 'keyCompromise'"),
        {"certificate-differs"},
    ),
    "a certificate in the place of another": (
        CERTIFICATE.format("certificate_der = (SELECT certificate_der FROM officer LIMIT 1)", "state = 'issued'"),
        {"certificate-differs"},
    ),
    "a certificate under another enrolment's profile": (
        CERTIFICATE.format("profile = 'business'", "state = 'issued'"),
        {"certificate-differs"},
    ),
    "a certificate that nobody issued": (
        "INSERT INTO certificate (serial, signer, certificate_der, profile, subject, key_fingerprint, not_before_at,"
        " not_after_at, recorded_at, changed_at, state) SELECT 'abc', signer, certificate_der, profile, subject,"
        " key_fingerprint, not_before_at, not_after_at, recorded_at, changed_at, state FROM certificate"
        " WHERE number = (SELECT min(number) FROM certificate WHERE state = 'confirmed')",
        {"certificate-unrecorded"},
    ),
    "a certificate that was erased": (
        "DELETE FROM certificate WHERE number = (SELECT max(number) FROM certificate WHERE profile = 'tsa')",
        {"certificate-missing"},
    ),
    "a code that nobody approved": (
        "UPDATE enrolment SET state = 'ready' WHERE reference ="
        " (SELECT min(reference) FROM enrolment WHERE state = 'waiting')",
        {"enrolment-differs"},
    ),
    "a code that works more often": (
        "UPDATE enrolment SET uses_left = 9 WHERE state = 'ready'",
        {"enrolment-differs"},
    ),
    "a code that somebody else registered": (
        "UPDATE enrolment SET created_by = 'local:boss' WHERE state = 'refused'",
        {"enrolment-differs"},
    ),
    "an officer with more roles": (
        'UPDATE officer SET roles = \'["registrar", "approver"]\'',
        {"officer-differs"},
    ),
    "an officer's certificate that is another's": (
        "UPDATE officer SET certificate_der = (SELECT certificate_der FROM signer WHERE id = 'root')",
        {"officer-differs"},
    ),
    "a retired key that signs again": (
        "UPDATE signer SET state = 'retiring' WHERE state = 'retired'",
        {"signer-differs"},
    ),
    "a root that is another": (
        "UPDATE signer SET certificate_der = (SELECT certificate_der FROM officer LIMIT 1) WHERE id = 'root'",
        {"signer-differs"},
    ),
}


def test_whatever_was_touched_is_found(house):
    """With its kind, what it is about, and the row of the record that says otherwise; put back, all agrees."""
    for what, (statement, kinds) in TOUCHED.items():
        found = house.compared_after(statement).findings
        assert {one.kind for one in found} == kinds, what
        assert all(one.subject for one in found), what
        assert all((one.row > 0) != one.kind.endswith("unrecorded") for one in found), what
    assert house.compared().findings == []


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (CERTIFICATE.format("revoked_at = 'never'", "reason = 'keyCompromise'"), "certificate-unreadable"),
        (CERTIFICATE.format("recorded_at = '2026-01-01'", "reason = 'keyCompromise'"), "certificate-unreadable"),
        ("UPDATE enrolment SET expires_at = '5' WHERE state = 'refused'", "enrolment-unreadable"),
    ],
)
def test_what_cannot_be_read_is_found_too(house, statement: str, kind: str) -> None:
    """A moment that is none stops nobody from looking at the other tables."""
    (found,) = house.compared_after(statement).findings
    assert found.kind == kind
    assert "is no moment" in found.problem


def test_what_an_older_row_did_not_tell_is_not_changed(house) -> None:
    """Rows of before without a code's state, an officer's certificate or a certificate's fingerprint: no alarm."""
    less = {"enrolment": "state", "officer": "certificate", "certificate": "fingerprint"}
    with Replay() as replay, house.authority.database.standing_still() as connection:
        for entry in _entries(house):
            told = json.loads(entry.details)
            told.pop(less.get(entry.event.partition("-")[0]), None)
            replay.hear(replace(entry, details=json.dumps(told)))
        found = Comparison(replay)
        found.run(connection)
    assert found.findings == []


def test_no_room_for_what_was_said_is_said_so() -> None:
    """The file in which rows are played again has a disk, too."""
    one = Entry(1, "2026-01-01T00:00:00.000Z", "cmp:x", "certificate-issued", "1", "{}", "", "")
    rows = [replace(one, seq=number, subject=f"{number:040x}") for number in range(1000)]
    with Replay() as replay:
        replay._scratch.execute("PRAGMA max_page_count = 4")
        with pytest.raises(DatabaseUnavailable, match="full"):
            list(map(replay.hear, rows))


def test_what_an_older_store_held_is_not_on_record(house):
    """A store that got its record later: its rows of before are taken as they are, and what came after is compared."""
    entries = [one for one in _entries(house) if one.event != "authority-founded"]
    first, *later = entries
    upgraded = replace(first, event="store-upgraded", details='{"before": "0001", "after": "0003"}')
    with Replay() as replay, house.authority.database.standing_still() as connection:
        for entry in [upgraded, *(one for one in later if one.event == "certificate-revoked")]:
            replay.hear(entry)
        found = Comparison(replay)
        found.run(connection)
    assert {one.kind for one in found.findings} <= {"enrolment-unrecorded", "officer-unrecorded"}


def _entries(house: House) -> list[Entry]:
    return list(reading.entries(house.authority.database))
