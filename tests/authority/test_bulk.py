"""Many certificates in one go are what they would be one by one: proved, unique, on record before anybody has them."""

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from dojang.authority import Issued, LocalAuthority, Submission, proving
from dojang.authority.audit.against import Comparison
from dojang.authority.audit.chain import details_text, details_texts
from dojang.authority.audit.reading import entries, root_of
from dojang.authority.audit.replay import Replay
from dojang.authority.audit.verify import verify
from dojang.authority.form import Form, key_identifier_der
from dojang.authority.proving import MANY, Prover
from dojang.errors import DatabaseUnavailable, DeviceFailure, DojangError
from dojang.x509.name import parse_name
from dojang.x509.plain import PlainRequest, plain_requests
from dojang.x509.request import build_request

FORM = Form(b"algorithm", b"issuer", b"usages", b"policies", b"addresses")
TERM = b"term"
KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(5)]
REQUESTS = [build_request(key, parse_name(f"CN=홍길동{number},O=보기,C=KR")) for number, key in enumerate(KEYS)]
_PATIENCE = 30.0


def asked(count: int, name: str = "t", **more: Any) -> list[Submission]:
    return [Submission("issue", REQUESTS[one % 5], "personal", f"{name}{one}", **more) for one in range(count)]


def certificates(answers: list[Issued | Exception]) -> list[x509.Certificate]:
    assert [one for one in answers if isinstance(one, Exception)] == []
    return [x509.load_der_x509_certificate(one.certificate_der) for one in answers if isinstance(one, Issued)]


def assert_whole(authority: LocalAuthority) -> None:
    """Every row of the audit record fits the one before, and the tables say what it says."""
    with authority.database.standing_still() as connection, Replay() as replay:
        rows = list(entries(authority.database, within=connection))
        for row in rows:
            replay.hear(row)
        compared = Comparison(replay)
        compared.run(connection)
    assert compared.findings == []
    assert verify(root_of(authority.database), rows).findings == ()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that proves is waited for."""

    def expect(prover: Prover, requests: int) -> None:
        started(prover, requests)
        limit = time.monotonic() + _PATIENCE
        for one in prover._helpers:
            while one._line is not None and not one._line.poll(0.1) and time.monotonic() < limit:
                pass

    started = Prover.expect
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(Prover, "expect", expect)


@pytest.mark.usefixtures("eager")
def test_hundreds_at_once(authority: LocalAuthority) -> None:
    """Each has its own serial and its own name, is signed by the authority, and stands on record as it was answered."""
    answers = authority.submit_many(asked(MANY + 45))
    assert [one._is_ready for one in authority.issuing.bulk().prover._helpers] == [True]
    found = certificates(answers)
    issuer = x509.load_der_x509_certificate(authority.certificate_der())
    for number, one in enumerate(found):
        one.verify_directly_issued_by(issuer)
        assert one.public_key() == KEYS[number % 5].public_key()
        assert f"홍길동{number % 5}" in one.subject.rfc4514_string()
    assert len({one.serial_number for one in found}) == len(found)
    assert [authority._store.find(f"{one.serial_number:x}").certificate_der for one in found] == [
        one.certificate_der for one in answers if isinstance(one, Issued)
    ]
    assert authority.submit_many(asked(MANY + 45)) == answers
    assert_whole(authority)


def test_what_is_issued_so_is_what_is_issued_otherwise(tiered: LocalAuthority) -> None:
    """But for the serial number and the signature; and so is what is recorded of it."""
    (many,) = certificates(tiered.submit_many(asked(1)))
    (one,) = certificates([tiered.submit(asked(1, "single")[0])])

    def told(certificate: x509.Certificate) -> Any:
        term = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        names = certificate.issuer, certificate.subject, certificate.public_key()
        return term, names, certificate.signature_algorithm_oid, list(certificate.extensions)

    assert told(many) == told(one)
    records = [tiered._store.find(f"{found.serial_number:x}") for found in (many, one)]
    fields = ("signer", "profile", "subject", "not_before_at", "not_after_at", "state", "replaces", "key_fingerprint")
    assert [getattr(records[0], name) for name in fields] == [getattr(records[1], name) for name in fields]
    assert_whole(tiered)


def oddities() -> list[Submission]:
    """What wants a closer look, and what is refused."""
    stolen = x509.load_der_x509_csr(REQUESTS[0])
    unproved = REQUESTS[0].replace(stolen.signature, bytes(len(stolen.signature)))
    named = build_request(KEYS[0], parse_name("CN=a"), ["email:a@example.kr"])
    mailed = build_request(KEYS[0], parse_name("emailAddress=a@example.kr,CN=a"))
    unnamed = build_request(KEYS[0], parse_name("O=a"))
    edwards = build_request(ed25519.Ed25519PrivateKey.generate(), parse_name("CN=a"))
    wanted = [
        *((request, "personal") for request in (unproved, named, mailed, unnamed, edwards, b"", REQUESTS[1])),
        *((REQUESTS[0], profile) for profile in ("tls-server", "nothing", "root", "code-signing", "personal-general")),
    ]
    found = [Submission("issue", der, profile, f"odd{number}") for number, (der, profile) in enumerate(wanted)]
    return [
        *found,
        Submission("issue", REQUESTS[1], "personal", "years", years=7),
        Submission("issue", REQUESTS[1], "personal", ""),
        Submission("renew", REQUESTS[1], "personal", "renew"),
        Submission("issue", REQUESTS[2], "personal", "odd6"),
        Submission("issue", REQUESTS[1], "personal", "vid", vid_der=b"no vid"),
    ]


def outcome(answer: Issued | Exception) -> str:
    return repr(answer) if isinstance(answer, Exception) else "issued"


def test_whatever_is_odd_is_answered_as_by_itself(authority: LocalAuthority) -> None:
    """The same are issued, and the same refused for the same reasons, among others that have nothing to do with it."""
    single: list[Issued | Exception] = []
    for one in oddities():
        try:
            single.append(authority.submit(one))
        except DojangError as error:
            single.append(error)
    others = [Submission(**{**_fields(one), "transaction_id": f"{one.transaction_id}-again"}) for one in oddities()]
    others = [again if one.transaction_id else one for one, again in zip(oddities(), others, strict=True)]
    answers = authority.submit_many([*others, *asked(9)])
    assert list(map(outcome, answers)) == [*map(outcome, single), *["issued"] * 9]
    assert {"issued"} < set(map(outcome, single))
    assert_whole(authority)


def _fields(submission: Submission) -> dict[str, Any]:
    return {name: getattr(submission, name) for name in Submission.__slots__}


def test_what_somebody_else_answered_meanwhile_holds(
    authority: LocalAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one has the first answer, the others with it their own; nothing is lost or twice."""
    first = authority.submit(asked(3)[1])
    monkeypatch.setattr(authority._store, "known_among", lambda _names: set())
    answers = authority.submit_many(asked(3))
    assert answers[1] == first
    assert len(certificates(answers)) == len(list(authority.issued())) == 3
    assert_whole(authority)


def test_nothing_leaves_that_is_not_on_record(authority: LocalAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database is gone, each is told so; later, each gets its certificate."""
    gone = DatabaseUnavailable(where="there", problem="gone")

    def together(*_arguments: Any) -> Any:
        raise gone

    with monkeypatch.context() as patched:
        patched.setattr(authority.database, "together", together)
        assert authority.submit_many(asked(20)) == [gone] * 20
    assert list(authority.issued()) == []
    certificates(authority.submit_many(asked(20)))


def test_whoever_interrupts_does_not_wait_for_all(authority: LocalAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not begun is not signed any more, and what is on record stays."""
    signed: list[int] = []
    real = type(authority.issuing.bulk())._signed

    def counted(bulk: Any, asked_: Any, numbers: list[int], drafted: Any) -> Any:
        signed.extend(numbers)
        time.sleep(0.02)
        return real(bulk, asked_, numbers, drafted)

    def interrupted(*_arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(authority.issuing.bulk()), "_signed", counted)
    monkeypatch.setattr(authority.database, "together", interrupted)
    with pytest.raises(KeyboardInterrupt):
        authority.submit_many(asked(4096))
    assert len(signed) < 4096
    assert list(authority.issued()) == []


def test_a_key_that_fails_once(authority: LocalAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the certificate is missing that was not signed, and it is not tried again behind anybody's back."""
    real, failure = authority.roster.private("root"), DeviceFailure(token="t", function="C_Sign", result="gone")
    calls = iter(range(1000))

    class Failing(ec.EllipticCurvePrivateKey):
        curve, key_size = real.curve, real.key_size

        def public_key(self) -> Any:
            return real.public_key()

        def sign(self, data: Any, signature_algorithm: Any) -> bytes:
            if next(calls) == 3:
                raise failure
            return real.sign(data, signature_algorithm)

        private_numbers = private_bytes = exchange = __copy__ = __deepcopy__ = None

    monkeypatch.setattr(authority.roster, "private", lambda _name: Failing())
    answers = authority.submit_many(asked(12))
    assert sorted(map(type, answers), key=repr) == sorted([*[Issued] * 11, DeviceFailure], key=repr)
    assert len(list(authority.issued())) == 11


@pytest.mark.parametrize("times", range(4))
def test_a_key_that_is_gone_from_some_moment_on(
    authority: LocalAuthority, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Whenever that is, each is answered: with what is on record, or with the reason."""
    real, failure = authority.roster.private, DeviceFailure(token="t", function="C_Sign", result="gone")
    calls = iter(range(1000))

    def private(name: str) -> Any:
        if next(calls) >= times:
            raise failure
        return real(name)

    monkeypatch.setattr(authority.roster, "private", private)
    answers = authority.submit_many(asked(20))
    issued = [one for one in answers if isinstance(one, Issued)]
    assert [one for one in answers if not isinstance(one, Issued)] == [failure] * (20 - len(issued))
    assert len(list(authority.issued())) == len(issued) < 20
    assert_whole(authority)


def test_a_profile_that_is_spoilt_ends_no_batch(authority: LocalAuthority) -> None:
    """Each that is new is told so, as by itself; who was answered before has that answer."""
    before = authority.submit_many(asked(3))
    own = authority.folder / "profiles"
    own.mkdir()
    (own / "personal.toml").write_text("like = = 3")
    answers = authority.submit_many([*asked(3), *asked(9, "new")])
    assert answers[:3] == before
    assert [getattr(one, "code", None) for one in answers[3:]] == ["invalid-setting"] * 9
    assert len(certificates(before)) == len(list(authority.issued()))


def test_an_authority_that_has_expired_issues_none(authority: LocalAuthority, clock: Any) -> None:
    """Each is told so."""
    clock.turn(100 * 365)
    assert {getattr(one, "code", None) for one in authority.submit_many(asked(5))} == {"authority-expired"}


@contextlib.contextmanager
def a_prover() -> Iterator[tuple[Prover, subprocess.Popen[bytes]]]:
    with Prover() as prover:
        prover.expect(MANY)
        (helper,) = prover._helpers
        assert helper._process is not None
        yield prover, helper._process


def proofs(prover: Prover, requests: list[bytes]) -> list[PlainRequest | None]:
    """What the drafts are of; each is what its form says, with a serial number of its own."""
    drafts = prover.drafts(requests, FORM, TERM)
    made = [one for one in drafts if one is not None]
    for one in made:
        parts = one.request.subject_der, one.request.spki, key_identifier_der(one.request.spki)
        assert one.tbs == FORM.to_be_signed(int(one.serial, 16), TERM, *parts)
        assert one.key_fingerprint == hashlib.sha256(one.request.spki).digest()
    assert len({one.serial for one in made}) == len(made)
    return [one and one.request for one in drafts]


@pytest.mark.usefixtures("eager")
def test_a_process_proves_what_we_would() -> None:
    """Good requests and bad ones, in their order; and it is gone when it is closed."""
    mixed = [REQUESTS[0], b"", REQUESTS[1][:-1] + b"\0", *REQUESTS]
    with a_prover() as (prover, process):
        assert proofs(prover, mixed) == plain_requests(mixed)
        assert prover._helpers[0]._is_ready
    assert process.returncode == 0
    assert proofs(prover, mixed) == plain_requests(mixed)


@pytest.mark.usefixtures("eager")
def test_two_processes_prove_for_two_at_a_time() -> None:
    """Each serves one of them; a third proves by himself, and when one was killed the other goes on."""
    with Prover() as prover, ThreadPoolExecutor(3) as hands:
        prover.expect(10 * MANY)
        processes = [one._process for one in prover._helpers if one._process is not None]
        assert len(processes) == 2
        assert list(hands.map(lambda _: proofs(prover, REQUESTS), range(9))) == [plain_requests(REQUESTS)] * 9
        os.kill(processes[0].pid, signal.SIGKILL)
        assert list(hands.map(lambda _: proofs(prover, REQUESTS), range(9))) == [plain_requests(REQUESTS)] * 9
        assert processes[1].poll() is None
    assert [one.returncode for one in processes] == [-signal.SIGKILL, 0]


@pytest.mark.usefixtures("eager")
def test_the_process_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the variables of ours, where a PIN may be, it has those that say how a program is run."""
    monkeypatch.setenv("SOMEBODYS_PIN", "123456")
    with a_prover() as (_prover, process):
        known = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"PATH=" in known
        assert b"PIN" not in known


@pytest.mark.usefixtures("eager")
def test_a_process_that_was_killed_is_not_missed() -> None:
    """What it would have proved is proved here, now and later."""
    with a_prover() as (prover, process):
        assert proofs(prover, REQUESTS) == plain_requests(REQUESTS)
        os.kill(process.pid, signal.SIGKILL)
        for _ in range(2):
            assert proofs(prover, REQUESTS) == plain_requests(REQUESTS)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("size", [1, 400_000], ids=["answers", "takes"])
def test_a_process_that_is_stuck_is_ended(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Whether it answers nothing or does not even take what it is asked: what it was to prove is proved here."""
    monkeypatch.setattr(proving, "_PATIENCE", 1)
    monkeypatch.setattr(proving, "_END_SECONDS", 0)
    with a_prover() as (prover, process), ThreadPoolExecutor(1) as hand:
        os.kill(process.pid, signal.SIGSTOP)
        found = hand.submit(proofs, prover, [*REQUESTS, b"x" * size])
        try:
            assert found.result(_PATIENCE) == [*plain_requests(REQUESTS), None]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL


def test_few_requests_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do many on one core."""
    with Prover() as prover:
        prover.expect(MANY - 1)
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        prover.expect(100 * MANY)
        assert prover._helpers == []
        assert proofs(prover, REQUESTS) == plain_requests(REQUESTS)


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5), st.text(), st.booleans())
def test_details_of_many_are_those_of_each(rows: list[tuple[str, str]], profile: str, before: bool) -> None:
    """Whatever characters they have, and whether what differs stands at the ends or between."""
    shared = {"kind": "issue", "profile": profile, "replaces": None, "signer": "root"}
    names = ("transaction", "fingerprint") if before else ("signer", "kind")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    each = [{**shared, **dict(zip(names, row, strict=True))} for row in rows]
    assert list(details_texts("certificate-issued", shared, columns)) == [
        details_text("certificate-issued", one) for one in each
    ]


def test_details_of_many_are_held_to_the_list() -> None:
    """As those of one."""
    with pytest.raises(ValueError, match="pin"):
        list(details_texts("certificate-issued", {}, {"pin": ["1"]}))
