"""Issuing: the same question gets the same answer, and the rules hold."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from dojang.authority import Submission, open_authority
from dojang.authority.store import insert_record
from dojang.errors import (
    AuthorityExpired,
    AuthorityRefused,
    DatabaseUnavailable,
    DeviceFailure,
    FileUnwritable,
    InvalidSetting,
    NotFound,
    StateUnreadable,
)
from dojang.x509.check import check_issued
from dojang.x509.name import parse_name
from dojang.x509.request import CertificateRequest, build_request

SUBJECT = parse_name("CN=홍길동,C=KR")
PEM = {"encoding": Encoding.PEM, "format": PrivateFormat.PKCS8, "encryption_algorithm": NoEncryption()}


def load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def refused(desk: Any, said: str, **options: Any) -> None:
    with pytest.raises(AuthorityRefused) as caught:
        desk.ask(**options)
    assert said in str(caught.value)
    assert caught.value.facts["authority"] == desk.authority.name


def test_an_answer_matches_its_request(tiered: Any, new_key: Any, clock: Any) -> None:
    """Key, subject, alternative names and chain are what was asked for; the term is the profile's."""
    request = build_request(new_key(), SUBJECT, ["dns:a.kr"])
    issued = tiered.submit(Submission("issue", request, "tls-server", "t"))
    check_issued(
        issued.certificate_der, request=CertificateRequest.from_pkcs10(request), chain_der=issued.chain_der, at=clock()
    )
    assert issued.chain_der == tiered.chain_der()
    assert load(issued.certificate_der).not_valid_after_utc == clock() + timedelta(days=90)
    assert tiered.profile_of(issued.certificate_der) == "tls-server"
    assert tiered.profile_of(tiered.certificate_der()[:-1]) is None


def test_the_address_in_a_subject_stands_in_the_alternative_names(desk: Any) -> None:
    """As RFC 5280 wants it, and only where the profile allows addresses."""
    der = desk.have(subject="CN=a,emailAddress=a@b.kr")
    assert load(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value == x509.SubjectAlternativeName([x509.RFC822Name("a@b.kr")])
    refused(desk, "alternative name", subject="CN=a,emailAddress=a@b.kr", profile="code-signing")


def test_the_same_submission_gets_the_same_answer(desk: Any, new_key: Any) -> None:
    """However often, before and after the confirmation, in another process's database too."""
    submission = Submission("issue", build_request(new_key(), SUBJECT), "personal", "one")
    first = desk.authority.submit(submission)
    assert desk.authority.submit(submission) == first
    desk.authority.confirm("one")
    assert desk.authority.submit(submission) == first
    assert len(list(desk.authority.issued())) == 1


def test_a_transaction_is_never_used_for_another_question(desk: Any, new_key: Any) -> None:
    """Another request, profile or kind under the same identifier is refused."""
    request = build_request(new_key(), SUBJECT)
    desk.authority.submit(Submission("issue", request, "personal", "one"))
    for other in (
        Submission("issue", build_request(new_key(), SUBJECT), "personal", "one"),
        Submission("issue", request, "code-signing", "one"),
        Submission("renew", request, "personal", "one", b"x"),
    ):
        with pytest.raises(AuthorityRefused, match="another request"):
            desk.authority.submit(other)
    assert len(list(desk.authority.issued())) == 1


@pytest.mark.parametrize("transaction", ["", "x" * 257])
def test_a_transaction_needs_an_identifier(desk: Any, transaction: str, new_key: Any) -> None:
    """Neither none nor an endless one."""
    with pytest.raises(AuthorityRefused):
        desk.authority.submit(Submission("issue", build_request(new_key(), SUBJECT), "personal", transaction))


def test_confirm_and_cancel(desk: Any, new_key: Any) -> None:
    """Confirmed may be said twice; cancelled may be said twice, revokes, and is final; neither undoes the other."""
    authority = desk.authority
    desk.ask(transaction="kept")
    authority.confirm("kept")
    authority.confirm("kept")
    with pytest.raises(AuthorityRefused, match="revoke it instead"):
        authority.cancel("kept")
    (kept,) = authority.issued()
    authority.suspend(kept.serial)
    with pytest.raises(AuthorityRefused, match="revoke it instead"):
        authority.cancel("kept")
    authority.restore(kept.serial)
    submission = Submission("issue", build_request(new_key(), SUBJECT), "personal", "dropped")
    authority.submit(submission)
    authority.cancel("dropped")
    authority.cancel("dropped")
    assert [record.state for record in authority.issued()] == ["confirmed", "revoked"]
    with pytest.raises(AuthorityRefused, match="revoked"):
        authority.confirm("dropped")
    with pytest.raises(AuthorityRefused, match="cancelled"):
        authority.submit(submission)
    authority.cancel("never asked")
    with pytest.raises(AuthorityRefused, match="no such transaction"):
        authority.confirm("never asked")
    authority.publish_crl()
    crl = x509.load_der_x509_crl(authority.crl_path().read_bytes())
    assert [f"{entry.serial_number:x}" for entry in crl] == [record.serial for record in authority.issued()][1:]


def test_cancelling_asks_for_no_key(desk: Any, tmp_path: Path) -> None:
    """A recovery without the authority's PIN can cancel; listing asks for none either."""
    desk.ask(transaction="t")

    def no_key(address: str) -> Any:
        raise AssertionError(address)

    with open_authority(tmp_path / "authorities", "test", no_key) as again:
        again.cancel("t")
        assert [record.state for record in again.issued()] == ["revoked"]
        assert again.info().key_address == "pkcs11:object=root"


def test_a_forged_request_proves_nothing(desk: Any, new_key: Any) -> None:
    """The signature of the request must be by the key inside."""
    der = bytearray(build_request(new_key("rsa-2048"), SUBJECT))
    der[-1] ^= 1
    with pytest.raises(AuthorityRefused, match="possession"):
        desk.authority.submit(Submission("issue", bytes(der), "personal", "t"))


@pytest.mark.parametrize("der", [b"", b"\x30\x84\xff\xff\xff\xff", b"\x00" * 10_000_000])
def test_a_request_that_is_none_is_refused(desk: Any, der: bytes) -> None:
    """Hostile bytes are refused like any bad request."""
    with pytest.raises(AuthorityRefused, match="decoded"):
        desk.authority.submit(Submission("issue", der, "personal", "t"))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (rsa.generate_private_key(65537, 1024), "rsa-1024"),
        (rsa.generate_private_key(3, 2048), "its public exponent is smaller than 65537"),
        (ec.generate_private_key(ec.SECP224R1()), "ec-secp224r1"),
        (ec.generate_private_key(ec.SECP256K1()), "ec-secp256k1"),
    ],
)
def test_weak_and_strange_keys_are_refused(desk: Any, key: Any, said: str) -> None:
    """Small moduli, small exponents and curves that no profile names."""
    refused(desk, said, key=key)


def test_what_a_profile_rules_out_is_refused(desk: Any, new_key: Any) -> None:
    """Algorithms, attributes and names that the profile wants or does not want, and profiles for authorities."""
    refused(desk, "does not allow the key", key=new_key("rsa-2048"), profile="code-signing")
    refused(desk, "wants O", subject="CN=a", profile="business")
    refused(desk, "wants an alternative name", profile="tls-server")
    refused(desk, "alternative name", profile="tls-server", names=("email:a@b.kr",))
    refused(desk, "alternative name", names=("dns:a.kr",))
    refused(desk, "profile 'root'", profile="root")
    refused(desk, "profile 'issuing'", profile="issuing")
    refused(desk, "profile 'nothing'", profile="nothing")


def test_a_subject_that_we_would_not_write_is_refused(desk: Any, new_key: Any) -> None:
    """A request made elsewhere may carry a name that no certificate should."""
    for attribute in (
        x509.NameAttribute(NameOID.COMMON_NAME, "a\x00b"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a" * 65),
        x509.NameAttribute(NameOID.COMMON_NAME, "\x1b[2J"),
    ):
        refused_request = x509.CertificateSigningRequestBuilder(x509.Name([attribute])).sign(new_key(), hashes.SHA256())
        with pytest.raises(AuthorityRefused, match="subject"):
            desk.authority.submit(Submission("issue", refused_request.public_bytes(Encoding.DER), "personal", "t"))


def test_an_authority_may_have_profiles_of_its_own(desk: Any, tmp_path: Path) -> None:
    """A file in its folder adds one; a bad file is named and breaks nothing else."""
    folder = tmp_path / "authorities" / "test" / "profiles"
    folder.mkdir()
    (folder / "short.toml").write_text(
        'title = { en = "Short", ko = "짧은" }\nvalidity-days = 2\nrenewal-window-days = 1\nalgorithms = ["ec-p256"]\n'
        'key-usage = ["digital-signature"]\npolicies = ["1.2.3.4"]\nsubject = { allowed = ["CN"] }\n'
    )
    assert "short" in [one.name for one in desk.authority.profiles()]
    refused(desk, "does not allow C", profile="short", subject="CN=a,C=KR")
    der = desk.have(profile="short", subject="CN=a")
    policies = load(der).extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert [one.policy_identifier.dotted_string for one in policies] == ["1.2.3.4"]
    (folder / "bad.toml").write_text("?")
    with pytest.raises(InvalidSetting):
        desk.authority.profiles()


def test_nothing_outlives_the_authority(desk: Any, clock: Any) -> None:
    """Near its end it cuts the term; after its end, or before its beginning, it says so and signs nothing."""
    own = load(desk.authority.certificate_der())
    clock.turn(3650 * 2 - 100)
    assert load(desk.have()).not_valid_after_utc == own.not_valid_after_utc
    clock.turn(101)
    with pytest.raises(AuthorityExpired) as caught:
        desk.ask()
    assert caught.value.facts["not_after"] == own.not_valid_after_utc
    clock.turn(-3650 * 2 - 2)
    with pytest.raises(AuthorityExpired):
        desk.ask()


def test_serials_are_random_and_positive(desk: Any) -> None:
    """No two alike, none short, none negative."""
    serials = [load(desk.have()).serial_number for _ in range(20)]
    assert len(set(serials)) == 20
    assert all(2**64 < serial < 2**159 for serial in serials)
    assert sorted(serials) != serials


def test_a_serial_is_never_stored_twice(desk: Any) -> None:
    """The database itself refuses."""
    desk.have()
    record = next(desk.authority.issued())
    with desk.authority.database.writing() as connection:
        savepoint = connection.begin_nested()
        with pytest.raises(IntegrityError, match="serial"):
            insert_record(connection, replace(record, certificate_der=b"another", subject="another"))
        savepoint.rollback()


@pytest.mark.parametrize("records_at", ["sqlite"], indirect=True)
def test_records_are_private_and_durable(desk: Any, tmp_path: Path) -> None:
    """0600 files in a 0700 folder; WAL with full synchronisation; nothing of a PIN."""
    desk.have()
    folder = tmp_path / "authorities" / "test"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    with desk.authority.database.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2


def test_a_key_that_fails_leaves_no_record(desk: Any, tmp_path: Path, new_key: Any) -> None:
    """The token's error passes through, nothing is recorded, and the same transaction may be asked again."""

    def broken(address: str) -> Any:
        raise DeviceFailure(token="t", function="C_Sign", result="CKR_DEVICE_ERROR")

    submission = Submission("issue", build_request(new_key(), SUBJECT), "personal", "t")
    with open_authority(tmp_path / "authorities", "test", broken) as other, pytest.raises(DeviceFailure):
        other.submit(submission)
    assert list(desk.authority.issued()) == []
    assert desk.authority.submit(submission).certificate_der


def test_threads_asking_the_same_get_the_same(desk: Any, new_key: Any) -> None:
    """Eight threads, one transaction: one certificate."""
    submission = Submission("issue", build_request(new_key(), SUBJECT), "personal", "t")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(desk.authority.submit(submission))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert len(list(desk.authority.issued())) == 1


ISSUE = """
import os, signal, sys
from pathlib import Path
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dojang.authority import Submission, answers, database, open_authority
folder, request, transactions, die = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","), sys.argv[4]
key = load_pem_private_key((folder / "ca.pem").read_bytes(), None)
if die:
    record = answers.Answers.record
    def record_and_die(*arguments, **named):
        if die == "inside":
            record(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    def answer_and_die(*arguments):
        together(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    if die == "after":
        together = database.Database.together
        database.Database.together = answer_and_die
    else:
        answers.Answers.record = record_and_die
with open_authority(folder / "authorities", "test", lambda address: key) as authority:
    for transaction in transactions:
        submission = Submission("issue", request.read_bytes(), "personal", transaction)
        print(authority.submit(submission).certificate_der.hex(), flush=True)
"""


@pytest.fixture
def issue_elsewhere(desk: Any, tmp_path: Path, new_key: Any) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts a process that submits one request under each of some transactions, and may kill itself on the way."""
    desk.authority.publish_crl()
    (tmp_path / "ca.pem").write_bytes(desk.authority.roster.private("root").private_bytes(**PEM))
    (tmp_path / "request.der").write_bytes(build_request(new_key(), SUBJECT))

    def start(*transactions: str, die: str = "") -> "subprocess.Popen[str]":
        arguments = (tmp_path, tmp_path / "request.der", ",".join(transactions), die)
        return subprocess.Popen([sys.executable, "-c", ISSUE, *map(str, arguments)], stdout=subprocess.PIPE, text=True)

    return start


def test_processes_issuing_at_once_agree(desk: Any, issue_elsewhere: Any) -> None:
    """Two processes over the same forty transactions: forty certificates, the same ones for both."""
    transactions = [f"t{number}" for number in range(40)]
    processes = [issue_elsewhere(*transactions), issue_elsewhere(*transactions)]
    answers = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert answers[0] == answers[1]
    assert {record.certificate_der.hex() for record in desk.authority.issued()} == set(answers[0])
    assert len(set(answers[0])) == 40


@pytest.mark.parametrize(("die", "recorded"), [("before", 0), ("inside", 0), ("after", 1)])
def test_killed_around_recording_the_answer_is_kept(
    desk: Any, issue_elsewhere: Any, tmp_path: Path, die: str, recorded: int
) -> None:
    """Killed between signing, recording, making it durable and answering: what was recorded is the answer."""
    killed = issue_elsewhere("t", die=die)
    assert killed.communicate(timeout=60)[0] == ""
    assert killed.returncode == -signal.SIGKILL
    kept = [record.certificate_der for record in desk.authority.issued()]
    assert len(kept) == recorded
    request = (tmp_path / "request.der").read_bytes()
    again = desk.authority.submit(Submission("issue", request, "personal", "t")).certificate_der
    assert kept in ([], [again])
    assert [record.certificate_der for record in desk.authority.issued()] == [again]


def test_an_unknown_authority_is_not_found(tmp_path: Path) -> None:
    """Neither a missing folder, nor a path that leads out of it."""
    (tmp_path / "x").mkdir()
    (tmp_path / "store.sqlite").write_bytes(b"")
    for name in ("nobody", "..", ".", "", "x", "a/b"):
        with pytest.raises(NotFound):
            open_authority(tmp_path / "x", name, lambda address: None)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_damaged_store_says_so(tmp_path: Path, content: bytes) -> None:
    """It is our record that cannot be used, and nothing is overwritten."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "store.sqlite").write_bytes(content)
    with pytest.raises(StateUnreadable):
        open_authority(tmp_path, "broken", lambda address: None)
    assert (folder / "store.sqlite").read_bytes() == content


@pytest.mark.parametrize("records_at", ["sqlite"], indirect=True)
def test_a_full_disk_leaves_the_records_whole(desk: Any) -> None:
    """The error says which file; what was there before is still there, and issuing goes on when there is room."""
    before = desk.have()
    with desk.authority.database.writing() as connection:  # the limit is one of the connection that writes
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    with pytest.raises(DatabaseUnavailable, match="full"):
        [desk.have() for _ in range(50)]
    with desk.authority.database.writing() as connection:
        connection.execute(text("PRAGMA max_page_count = 1000000"))
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    assert next(desk.authority.issued()).certificate_der == before
    desk.have()


def test_a_list_that_cannot_be_written_is_named(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The revocation is recorded all the same, and the next list holds it."""
    desk.have()
    serial = next(desk.authority.issued()).serial

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = desk.authority.crl_path().read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(FileUnwritable, match="No space left"):
            desk.authority.revoke(serial, "superseded")
    assert desk.authority.crl_path().read_bytes() == before
    assert desk.authority.find(serial).state == "revoked"
    assert [path.name for path in desk.authority.crl_path().parent.glob(".*")] == []
    desk.authority.publish_crl()
    assert len(x509.load_der_x509_crl(desk.authority.crl_path().read_bytes())) == 1
