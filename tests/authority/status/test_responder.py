"""The OCSP responder: what it says of each certificate, to whom, and with whose key."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from tests.authority.status.bureau import opened

from dojang.authority.database import Database
from dojang.authority.status.stock import Stock
from dojang.der import SEQUENCE, children, parse, tlv
from dojang.errors import CertificateUnusable, RootOffline, TokenRemoved
from dojang.x509.ocsp import Question
from dojang.x509.ocsp_responder import why_not_authorized

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
NONCE = b"n" * 32
GONE = TokenRemoved(token="HSM")


def load(answer: Any) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(answer.der)


def nonce_of(response: ocsp.OCSPResponse) -> bytes:
    return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce


def test_each_state_is_told(any_bureau: Any, clock: Any) -> None:
    """Good, revoked with reason and moment, on hold, unknown: to our own checker, which finds the signer in order."""
    bureau, issuer = any_bureau, any_bureau.own["issuing"]
    responder, subscriber = bureau.responder(), bureau.issue()
    for state, reason, told in (
        ("confirmed", None, "good"),
        ("suspended", "certificateHold", "suspended"),
        ("confirmed", None, "good"),
        ("revoked", "keyCompromise", "revoked"),
    ):
        clock.turn(0.1)
        bureau.change(subscriber, state, reason)
        question = Question(subscriber, issuer)
        standing = question.standing(responder.answer(question.to_der()).der, at=clock(), place="here")
        assert (standing.state, standing.problem) == (told, "")
        assert standing.since_at == (None if told == "good" else clock())


@pytest.mark.parametrize("reason", ["unspecified", "superseded", "cACompromise", "privilegeWithdrawn"])
def test_the_reason_is_told(bureau: Any, request_about: Any, reason: str) -> None:
    """As recorded; unspecified is left out."""
    subscriber = bureau.issue()
    bureau.change(subscriber, "revoked", reason)
    response = load(bureau.responder().answer(request_about(subscriber, bureau.own["issuing"])))
    assert response.certificate_status is REVOKED
    assert response.revocation_reason == (None if reason == "unspecified" else x509.ReasonFlags(reason))


def test_a_certified_responder_signs(bureau: Any, request_about: Any, clock: Any) -> None:
    """Its certificate rides along, names it for answering only, and need not be asked about itself."""
    response = load(bureau.responder().answer(request_about(bureau.issue(), bureau.own["issuing"])))
    assert response.certificates == [bureau.own["ocsp"]]
    assert response.responder_key_hash is not None
    assert why_not_authorized(response, bureau.own["issuing"], clock()) is None
    usage = bureau.own["ocsp"].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.OCSP_SIGNING]
    bureau.own["ocsp"].extensions.get_extension_for_class(x509.OCSPNoCheck)


def test_without_one_the_issuing_key_signs(bureau: Any, request_about: Any, clock: Any) -> None:
    """For the root, which has none, and for the issuing authority when its responder's certificate is over."""
    response = load(bureau.responder().answer(request_about(bureau.own["issuing"], bureau.own["root"])))
    assert (response.certificates, response.certificate_status) == ([], GOOD)
    assert why_not_authorized(response, bureau.own["root"], clock()) is None
    subscriber = bureau.issue()
    clock.turn(31)
    response = load(bureau.responder().answer(request_about(subscriber, bureau.own["issuing"])))
    assert response.certificates == []
    assert why_not_authorized(response, bureau.own["issuing"], clock()) is None


def test_the_newest_responder_that_holds_signs(bureau: Any, request_about: Any, clock: Any) -> None:
    """So a successor takes over as soon as it is certified, and what was in stock is signed by it."""
    subscriber, responder = bureau.issue(), bureau.responder()
    request = request_about(subscriber, bureau.own["issuing"])
    assert load(responder.answer(request)).certificates == [bureau.own["ocsp"]]
    clock.turn(0.2)
    bureau.found("ocsp-2", "ocsp", "issuing")
    assert load(bureau.responder().answer(request)).certificates == [bureau.own["ocsp-2"]]


def test_each_generation_answers_for_its_own(bureau: Any, request_about: Any, clock: Any) -> None:
    """After a rollover too, under the same name: the key tells them apart, and the other's serials are unknown."""
    old = bureau.issue()
    bureau.found("issuing-2", "issuing", "root", subject="CN=issuing,O=Example,C=KR")
    bureau.rotate("issuing", "issuing-2")
    new, responder = bureau.issue("issuing-2"), bureau.responder()
    for subscriber, name, other in ((old, "issuing", "issuing-2"), (new, "issuing-2", "issuing")):
        response = load(responder.answer(request_about(subscriber, bureau.own[name])))
        assert response.certificate_status is GOOD
        assert why_not_authorized(response, bureau.own[name], clock()) is None
        assert load(responder.answer(request_about(subscriber, bureau.own[other]))).certificate_status is UNKNOWN


def test_nobody_answers_for_a_retired_key(bureau: Any, request_about: Any) -> None:
    """All that it signed has expired; a responder that is retired signs no answer any more."""
    bureau.found("issuing-2", "issuing", "root")
    bureau.rotate("issuing", "issuing-2")
    request = request_about(bureau.issue(), bureau.own["issuing"])
    bureau.retire("ocsp")
    assert load(bureau.responder().answer(request)).certificates == []
    bureau.retire("issuing")
    assert bureau.responder().answer(request).outcome == "unauthorized"


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_issuer_is_known_by_any_hash(bureau: Any, request_about: Any, algorithm: Any) -> None:
    """The answer names it by the same one."""
    request = request_about(bureau.issue(), bureau.own["issuing"], algorithm=algorithm)
    response = load(bureau.responder().answer(request))
    assert (response.hash_algorithm.name, response.certificate_status) == (algorithm.name, GOOD)


def test_a_serial_that_was_never_issued_is_unknown(bureau: Any, request_about: Any) -> None:
    """Not for long, since it may be issued next, and nobody is to keep it; then it is known at once."""
    responder = bureau.responder()
    for serial in (1, 2**159 - 1, 12345):
        answer = responder.answer(request_about(serial, bureau.own["issuing"]))
        assert load(answer).certificate_status is UNKNOWN
        assert not answer.is_cacheable
        assert answer.term.next_update_at - answer.term.this_update_at <= timedelta(minutes=10)


def test_it_can_be_called_revoked_instead(bureau: Any, request_about: Any) -> None:
    """RFC 6960 section 2.2: on hold since 1970, and the answer says that this may be so of what was never issued."""
    responder = bureau.responder(call_unissued_revoked=True)
    response = load(responder.answer(request_about(4711, bureau.own["issuing"], NONCE)))
    assert (response.certificate_status, response.revocation_reason) == (REVOKED, x509.ReasonFlags.certificate_hold)
    assert response.revocation_time_utc == datetime(1970, 1, 1, tzinfo=UTC)
    assert x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.9") in [one.oid for one in response.extensions]
    assert load(responder.answer(request_about(bureau.issue(), bureau.own["issuing"]))).certificate_status is GOOD


@pytest.mark.parametrize("length", [1, 16, 32, 128])
def test_a_nonce_is_answered_live(bureau: Any, request_about: Any, length: int) -> None:
    """Repeated as it came, of any length that RFC 9654 allows; signed anew every time."""
    subscriber, responder = bureau.issue(), bureau.responder()
    request = request_about(subscriber, bureau.own["issuing"], b"x" * length)
    one, other = responder.answer(request), responder.answer(request)
    assert nonce_of(load(one)) == b"x" * length
    assert one.der != other.der
    assert not one.is_cacheable


@pytest.mark.parametrize("nonce", [b"", b"x" * 129, None])
def test_a_nonce_of_a_wrong_length_is_refused(bureau: Any, request_about: Any, nonce: bytes | None) -> None:
    """RFC 9654 section 2.1; and one that is no OCTET STRING."""
    good = request_about(bureau.issue(), bureau.own["issuing"], NONCE)
    value = b"\x05\x00" if nonce is None else tlv(0x04, nonce)
    (tbs,) = children(parse(good))
    requests, _ = children(tbs)
    extension = tlv(SEQUENCE, bytes.fromhex("06092b0601050507300102"), tlv(0x04, value))
    bad = tlv(SEQUENCE, tlv(SEQUENCE, requests.der, tlv(0xA2, tlv(SEQUENCE, extension))))
    assert bureau.responder().answer(bad).outcome == "malformed_request"


def test_without_a_nonce_the_answer_comes_from_stock(bureau: Any, request_about: Any, clock: Any) -> None:
    """The same bytes for half its term, then new ones; the key is needed no more often."""
    subscriber, responder = bureau.issue(), bureau.responder(answer_hours=12)
    request = request_about(subscriber, bureau.own["issuing"])
    first = responder.answer(request)
    assert first.term.this_update_at == clock()
    assert first.term.next_update_at == clock() + timedelta(hours=12)
    assert first.is_cacheable
    key, bureau.keys["ocsp"] = bureau.keys["ocsp"], GONE
    clock.turn(5.9 / 24)
    assert responder.answer(request).der == first.der
    bureau.keys["ocsp"] = key
    clock.turn(0.2 / 24)
    assert responder.answer(request).der != first.der


def test_a_change_counts_at_once_in_every_process(any_bureau: Any, request_about: Any) -> None:
    """Two openings of one database: what is recorded in one, the other tells with its next answer."""
    bureau, subscriber = any_bureau, any_bureau.issue()
    request = request_about(subscriber, bureau.own["issuing"])
    other_database = Database.open(bureau.database.url)
    other = type(bureau)(other_database, bureau.folder, bureau.clock, bureau.keys, bureau.own).responder()
    own = bureau.responder()
    try:
        for state, reason, told in (
            ("confirmed", None, GOOD),
            ("suspended", "certificateHold", REVOKED),
            ("confirmed", None, GOOD),
            ("revoked", "keyCompromise", REVOKED),
            ("revoked", "superseded", REVOKED),
        ):
            bureau.change(subscriber, state, reason)
            for responder in (own, other):
                response = load(responder.answer(request))
                assert response.certificate_status is told
                assert response.revocation_reason == (x509.ReasonFlags(reason) if reason else None)
    finally:
        other_database.close()


def test_answers_are_prepared_for_every_process(any_bureau: Any, request_about: Any, clock: Any) -> None:
    """A job signs them; others answer without a key, until the state is another one. What is right is left alone."""
    bureau = any_bureau
    subscribers = [bureau.issue() for _ in range(3)]
    bureau.change(subscribers[2], "revoked", "superseded")
    assert bureau.responder().prepare(clock()) == 5  # and those of the authority's own keys
    assert bureau.responder().prepare(clock()) == 0
    bureau.keys["ocsp"] = GONE
    told = [load(bureau.responder().answer(request_about(one, bureau.own["issuing"]))) for one in subscribers]
    assert [one.certificate_status for one in told] == [GOOD, GOOD, REVOKED]
    bureau.change(subscribers[0], "revoked", "keyCompromise")
    assert bureau.responder().answer(request_about(subscribers[0], bureau.own["issuing"])).outcome == "try_later"


def test_preparing_goes_on_where_it_stopped(bureau: Any, clock: Any) -> None:
    """So many at once; anew when half the term is over or the state has changed; what has expired goes."""
    subscribers = [bureau.issue() for _ in range(4)]
    responder = bureau.responder()
    assert bureau.responder(prepare=False).prepare(clock()) == 0
    assert [responder.prepare(clock(), most=2) for _ in range(4)] == [2, 2, 2, 0]
    bureau.change(subscribers[0], "suspended", "certificateHold")
    assert responder.prepare(clock()) == 1
    clock.turn(0.3)
    assert responder.prepare(clock()) == 6
    clock.turn(400)
    assert responder.prepare(clock()) == 1  # of the issuing authority
    with bureau.database.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM ocsp_answer").scalar() == 1


def test_several_certificates_are_answered_under_one_signature(bureau: Any, request_about: Any, clock: Any) -> None:
    """In their order; one of another authority is unknown."""
    issuer = bureau.own["issuing"]
    good, revoked = bureau.issue(), bureau.issue()
    bureau.change(revoked, "revoked", "superseded")
    stranger = (12345, bureau.own["root"])
    for nonce in (None, NONCE):
        asked = [request_about(one, above, nonce) for one, above in ((good, issuer), (revoked, issuer), stranger)]
        parts = [children(children(parse(one))[0]) for one in asked]
        requests = tlv(SEQUENCE, *(part[0].content for part in parts))
        request = tlv(SEQUENCE, tlv(SEQUENCE, requests, *(one.der for one in parts[0][1:])))
        response = load(bureau.responder().answer(request))
        singles = list(response.responses)
        assert [one.certificate_status for one in singles] == [GOOD, REVOKED, UNKNOWN]
        assert [one.serial_number for one in singles] == [good.serial_number, revoked.serial_number, 12345]
        assert why_not_authorized(response, issuer, clock()) is None
        assert nonce is None or nonce_of(response) == nonce


@pytest.mark.parametrize("algorithm", ["ec-p384", "ec-p521", "rsa-2048", "ed25519"])
def test_any_kind_of_key_signs_for_several(bureau: Any, request_about: Any, new_key: Any, algorithm: str) -> None:
    """The algorithm named is the one used."""
    bureau.found("issuing-2", "issuing", "root", key=new_key(algorithm))
    one = request_about(bureau.issue("issuing-2"), bureau.own["issuing-2"])
    (tbs,) = children(parse(one))
    (requests,) = children(tbs)
    response = load(bureau.responder().answer(tlv(SEQUENCE, tlv(SEQUENCE, tlv(SEQUENCE, requests.content * 2)))))
    assert len(list(response.responses)) == 2
    assert why_not_authorized(response, bureau.own["issuing-2"], bureau.clock()) is None


def test_strangers_certificates_are_not_answered_for(bureau: Any, request_about: Any) -> None:
    """Unsigned, as RFC 6960 section 2.3 says, and so is what is no request at all."""
    bureau.found("elsewhere-9", "root")
    elsewhere = bureau.own["elsewhere-9"]
    with bureau.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM signer WHERE id = 'elsewhere-9'")
    responder = bureau.responder()
    answer = responder.answer(request_about(1, elsewhere))
    assert (answer.outcome, load(answer).response_status.name) == ("unauthorized", "UNAUTHORIZED")
    for nonsense in (b"", b"0", b"\x30\x80\0\0", b"\0" * 70_000, request_about(1, elsewhere)[:-1]):
        assert load(responder.answer(nonsense)).response_status.name == "MALFORMED_REQUEST"


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (GONE, "TRY_LATER"),
        (RootOffline(authority="office"), "UNAUTHORIZED"),
        (CertificateUnusable(subject="CN=ocsp", problem="the private key does not belong to it"), "INTERNAL_ERROR"),
    ],
    ids=["token", "offline", "another"],
)
def test_without_its_key_it_says_so(bureau: Any, request_about: Any, failure: Exception, status: str) -> None:
    """Unsigned; as soon as the key is there again, it answers."""
    request, key = request_about(bureau.issue(), bureau.own["issuing"], NONCE), bureau.keys["ocsp"]
    responder = bureau.responder()
    bureau.keys["ocsp"] = failure
    assert load(responder.answer(request)).response_status.name == status
    bureau.keys["ocsp"] = key
    assert load(responder.answer(request)).certificate_status is GOOD


def test_an_answer_that_still_holds_is_given_when_the_key_is_away(bureau: Any, request_about: Any, clock: Any) -> None:
    """To its very end, and no longer."""
    request, responder = request_about(bureau.issue(), bureau.own["issuing"]), bureau.responder(answer_hours=10)
    first = responder.answer(request)
    bureau.keys["ocsp"] = GONE
    clock.turn(9.9 / 24)
    assert responder.answer(request).der == first.der
    clock.turn(0.2 / 24)
    assert responder.answer(request).outcome == "try_later"


def test_a_clock_set_back_gets_no_answer_from_the_future(bureau: Any, request_about: Any, clock: Any) -> None:
    """One from stock that begins later than now is signed anew."""
    request, responder = request_about(bureau.issue(), bureau.own["issuing"]), bureau.responder()
    responder.answer(request)
    clock.turn(-0.01)
    assert load(responder.answer(request)).this_update_utc == clock()


def test_an_answer_ends_with_its_signers_certificate(bureau: Any, request_about: Any, clock: Any) -> None:
    """Nobody is told to rely on it longer."""
    subscriber = bureau.issue()
    clock.turn(29.8)
    answer = bureau.responder(answer_hours=24).answer(request_about(subscriber, bureau.own["issuing"]))
    assert answer.term.next_update_at == bureau.own["ocsp"].not_valid_after_utc


def test_a_flood_of_unknown_serials_pushes_no_answer_out(bureau: Any, request_about: Any) -> None:
    """They have a small stock of their own."""
    responder, subscriber = bureau.responder(), bureau.issue()
    first = responder.answer(request_about(subscriber, bureau.own["issuing"]))
    responder._strangers = Stock(8)
    for serial in range(1, 20):
        responder.answer(request_about(serial, bureau.own["issuing"]))
    assert len(responder._strangers) == 8
    assert responder.answer(request_about(subscriber, bureau.own["issuing"])).der == first.der


def test_one_question_to_the_database_an_answer(bureau: Any, request_about: Any) -> None:
    """By the unique index over serials, so that it does not matter how many certificates there are."""
    responder, subscriber = bureau.responder(), bureau.issue()
    request, asked = request_about(subscriber, bureau.own["issuing"]), []
    responder.answer(request)
    glances = bureau.database.glances
    glances.close()  # so that the next connection is a new one
    glances.watch = lambda connection: connection.set_trace_callback(asked.append)
    responder.answer(request)
    assert len(asked) == 1
    with bureau.database.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0]}").all()
    (step,) = [row[-1] for row in plan]
    assert re.fullmatch(r"SEARCH certificate USING INDEX \w+ \(serial=\?\)", step)


def test_what_is_in_stock_is_answered_at_once(bureau: Any, request_about: Any, clock: Any) -> None:
    """Without a key; what has to be signed is for whoever can wait, and so is everything where records are far away."""
    subscriber, responder = bureau.issue(), bureau.responder()
    request, live = (request_about(subscriber, bureau.own["issuing"], nonce) for nonce in (None, NONCE))
    assert responder.answer_at_once(request) is None
    first = responder.answer(request)
    assert responder.answer_at_once(request) == first
    assert responder.answer_at_once(b"nonsense") == responder.answer(b"nonsense")
    assert responder.answer_at_once(live) is None
    bureau.change(subscriber, "revoked", "superseded")
    assert responder.answer_at_once(request) is None
    assert load(responder.answer(request)).certificate_status is REVOKED
    clock.turn(1)
    assert responder.answer_at_once(request) is None
    bureau.database.is_embedded = False
    assert responder.answer_at_once(b"nonsense") is None


def test_a_lost_connection_is_replaced(postgres: Any, tmp_path: Any, clock: Any, request_about: Any) -> None:
    """The database was restarted: the next answer comes as if nothing had been. While it is away, ask again later."""
    url = postgres.new_database()
    Database.create(url).close()
    with opened(url, tmp_path, clock) as bureau:
        responder, request = bureau.responder(), request_about(bureau.issue(), bureau.own["issuing"])
        responder.answer(request)
        name = url.partition("?")[0].rpartition("/")[2]
        cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        postgres.execute(cut)
        assert load(responder.answer(request)).certificate_status is GOOD
        postgres.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        postgres.execute(cut)
        assert load(responder.answer(request)).response_status.name == "TRY_LATER"
        postgres.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert load(responder.answer(request)).certificate_status is GOOD
