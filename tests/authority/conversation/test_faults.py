"""Whatever is wrong with a message: the right failInfo, nothing stored, and the authority goes on."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import func, select
from tests.authority.conversation.conftest import SOURCE, Counter, Subscriber, failure_in, found_counter
from tests.x509.test_weak_keys import next_prime, roca_prime

from dojang.authority import open_authority, tables
from dojang.authority.conversation.refusals import REASONS
from dojang.authority.conversation.transactions import forget
from dojang.cmp import bodies
from dojang.cmp.bodies import Certification, Confirmations, General, Information, Kind, Pkcs10, Poll, Revocation
from dojang.cmp.bodies import RevocationRequest as Rr
from dojang.cmp.crmf import CertificateId, CertificateTemplate
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.macs import PBM
from dojang.cmp.messages import new_nonce, read_message, write_message
from dojang.cmp.names import directory_name_der
from dojang.cmp.protection import Signing
from dojang.cmp.schema import PasswordBasedMac, encode, typed
from dojang.der import oid
from dojang.secret import Secret
from dojang.x509.name import parse_name

KEY = ec.generate_private_key(ec.SECP256R1())


def rows(counter: Counter) -> tuple[int, int]:
    """Certificates and conversations on record."""
    with counter.authority.database.reading() as connection:
        count = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.certificate, tables.cmp_transaction)
        ]
    return count[0], count[1]


class Costly:
    """A MAC that asks for ten million iterations."""

    def __init__(self) -> None:
        owf, mac = typed(oid("2.16.840.1.101.3.4.2.1")), typed(oid("1.2.840.113549.2.9"))
        parameters = PasswordBasedMac(salt=b"s" * 16, owf=owf, iterations=10_000_000, mac=mac)
        self.algorithm = typed(oid(PBM), encode(parameters))

    def protect(self, data: bytes) -> bytes:
        return b"\0" * 32


class Unknown:
    """Protection by an algorithm that nobody knows."""

    algorithm = typed(oid("1.2.3.4"))

    def protect(self, data: bytes) -> bytes:
        return b"\0" * 32


def changed_request(bearer: Subscriber, **changes: Any) -> Certification:
    asked = bearer.request().requests[0]
    return Certification(Kind.IR, (replace(asked, **changes),))


@pytest.mark.parametrize(
    ("make", "failure"),
    [
        (lambda one: one.message(one.request(), version=1), FailInfo.UNSUPPORTED_VERSION),
        (lambda one: one.message(one.request(), version=4), FailInfo.UNSUPPORTED_VERSION),
        (lambda one: one.message(one.request(), sender_nonce=b"short"), FailInfo.BAD_SENDER_NONCE),
        (lambda one: one.message(one.request(), recipient_nonce=b"n" * 16), FailInfo.BAD_RECIPIENT_NONCE),
        (lambda one: one.message(one.request(), protector=None), FailInfo.BAD_MESSAGE_CHECK),
        (lambda one: one.message(one.request(), protector=Costly()), FailInfo.BAD_ALG),
        (lambda one: one.message(one.request(), protector=Unknown()), FailInfo.SIGNER_NOT_TRUSTED),
        (lambda one: one.message(one.request(), protector=Signing(KEY)), FailInfo.SIGNER_NOT_TRUSTED),
        (lambda one: one.message(one.request(), sender_key_id=None), FailInfo.BAD_MESSAGE_CHECK),
        (lambda one: one.message(one.request(Kind.KUR)), FailInfo.WRONG_INTEGRITY),
        (lambda one: one.message(changed_request(one, proof_der=None)), FailInfo.BAD_POP),
        (lambda one: one.message(changed_request(one, proof_der=b"\x80\x00")), FailInfo.BAD_POP),
        (
            lambda one: one.message(one.request(replaces=CertificateId(parse_name("CN=x"), 1))),
            FailInfo.BAD_CERT_ID,
        ),
        (
            lambda one: one.message(Certification(Kind.IR, one.request().requests * 2)),
            FailInfo.BAD_REQUEST,
        ),
        (lambda one: one.message(Pkcs10(b"\x30\x00")), FailInfo.BAD_POP),
        (lambda one: one.message(bodies.Other(Kind.NESTED, b"\x30\x00")), FailInfo.BAD_REQUEST),
        (lambda one: one.message(bodies.Other(9, b"\x30\x00")), FailInfo.BAD_REQUEST),
        (lambda one: one.message(bodies.Confirmed()), FailInfo.BAD_REQUEST),
        (lambda one: one.message(Poll((0,))), FailInfo.BAD_REQUEST),
        (lambda one: one.message(Confirmations(())), FailInfo.BAD_REQUEST),
        (lambda one: one.message(General(Kind.GENM, ())), FailInfo.BAD_REQUEST),
        (lambda one: one.message(General(Kind.GENP, (Information("1.3.6.1.5.5.7.4.17"),))), FailInfo.BAD_REQUEST),
        (lambda one: one.message(General(Kind.GENM, (Information("1.2.3"),))), FailInfo.ADD_INFO_NOT_AVAILABLE),
        (lambda one: one.message(Rr((Revocation(CertificateTemplate(serial=5)),))), FailInfo.ADD_INFO_NOT_AVAILABLE),
        (
            lambda one: one.message(Rr((Revocation(CertificateTemplate(issuer=parse_name("CN=x"), serial=5)),))),
            FailInfo.BAD_CERT_ID,
        ),
    ],
)
def test_a_fault_is_named_and_nothing_is_stored(bearer: Subscriber, make: Any, failure: FailInfo) -> None:
    """Every kind of fault has its bit; afterwards the same code still works."""
    before = rows(bearer.counter)
    assert failure_in(bearer.send(make(bearer))) is failure
    assert rows(bearer.counter) == before
    bearer.again().enrol()


def rsa_key(p: int, q: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    d = pow(exponent, -1, (p - 1) * (q - 1))
    parts = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *parts, rsa.RSAPublicNumbers(exponent, p * q)).private_key()


def close_primes() -> tuple[int, int]:
    p = rsa.generate_private_key(65537, 2048).private_numbers().p
    return p, next_prime(p + 2)


WEAK: dict[str, tuple[Callable[[], Any], str]] = {
    "rsa-1024": (lambda: rsa.generate_private_key(65537, 1024), "rsa-1024"),
    "rsa-e3": (lambda: rsa.generate_private_key(3, 2048), "exponent"),
    "rsa-roca": (lambda: rsa_key(roca_prime(1024, 1), roca_prime(1025, 2)), "ROCA"),
    "rsa-close": (lambda: rsa_key(*close_primes()), "factors"),
    "p-192": (lambda: ec.generate_private_key(ec.SECP192R1()), "ec-secp192r1"),
}


@pytest.mark.parametrize("kind", WEAK)
def test_a_weak_key_is_not_certified(bearer: Subscriber, kind: str) -> None:
    """Short RSA, a small exponent, RSA that was made badly, a small curve: badCertTemplate and why; a good key is."""
    make, reason = WEAK[kind]
    weak = replace(bearer, key=make())
    answer = weak.ask(weak.request())
    assert failure_in(answer) is FailInfo.BAD_CERT_TEMPLATE
    assert reason in str(answer.body)
    assert rows(bearer.counter)[1] == 0
    bearer.again().enrol()


def test_a_message_that_cannot_be_read_is_answered(counter: Counter, bearer: Subscriber) -> None:
    """Nonsense, a message that is cut off, one that is too large: an unprotected badDataFormat or badRequest."""
    whole = bearer.message(bearer.request())
    large = write_message(replace(bearer.header(), free_text=("x" * (1 << 18),)), bodies.Confirmed())
    for der, failure in (
        (b"", FailInfo.BAD_DATA_FORMAT),
        (b"GET / HTTP/1.0", FailInfo.BAD_DATA_FORMAT),
        (whole[:-1], FailInfo.BAD_DATA_FORMAT),
        (whole + b"\0", FailInfo.BAD_DATA_FORMAT),
        (large, FailInfo.BAD_REQUEST),
    ):
        answer = read_message(counter.conversation.answer(der, SOURCE))
        assert answer.protection is None
        assert failure_in(answer) is failure
    assert rows(counter)[1] == 0


def test_a_stranger_cannot_have_much_repeated_or_remembered(counter: Counter, bearer: Subscriber) -> None:
    """Long names, identifiers and lists are refused before they are taken apart, and the answer is a short one."""
    long_name = directory_name_der(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 60)] * 100))
    much = (Information("1.2.3"),) * 65
    for changes in (
        {"sender_der": long_name},
        {"recipient_der": long_name},
        {"transaction_id": b"t" * 257},
        {"sender_nonce": b"n" * 257},
        {"sender_key_id": b"k" * 257},
        {"information": much},
    ):
        answer_der = counter.conversation.answer(bearer.message(bearer.request(), **changes), SOURCE)
        assert failure_in(read_message(answer_der)) is FailInfo.BAD_DATA_FORMAT
        assert len(answer_der) < 1000
    revocations = Rr((Revocation(CertificateTemplate(serial=5)),) * 65)
    for body in (
        General(Kind.GENM, much),
        Poll((0,) * 65),
        Confirmations((bodies.Confirmation(b""),) * 65),
        revocations,
    ):
        answer = read_message(counter.conversation.answer(bearer.message(body), SOURCE))
        assert failure_in(answer) is FailInfo.BAD_DATA_FORMAT
    bearer.enrol()


def test_the_clocks_may_differ_by_so_much(bearer: Subscriber, counter: Counter) -> None:
    """Fifteen minutes either way; beyond that badTime. A message without a time is taken."""
    from datetime import timedelta

    for minutes in (-16, 16):
        late = bearer.again()
        at = counter.clock.at + timedelta(minutes=minutes)
        assert failure_in(late.ask(late.request(), message_at=at)) is FailInfo.BAD_TIME
    bearer.granted(bearer.ask(bearer.request(), message_at=None))


def test_wrong_codes_and_unknown_references_look_alike(bearer: Subscriber, counter: Counter) -> None:
    """badMessageCheck without protection; a wrong code counts, and the reference is locked at the limit."""
    wrong = replace(bearer, code=Secret("WRONGWRONGWRONG0"))
    unknown = replace(bearer, reference="9999999999")
    answers = []
    for one in (wrong, unknown):
        asked = one.again()
        answers.append(read_message(counter.conversation.answer(asked.message(asked.request()), SOURCE)))
    assert {failure_in(answer) for answer in answers} == {FailInfo.BAD_MESSAGE_CHECK}
    assert answers[0].body == answers[1].body
    assert all(answer.protection is None for answer in answers)
    assert counter.office.enrolment(bearer.reference).wrong_tries == 1
    for _ in range(counter.policy.tries - 1):
        asked = wrong.again()
        asked.ask(asked.request())
    assert counter.office.enrolment(bearer.reference).state == "locked"
    late = bearer.again()
    assert failure_in(read_message(counter.conversation.answer(late.message(late.request()), SOURCE))) is (
        FailInfo.BAD_MESSAGE_CHECK
    )


def test_a_source_of_too_many_wrong_codes_is_turned_away(counter: Counter) -> None:
    """Even with a right code, from there; not from elsewhere."""
    counter.policy = replace(counter.policy, source_tries=3)
    handed = counter.hand_out()
    bearer = Subscriber(counter, handed.enrolment.reference, handed.code)
    for _ in range(3):
        wrong = bearer.again(reference="1234567890")
        wrong.send(wrong.message(wrong.request()))
    late = bearer.again()
    answer = read_message(counter.conversation.answer(late.message(late.request()), SOURCE))
    assert failure_in(answer) is FailInfo.NOT_AUTHORIZED
    elsewhere = bearer.again()
    elsewhere.granted(elsewhere.send(elsewhere.message(elsewhere.request()), source="198.51.100.1"))


@pytest.mark.parametrize("state", ["used", "expired", "cancelled"])
def test_a_code_that_is_over_is_refused(bearer: Subscriber, counter: Counter, state: str) -> None:
    """Protected with the code itself: who has it is told."""
    if state == "used":
        bearer.enrol()
    elif state == "expired":
        counter.clock.turn(days=15)
    else:
        counter.office.cancel(bearer.reference, "lost")
    late = bearer.again()
    answer = late.ask(late.request())
    assert failure_in(answer) is FailInfo.NOT_AUTHORIZED
    assert answer.protection is not None


@pytest.mark.parametrize("state", ["revoked", "suspended", "expired", "replaced"])
def test_a_certificate_that_is_not_good_signs_for_nothing(holder: Subscriber, counter: Counter, state: str) -> None:
    """certRevoked, notAuthorized, signerNotTrusted; the answer is signed, for the signer did prove to have the key."""
    serial = f"{x509.load_der_x509_certificate(holder.certificate_der).serial_number:x}"
    expected = FailInfo.SIGNER_NOT_TRUSTED
    if state == "revoked":
        counter.authority.revoke(serial, "keyCompromise")
        expected = FailInfo.CERT_REVOKED
    elif state == "suspended":
        counter.authority.suspend(serial)
        expected = FailInfo.NOT_AUTHORIZED
    elif state == "expired":
        counter.clock.turn(days=366)
    else:
        counter.clock.turn(days=350)
        holder.again().enrol(Kind.KUR)
    for body in (holder.request(Kind.KUR), holder.request(Kind.CR), General(Kind.GENM, (Information("1.2.3"),))):
        asked = holder.again()
        answer = asked.ask(body)
        assert failure_in(answer) is expected
        assert answer.protection is not None


@pytest.mark.parametrize("change", ["revoke", "suspend"])
@pytest.mark.parametrize("kind", [Kind.KUR, Kind.CR])
def test_what_was_asked_for_is_not_taken_with_a_certificate_that_ended_meanwhile(
    holder: Subscriber, counter: Counter, change: str, kind: Kind
) -> None:
    """A key that is found to be stolen, or may be, confirms nothing that it has asked for before; what a stolen one has
    asked for is revoked with it.
    """
    counter.clock.turn(days=350)
    granted = holder.granted(holder.ask(holder.request(kind)))
    serial = f"{x509.load_der_x509_certificate(holder.certificate_der).serial_number:x}"
    if change == "revoke":
        counter.authority.revoke(serial, "keyCompromise")
    else:
        counter.authority.suspend(serial)
    expected = FailInfo.CERT_REVOKED if change == "revoke" else FailInfo.NOT_AUTHORIZED
    open_ = holder.last
    assert failure_in(holder.ask(holder.confirmation(granted))) is expected
    assert holder.state(granted) == ("revoked" if change == "revoke" else "issued")
    if change == "suspend":
        counter.authority.restore(serial)
        replace(holder, last=open_).ask(holder.confirmation(granted))
        assert holder.state(granted) == "confirmed"


def test_a_hold_that_was_lifted_is_not_brought_back_by_the_same_message(holder: Subscriber, counter: Counter) -> None:
    """However long ago it was, though the message does not say its time."""
    assert holder.certificate_der is not None
    said = holder.message(revocation_of(holder.certificate_der, 6), message_at=None)
    first = counter.conversation.answer(said, SOURCE)
    assert holder.state() == "suspended"
    counter.authority.restore(f"{x509.load_der_x509_certificate(holder.certificate_der).serial_number:x}")
    counter.clock.turn(days=100)
    with counter.authority.database.writing() as connection:
        forget(connection, counter.clock())
    assert counter.conversation.answer(said, SOURCE) == first
    assert holder.state() == "confirmed"


def test_a_revocation_while_the_certificate_is_signed_comes_first(
    holder: Subscriber, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the signer's certificate and the record of the new one: nothing is recorded."""
    serial = f"{x509.load_der_x509_certificate(holder.certificate_der).serial_number:x}"
    before, database = rows(counter)[0], counter.authority.database
    together = database.together

    def late(work: Any) -> Any:
        monkeypatch.undo()
        counter.authority.revoke(serial, "keyCompromise")
        return together(work)

    monkeypatch.setattr(database, "together", late)
    assert failure_in(holder.ask(holder.request(Kind.CR))) is FailInfo.CERT_REVOKED
    assert rows(counter)[0] == before


def test_an_answer_that_was_rolled_back_never_leaves(
    bearer: Subscriber, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process answers before the second attempt, its answer is given, and its certificate alone."""
    folder, database = counter.authority.folder.parent, counter.authority.database
    asked, together, answers = bearer.message(bearer.request()), database.together, []

    def twice(work: Any) -> Any:
        monkeypatch.undo()
        with contextlib.suppress(InterruptedError), database.writing() as connection:
            work(connection)
            raise InterruptedError
        with open_authority(folder, "test", counter.keys.__getitem__, clock=counter.clock) as other:
            answers.append(replace(counter, authority=other).conversation.answer(asked, SOURCE))
        return together(work)

    monkeypatch.setattr(database, "together", twice)
    assert counter.conversation.answer(asked, SOURCE) == answers[0]
    assert bearer.state(bearer.granted(read_message(answers[0]))) == "issued"


def test_the_signer_must_be_whom_the_message_names(holder: Subscriber, counter: Counter) -> None:
    """Another sender, another senderKID, another's key, a certificate from elsewhere, an authority's own, none."""
    other = directory_name_der(parse_name("CN=Another"))
    ca = counter.authority.chain_der()[0]
    for changes, failure in (
        ({"sender_der": other}, FailInfo.BAD_MESSAGE_CHECK),
        ({"sender_key_id": b"another"}, FailInfo.BAD_MESSAGE_CHECK),
        ({"protector": Signing(KEY)}, FailInfo.BAD_MESSAGE_CHECK),
        ({"certificates": ()}, FailInfo.SIGNER_NOT_TRUSTED),
        ({"certificates": (b"\x30\x00",)}, FailInfo.SIGNER_NOT_TRUSTED),
        ({"certificates": (ca,)}, FailInfo.SIGNER_NOT_TRUSTED),
    ):
        asked = holder.again()
        answer = asked.ask(asked.request(Kind.KUR), **changes)
        assert failure_in(answer) is failure, changes
        assert answer.protection is None


def test_a_successor_is_for_the_signer_alone(holder: Subscriber, counter: Counter) -> None:
    """oldCertID of another certificate, another subject, a first request that is signed."""
    counter.clock.turn(days=350)
    for body, failure in (
        (holder.request(Kind.KUR, replaces=CertificateId(parse_name("CN=x"), 5)), FailInfo.BAD_CERT_ID),
        (holder.request(Kind.KUR, subject="CN=Mallory,O=Example,C=KR"), FailInfo.BAD_CERT_TEMPLATE),
        (holder.request(Kind.IR), FailInfo.WRONG_INTEGRITY),
    ):
        asked = holder.again()
        assert failure_in(asked.ask(body)) is failure
    assert holder.state() == "confirmed"


def revocation_of(certificate_der: bytes, reason: int | None = 1) -> Rr:
    certificate = x509.load_der_x509_certificate(certificate_der)
    template = CertificateTemplate(issuer=certificate.issuer, serial=certificate.serial_number)
    return Rr(
        (Revocation(template, () if reason is None else (bytes.fromhex("300a0603551d1504030a01") + bytes((reason,)),)),)
    )


def test_only_the_holder_has_a_certificate_revoked(holder: Subscriber, counter: Counter) -> None:
    """Not another holder, not with another code; a reason that is none is refused, once revoked it is certRevoked."""
    handed = counter.hand_out("CN=Other,C=KR")
    other = Subscriber(counter, handed.enrolment.reference, handed.code).enrol()
    asked = other.again()
    assert failure_in(asked.ask(revocation_of(holder.certificate_der))) is FailInfo.NOT_AUTHORIZED
    another = counter.hand_out()
    bearer = Subscriber(counter, another.enrolment.reference, another.code)
    assert failure_in(bearer.ask(revocation_of(holder.certificate_der))) is FailInfo.NOT_AUTHORIZED
    for reason in (7, 8, 10):
        asked = holder.again()
        assert failure_in(asked.ask(revocation_of(holder.certificate_der, reason))) is FailInfo.BAD_REQUEST
    assert holder.state() == "confirmed"
    asked = holder.again()
    sent = asked.message(revocation_of(holder.certificate_der, 6))
    assert asked.send(sent).body.statuses[0].is_granted
    assert holder.state() == "suspended"
    asked = holder.again()
    sent = asked.message(revocation_of(holder.certificate_der))
    first = counter.conversation.answer(sent, SOURCE)
    assert read_message(first).body.statuses[0].is_granted
    assert holder.state() == "revoked"
    assert counter.conversation.answer(sent, SOURCE) == first
    asked = holder.again()
    assert failure_in(asked.ask(revocation_of(holder.certificate_der))) is FailInfo.CERT_REVOKED


def test_the_same_message_has_the_same_answer(bearer: Subscriber, counter: Counter) -> None:
    """ir and certConf byte for byte, from any object that answers; another message in the transaction is refused."""
    asked = bearer.message(bearer.request())
    first = counter.conversation.answer(asked, SOURCE)
    assert counter.conversation.answer(asked, "elsewhere") == first
    granted = bearer.granted(bearer.send(asked))
    assert failure_in(bearer.ask(bearer.request(), recipient_nonce=None)) is FailInfo.TRANSACTION_ID_IN_USE
    bearer.last = read_message(first)
    stale = bearer.message(bearer.confirmation(granted), recipient_nonce=new_nonce())
    assert failure_in(bearer.send(stale)) is FailInfo.BAD_RECIPIENT_NONCE
    bearer.last = read_message(first)
    said = bearer.message(bearer.confirmation(granted))
    confirmed = counter.conversation.answer(said, SOURCE)
    assert counter.conversation.answer(said, SOURCE) == confirmed
    bearer.last = read_message(confirmed)
    assert failure_in(bearer.ask(bearer.confirmation(granted))) is FailInfo.CERT_CONFIRMED
    assert rows(counter)[0] == 2  # the issuing authority's own, and this


@pytest.mark.parametrize("transaction_id", [b"\xff" * 16, b"\xed\xa0\x80" * 5, b"\0" * 16, b"\n", b"\xc3\x28" * 32])
def test_an_identifier_of_a_transaction_may_be_any_bytes(bearer: Subscriber, transaction_id: bytes) -> None:
    """Bytes that are no text, halves of characters, zeros: all of it goes as it always does, and a retry, too."""
    asked = replace(bearer, transaction_id=transaction_id)
    message = asked.message(asked.request())
    first = asked.counter.conversation.answer(message, SOURCE)
    assert asked.counter.conversation.answer(message, SOURCE) == first
    granted = asked.granted(asked.send(message))
    assert isinstance(asked.ask(asked.confirmation(granted)).body, bodies.Confirmed)
    assert asked.state(granted) == "confirmed"


@pytest.mark.parametrize("name", ["\ud800", "profile\udcff", "\0"])
def test_a_profile_in_the_address_may_be_any_text(bearer: Subscriber, name: str) -> None:
    """Halves of characters: a refusal like that of any other profile than the one that is due."""
    assert failure_in(bearer.ask(bearer.request(), profile_name=name)) is FailInfo.BAD_CERT_TEMPLATE


def test_transactions_of_two_senders_never_meet(counter: Counter) -> None:
    """The same transactionID from somebody else is another transaction."""
    handed = [counter.hand_out(f"CN=Somebody {number},C=KR") for number in range(2)]
    first, other = (Subscriber(counter, one.enrolment.reference, one.code, transaction_id=b"t" * 16) for one in handed)
    granted = [one.granted(one.ask(one.request())) for one in (first, other)]
    for one, certificate in zip((first, other), granted, strict=True):
        assert isinstance(one.ask(one.confirmation(certificate)).body, bodies.Confirmed)


def test_what_was_revoked_meanwhile_cannot_be_confirmed(bearer: Subscriber, counter: Counter) -> None:
    """After its time nobody confirms it any more: certRevoked."""
    granted = bearer.granted(bearer.ask(bearer.request()))
    counter.clock.turn(days=1, minutes=1)
    counter.authority.revoke_unconfirmed()
    assert failure_in(bearer.ask(bearer.confirmation(granted))) is FailInfo.CERT_REVOKED
    assert bearer.state(granted) == "revoked"


def at_once(work: Any, arguments: list[Any]) -> list[Any]:
    """What each call returned; all begin together."""
    start, results = threading.Barrier(len(arguments)), [None] * len(arguments)

    def one(number: int) -> None:
        start.wait()
        results[number] = work(arguments[number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(arguments))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_of_64_at_once_with_one_code_one_has_a_certificate(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    """The others hear that it has been used, and only one certificate is on record; on both databases."""
    url = None if database == "sqlite" else request.getfixturevalue("postgres").new_database()
    counter = found_counter(tmp_path / "authorities", url)
    with counter.authority:
        handed = counter.hand_out()
        bearer = Subscriber(counter, handed.enrolment.reference, handed.code)
        asked = [one.message(one.request()) for one in (bearer.again() for _ in range(64))]
        conversation = counter.conversation
        answers = [read_message(one) for one in at_once(lambda der: conversation.answer(der, SOURCE), asked)]
        granted = [one for one in answers if isinstance(one.body, bodies.Certified)]
        assert len(granted) == 1
        assert {failure_in(one) for one in answers if one not in granted} == {FailInfo.NOT_AUTHORIZED}
        assert rows(counter) == (2, 1)


def test_the_same_message_many_times_at_once_is_one_certificate(bearer: Subscriber, counter: Counter) -> None:
    """Sixteen threads, one answer, one certificate."""
    asked, conversation = bearer.message(bearer.request()), counter.conversation
    answers = at_once(lambda _number: conversation.answer(asked, SOURCE), list(range(16)))
    assert len(set(answers)) == 1
    assert rows(counter) == (2, 1)


def test_trouble_inside_is_a_fault_that_tells_nothing(
    bearer: Subscriber, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database or token that is away is systemUnavail, and the same message works when it is back."""
    from dojang.authority.database import Database
    from dojang.errors import DatabaseUnavailable

    def away(*_arguments: object) -> None:
        raise DatabaseUnavailable(where="postgresql://secret-host/ca", problem="gone")

    asked, told = bearer.message(bearer.request()), list[CmpFault]()
    with monkeypatch.context() as patched:
        patched.setattr(Database, "together", away)
        answer = read_message(counter.conversation.answer(asked, SOURCE, None, told.append))
    assert failure_in(answer) is FailInfo.SYSTEM_UNAVAIL
    assert [fault.failure for fault in told] == [FailInfo.SYSTEM_UNAVAIL]
    assert "secret-host" not in str(answer.body)
    assert isinstance(read_message(counter.conversation.answer(asked, SOURCE)).body, bodies.Certified)


def test_every_reason_that_is_told_apart_is_one_that_is_given(korean_texts: str) -> None:
    """The sentences by which refusals are sorted are sentences of ours."""
    for template in REASONS:
        assert f'msgid "{template}"' in korean_texts


@pytest.fixture(scope="session")
def korean_texts() -> str:
    import dojang

    folder = Path(dojang.__file__).parent
    return (folder / "locale" / "ko" / "LC_MESSAGES" / "dojang.po").read_text()
