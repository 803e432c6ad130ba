"""From a reference number and a code to a certificate that is in use, and on to its successors."""

import hashlib
from collections import Counter as Counts
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from sqlalchemy import select, text
from tests.authority.conversation.conftest import SUBJECT, Counter, Subscriber, failure_in

from dojang.authority.enrolment.policy import ProfileRule
from dojang.authority.tables import audit
from dojang.cmp import bodies
from dojang.cmp.bodies import (
    Certification,
    Certified,
    Confirmation,
    Confirmations,
    Confirmed,
    Kind,
    Pkcs10,
    Poll,
    Waiting,
)
from dojang.cmp.crmf import CertificateId, read_request
from dojang.cmp.faults import FailInfo, PkiStatus
from dojang.cmp.macs import Mac, new_pbmac1
from dojang.cmp.messages import certificate_profile, implicit_confirm
from dojang.cmp.wanted import request_for
from dojang.secret import Secret
from dojang.x509.name import format_name, parse_name
from dojang.x509.request import build_request

DEVICE = "CN=Device 7,C=KR"
KEYS = {
    "rsa-2048": rsa.generate_private_key(65537, 2048),
    "ec-p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def subject_of(certificate_der: bytes) -> str:
    return format_name(x509.load_der_x509_certificate(certificate_der).subject)


def test_a_code_becomes_a_certificate(bearer: Subscriber, counter: Counter) -> None:
    """ir, ip, certConf, pkiConf under one code: the certificate is on record before it leaves, and confirmed after."""
    answer = bearer.ask(bearer.request())
    granted = bearer.granted(answer)
    assert subject_of(granted) == SUBJECT
    assert bearer.state(granted) == "issued"
    assert answer.header.confirm_wait_at == counter.clock.at + counter.authority.settings.unconfirmed_term
    chain = counter.authority.chain_der()
    assert answer.body.ca_certificates == chain[-1:]
    assert set(chain[:-1]) <= set(answer.certificates)
    assert isinstance(bearer.ask(bearer.confirmation(granted)).body, Confirmed)
    assert bearer.state(granted) == "confirmed"
    assert counter.office.enrolment(bearer.reference).state == "used"
    assert counter.authority.find(f"{x509.load_der_x509_certificate(granted).serial_number:x}").enrolment


@pytest.mark.parametrize("kind", [Kind.IR, Kind.CR])
@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "p384", "ed25519"],
)
def test_any_key_that_the_profile_allows_is_certified(bearer: Subscriber, key: object, kind: Kind) -> None:
    """RSA, a larger curve, Ed25519."""
    granted = replace(bearer, key=key).enrol(kind)
    assert granted.state() == "confirmed"


def test_the_terms_of_the_enrolment_count_not_the_request(bearer: Subscriber) -> None:
    """Another subject in the request: the certificate has that of the enrolment, and the answer says so."""
    answer = bearer.ask(bearer.request(subject="CN=Mallory,C=KR"))
    assert answer.body.answers[0].status.status == PkiStatus.GRANTED_WITH_MODS
    assert subject_of(bearer.granted(answer)) == SUBJECT


def test_a_request_may_leave_the_subject_to_the_authority(bearer: Subscriber) -> None:
    """NULL-DN in the template."""
    answer = bearer.ask(bearer.request(subject=""))
    assert answer.body.answers[0].status.status == PkiStatus.ACCEPTED
    assert subject_of(bearer.granted(answer)) == SUBJECT


def test_a_pkcs10_request_is_taken_too(bearer: Subscriber) -> None:
    """p10cr: its answer has certReqId -1."""
    answer = bearer.ask(Pkcs10(build_request(bearer.key, parse_name(SUBJECT))))
    granted = bearer.granted(answer)
    assert (answer.body.kind, answer.body.answers[0].request_id) == (Kind.CP, -1)
    assert isinstance(bearer.ask(bearer.confirmation(granted, request_id=-1)).body, Confirmed)


def test_pbmac1_is_answered_by_pbmac1(bearer: Subscriber) -> None:
    """The answer is protected as the question was."""
    mac = Mac(bearer.code, new_pbmac1(1000))
    answer = bearer.ask(bearer.request(), protector=mac)
    bearer.granted(answer)
    assert answer.header.protection[0].parse(x509.ObjectIdentifier).dotted_string == "1.2.840.113549.1.5.14"


def test_version_3_names_the_hash_of_a_confirmation(bearer: Subscriber) -> None:
    """hashAlg is taken in version 3, answered in version 3, and refused in version 2."""
    answer = bearer.ask(bearer.request(), version=3)
    granted = bearer.granted(answer)
    assert answer.header.version == 3
    said = Confirmations((Confirmation(hashlib.sha512(granted).digest(), 0, None, "2.16.840.1.101.3.4.2.3"),))
    assert failure_in(bearer.ask(said)) is FailInfo.BAD_REQUEST
    bearer.last = answer
    assert isinstance(bearer.ask(said, version=3).body, Confirmed)


def test_implicit_confirmation_is_granted_where_asked_for(bearer: Subscriber) -> None:
    """The certificate is confirmed when the answer leaves; a certConf all the same is a certConfirmed."""
    answer = bearer.ask(bearer.request(), information=(implicit_confirm(),))
    granted = bearer.granted(answer)
    assert answer.header.implicit_confirm
    assert bearer.state(granted) == "confirmed"
    assert failure_in(bearer.ask(bearer.confirmation(granted))) is FailInfo.CERT_CONFIRMED


def test_a_profile_may_be_named(bearer: Subscriber, counter: Counter) -> None:
    """In the address or in certProfile: the one that is due, or badCertTemplate."""
    named = (certificate_profile("personal"),)
    wrong = (certificate_profile("tls-server"),)
    assert failure_in(bearer.again().ask(bearer.request(), information=wrong)) is FailInfo.BAD_CERT_TEMPLATE
    assert failure_in(bearer.again().ask(bearer.request(), profile_name="business")) is FailInfo.BAD_CERT_TEMPLATE
    bearer.granted(bearer.again().ask(bearer.request(), information=named, profile_name="personal"))


def test_the_old_key_signs_for_the_new(holder: Subscriber, counter: Counter) -> None:
    """kur: same subject, another key; when it is confirmed, the old certificate is replaced and signs for no more."""
    counter.clock.turn(days=350)
    old = x509.load_der_x509_certificate(holder.certificate_der)
    renewed = holder.again().enrol(Kind.KUR, replaces=CertificateId(old.issuer, old.serial_number))
    assert subject_of(renewed.certificate_der) == SUBJECT
    assert renewed.state() == "confirmed"
    late = holder.again(key=ec.generate_private_key(ec.SECP256R1()))
    assert failure_in(late.ask(late.request(Kind.KUR))) is FailInfo.SIGNER_NOT_TRUSTED


@pytest.mark.parametrize("form", ["cr", "p10cr"])
def test_a_signed_request_is_a_reissue(holder: Subscriber, form: str, counter: Counter) -> None:
    """Another key for the same term; the old certificate is revoked as superseded once the new one is confirmed."""
    asked = holder.again()
    body = asked.request(Kind.CR) if form == "cr" else Pkcs10(build_request(asked.key, parse_name(SUBJECT)))
    granted = asked.granted(asked.ask(body))
    before, after = map(x509.load_der_x509_certificate, (holder.certificate_der, granted))
    assert after.not_valid_after_utc == before.not_valid_after_utc
    assert holder.state() == "confirmed"
    said = asked.message(asked.confirmation(granted, request_id=0 if form == "cr" else -1))
    first = asked.counter.conversation.answer(said, "s")
    assert holder.state() == "revoked"
    assert asked.counter.conversation.answer(said, "s") == first  # though the signer is revoked by now


@pytest.fixture
def several(counter: Counter) -> Subscriber:
    """Somebody with a certificate of a profile of which one may have several."""
    folder = counter.authority.folder / "profiles"
    folder.mkdir()
    (folder / "tls-client.toml").write_text('like = "tls-client"\nseveral = true\n')
    handed = counter.hand_out(profile_name="tls-client", subject=DEVICE)
    return Subscriber(counter, handed.enrolment.reference, handed.code).enrol()


@pytest.mark.parametrize("form", ["cr", "p10cr"])
def test_where_the_profile_has_several_a_signed_request_brings_another(several: Subscriber, form: str) -> None:
    """The same names for a whole term of its own; both stay valid, and each asks for its own successor."""
    counter = several.counter
    counter.clock.turn(days=30)
    asked = several.again()
    body = asked.request(Kind.CR, "") if form == "cr" else Pkcs10(build_request(asked.key, parse_name(DEVICE)))
    granted = asked.granted(asked.ask(body))
    asked.ask(asked.confirmation(granted, request_id=0 if form == "cr" else -1))
    before, after = map(x509.load_der_x509_certificate, (several.certificate_der, granted))
    assert (after.subject, after.public_key()) == (before.subject, asked.key.public_key())
    assert after.not_valid_after_utc - before.not_valid_after_utc == timedelta(days=30)
    assert (several.state(), asked.state(granted)) == ("confirmed", "confirmed")
    for one in (several.certificate_der, granted):
        record = counter.authority.find(f"{x509.load_der_x509_certificate(one).serial_number:x}")
        assert (record.replaced_at, record.replaces) == (None, None)


def test_another_certificate_is_for_nobody_else(several: Subscriber) -> None:
    """Neither another subject nor other alternative names; one that names what it comes after is a reissue."""
    for subject, names in (("CN=Device 8,C=KR", ()), (DEVICE, ("dns:eight.example",))):
        again = several.again()
        wanted = Certification(Kind.CR, (read_request(request_for(again.key, parse_name(subject), names)),))
        assert failure_in(again.ask(wanted)) is FailInfo.BAD_CERT_TEMPLATE
    own = x509.load_der_x509_certificate(several.certificate_der)
    again = several.again()
    again.enrol(Kind.CR, subject="", replaces=CertificateId(own.issuer, own.serial_number))
    assert several.state() == "revoked"


def test_another_certificate_needs_a_key_that_is_new(several: Subscriber) -> None:
    """No key has a second term by it, neither the signer's nor one of a certificate beside it."""
    own = several.counter.authority.folder / "profiles" / "tls-client.toml"
    own.write_text(own.read_text() + "keep-key = false\n")
    first = several.signing_key
    second = several.again().enrol(Kind.CR, subject="")
    for signer, key in ((several, first), (several, second.signing_key), (second, first)):
        again = signer.again(key=key)
        assert failure_in(again.ask(again.request(Kind.CR, ""))) is FailInfo.BAD_CERT_TEMPLATE


def test_where_a_renewal_may_keep_the_key_another_certificate_may_have_it(several: Subscriber) -> None:
    """Whoever may go on with a key for ever gains nothing by it."""
    again = several.again(key=several.signing_key)
    assert again.granted(again.ask(again.request(Kind.CR, "")))


def test_another_certificate_has_the_term_that_the_first_was_given(counter: Counter) -> None:
    """Not the longest of the profile, nor the shortest."""
    folder = counter.authority.folder / "profiles"
    folder.mkdir()
    own, words = folder / "tls-client.toml", 'like = "tls-client"\nseveral = true\nvalidity-years = [{years}]\n'
    own.write_text(words.format(years="2"))
    handed = counter.hand_out(profile_name="tls-client", subject=DEVICE)
    holder = Subscriber(counter, handed.enrolment.reference, handed.code).enrol()
    own.write_text(words.format(years="1, 2, 3"))
    again = holder.again().enrol(Kind.CR, subject="")
    first, second = (x509.load_der_x509_certificate(one.certificate_der or b"") for one in (holder, again))
    assert first.not_valid_after_utc == second.not_valid_after_utc


def test_what_awaits_approval_is_polled_for(counter: Counter) -> None:
    """ip says waiting, pollRep when to ask again, and once an officer has approved, pollReq gets the certificate."""
    counter.policy = replace(counter.policy, usual=ProfileRule("people", True))
    handed = counter.hand_out()
    bearer = Subscriber(counter, handed.enrolment.reference, handed.code)
    asked = bearer.message(bearer.request())
    answer = bearer.send(asked)
    (status,) = [one.status for one in answer.body.answers]
    assert status.status == PkiStatus.WAITING
    assert counter.conversation.answer(asked, "s") == counter.conversation.answer(asked, "s")
    for _ in range(2):
        answer = bearer.ask(Poll((0,)))
        assert isinstance(answer.body, Waiting)
        assert answer.body.items[0].seconds == counter.authority.settings.cmp.poll_seconds
    assert failure_in(replace(bearer).ask(Poll((7,)))) is FailInfo.BAD_REQUEST
    from dojang.authority.audit import acting

    with acting("local:another"):
        counter.office.approve(handed.enrolment.reference)
    granted = bearer.granted(bearer.ask(Poll((0,))))
    assert isinstance(bearer.ask(bearer.confirmation(granted)).body, Confirmed)
    assert bearer.state(granted) == "confirmed"


def test_a_code_that_awaits_approval_keeps_its_last_few_requests(counter: Counter) -> None:
    """A thousand requests under it leave as many as the settings say; who asked last gets the certificate, who asked
    first is told that nothing is open, and nobody else's request is forgotten.
    """
    counter.policy = replace(counter.policy, usual=ProfileRule("people", True))
    most, handed, other = counter.authority.settings.cmp.waiting_requests, counter.hand_out(), counter.hand_out()
    neighbour = Subscriber(counter, other.enrolment.reference, other.code)
    neighbour.ask(neighbour.request())
    first = bearer = Subscriber(counter, handed.enrolment.reference, handed.code)
    conversation, body = counter.conversation, bearer.request()
    first.send(first.message(body))
    for _ in range(1000):
        counter.clock.turn(seconds=1)
        bearer = bearer.again()
        conversation.answer(bearer.message(body), "s")
    counter.clock.turn(seconds=1)
    bearer = bearer.again()
    bearer.send(bearer.message(body))
    with counter.authority.database.reading() as connection:
        kept = (
            connection.execute(text("SELECT sender_key FROM cmp_transaction WHERE state = 'waiting'")).scalars().all()
        )
    assert Counts(map(bytes, kept)) == {
        b"code:" + reference.encode(): count
        for reference, count in ((handed.enrolment.reference, most), (other.enrolment.reference, 1))
    }
    assert failure_in(first.ask(Poll((0,)))) is FailInfo.BAD_REQUEST
    assert isinstance(bearer.ask(Poll((0,))).body, Waiting)
    assert isinstance(neighbour.ask(Poll((0,))).body, Waiting)


def test_a_rejected_certificate_is_revoked(bearer: Subscriber) -> None:
    """certConf with a rejection, or with nothing at all: pkiConf, and the certificate is revoked."""
    granted = bearer.granted(bearer.ask(bearer.request()))
    status = bodies.Status(PkiStatus.REJECTION, ("no",), frozenset((FailInfo.INCORRECT_DATA,)))
    assert isinstance(bearer.ask(bearer.confirmation(granted, status=status)).body, Confirmed)
    assert bearer.state(granted) == "revoked"


def test_an_empty_confirmation_rejects(bearer: Subscriber) -> None:
    """No CertStatus at all."""
    granted = bearer.granted(bearer.ask(bearer.request()))
    assert isinstance(bearer.ask(Confirmations(())).body, Confirmed)
    assert bearer.state(granted) == "revoked"


def test_an_error_from_the_asker_gives_the_certificate_up(bearer: Subscriber) -> None:
    """error instead of certConf: pkiConf, and the certificate is revoked."""
    granted = bearer.granted(bearer.ask(bearer.request()))
    answer = bearer.ask(bodies.Failure(bodies.Status(PkiStatus.REJECTION)))
    assert isinstance(answer.body, Confirmed)
    assert bearer.state(granted) == "revoked"


def test_the_hash_of_another_certificate_is_refused(bearer: Subscriber) -> None:
    """badCertId, and the certificate is revoked: whatever arrived is not what was sent."""
    granted = bearer.granted(bearer.ask(bearer.request()))
    answer = bearer.ask(bearer.confirmation(granted, certificate_hash=b"x" * 32))
    assert failure_in(answer) is FailInfo.BAD_CERT_ID
    assert bearer.state(granted) == "revoked"


def test_every_answer_is_readable_by_others(bearer: Subscriber, counter: Counter) -> None:
    """pyasn1 with the module of RFC 9810 decodes what the authority sends."""
    from pyasn1.codec.der.decoder import decode
    from pyasn1_alt_modules import rfc9810

    asked = bearer.message(bearer.request())
    answers = [counter.conversation.answer(asked, "s"), counter.conversation.answer(asked[:-1], "s")]
    for der in answers:
        decoded, rest = decode(der, asn1Spec=rfc9810.PKIMessage())
        assert rest == b""
        assert decoded["header"]["pvno"] == 2
    assert isinstance(bearer.send(asked).body, Certified)


def test_the_record_of_the_authority_says_who_it_was(bearer: Subscriber, counter: Counter) -> None:
    """A reference number for what a code did, a serial for what a certificate's key did, nobody for a wrong code."""
    holder = bearer.enrol().again()
    wrong = bearer.again(code=Secret("WRONGWRONGWRONG0"))
    wrong.ask(wrong.request())
    holder.granted(holder.ask(holder.request(Kind.CR)))
    serial = x509.load_der_x509_certificate(holder.certificate_der or b"").serial_number
    with counter.authority.database.reading() as connection:
        told = {(row.actor, row.event) for row in connection.execute(select(audit.c.actor, audit.c.event))}
    assert {
        (f"cmp:{bearer.reference}", "certificate-issued"),
        (f"cmp:{bearer.reference}", "enrolment-used"),
        (f"cmp:{bearer.reference}", "certificate-confirmed"),
        (f"cmp:certificate {serial:x}", "certificate-issued"),
        ("cmp:nobody", "code-wrong"),
    } <= told


def test_a_profile_may_want_new_keys_and_its_own_time(counter: Counter) -> None:
    """General purpose: renewed in its window only and with a new key, and a key serves for one certificate."""

    def bearer_with(key: object) -> Subscriber:
        handed = counter.hand_out(profile_name="personal-general", pre_authorised=True)
        return Subscriber(counter, handed.enrolment.reference, handed.code, key=key)

    holder = bearer_with(ec.generate_private_key(ec.SECP256R1())).enrol()
    early = holder.again()
    assert failure_in(early.ask(early.request(Kind.KUR))) is FailInfo.NOT_AUTHORIZED
    second = bearer_with(holder.signing_key)
    assert failure_in(second.ask(second.request())) is FailInfo.DUPLICATE_CERT_REQ
    counter.clock.turn(days=350)
    kept = holder.again(key=holder.signing_key)
    assert failure_in(kept.ask(kept.request(Kind.KUR))) is FailInfo.BAD_CERT_TEMPLATE
    assert holder.again().enrol(Kind.KUR).state() == "confirmed"
