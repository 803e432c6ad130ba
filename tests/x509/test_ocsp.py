"""Answers of responders: which one counts, for what, until when; and openssl as a responder that we did not write."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.x509.issuer import ANSWERING, DAY, HOUR, REVOKED, SIGNING, Issuer, addresses, now
from tests.x509.web import Web, direct, web_server

from dojang.der import BIT_STRING, OCTET_STRING, SEQUENCE, children, oid, parse, tlv
from dojang.x509.lookup import Sources, look_up
from dojang.x509.ocsp import LARGEST_ANSWER, REQUEST_TYPE, Question, responder_addresses

ISSUER = Issuer()
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = ISSUER.sign(KEY.public_key())
OTHER_LEAF = ISSUER.sign(KEY.public_key())
STRANGER = Issuer("Stranger")
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN
BY_KEY = ocsp.OCSPResponderEncoding.HASH
MINUTE = timedelta(minutes=1)


def judged(answer: Callable[[Question], bytes], **options):
    question = Question(LEAF, ISSUER.certificate)
    return question.standing(answer(question), at=now(), place="here", **options)


def test_a_question_is_one_that_others_read() -> None:
    """About this certificate, with a fresh nonce of 32 bytes."""
    one, other = Question(LEAF, ISSUER.certificate), Question(LEAF, ISSUER.certificate)
    request = ocsp.load_der_ocsp_request(one.to_der())
    assert request.serial_number == LEAF.serial_number
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == one.nonce
    assert len(one.nonce) == 32
    assert one.nonce != other.nonce


@pytest.mark.parametrize("responder", [ISSUER.responder(), ISSUER.delegate()], ids=["issuer", "delegate"])
@pytest.mark.parametrize("encoding", [ocsp.OCSPResponderEncoding.NAME, BY_KEY], ids=["name", "key"])
@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        (ocsp.OCSPCertStatus.GOOD, None, "good"),
        (REVOKED, None, "revoked"),
        (REVOKED, "keyCompromise", "revoked"),
        (REVOKED, "certificateHold", "suspended"),
        (UNKNOWN, None, "unknown"),
    ],
)
def test_each_state_is_told(responder, encoding, status, reason, state) -> None:
    """By the authority itself or by whom it certified, named by name or by key; with the moments of the answer."""
    found = judged(lambda asked: responder.answer(LEAF, asked.nonce, status, reason=reason, encoding=encoding))
    assert (found.state, found.source, found.place) == (state, "ocsp", "here")
    assert bool(found.problem) == (state == "unknown")
    if state != "unknown":
        assert now() - found.this_update_at < MINUTE
        assert (found.since_at is not None) == (status is REVOKED)


def test_an_answer_without_a_nonce_counts_while_it_holds() -> None:
    """As responders give that answer from stock; without an end it could be years old."""
    give = ISSUER.delegate().answer
    assert judged(lambda _: give(LEAF, None, start=now() - DAY, end=now() + DAY)).state == "good"
    assert "it held until" in judged(lambda _: give(LEAF, None, start=now() - 2 * DAY, end=now() - DAY)).problem
    assert "may be an old one" in judged(lambda _: give(LEAF, None)).problem
    assert judged(lambda asked: give(LEAF, asked.nonce)).state == "good"
    assert "long ago" in judged(lambda asked: give(LEAF, asked.nonce, start=now() - 2 * DAY)).problem


def with_critical(answer_der: bytes) -> bytes:
    """The answer with a critical extension in its single answer, signed again by the authority."""
    version_or_name, produced, answers, *rest = children(
        parse(ocsp.load_der_ocsp_response(answer_der).tbs_response_bytes)
    )
    fields = [field.der for field in children(*children(answers))]
    extension = tlv(SEQUENCE, oid("1.2.3"), tlv(0x01, b"\xff"), tlv(OCTET_STRING, b""))
    single = tlv(SEQUENCE, *fields, tlv(0xA1, tlv(SEQUENCE, extension)))
    tbs = tlv(SEQUENCE, version_or_name.der, produced.der, tlv(SEQUENCE, single), *(part.der for part in rest))
    signature = ISSUER.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    basic = tlv(SEQUENCE, tbs, tlv(SEQUENCE, oid("1.2.840.10045.4.3.2")), tlv(BIT_STRING, b"\0" + signature))
    kind = tlv(SEQUENCE, oid("1.3.6.1.5.5.7.48.1.1"), tlv(OCTET_STRING, basic))
    return tlv(SEQUENCE, tlv(0x0A, b"\0"), tlv(0xA0, kind))


def test_what_is_critical_and_not_understood_makes_an_answer_void() -> None:
    """For the whole answer and for the single one in it."""
    give = ISSUER.responder().answer
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"")
    assert judged(lambda asked: give(LEAF, asked.nonce, extensions=[(strange, False)])).state == "good"
    assert "critical" in judged(lambda asked: give(LEAF, asked.nonce, extensions=[(strange, True)])).problem
    assert "critical" in judged(lambda asked: with_critical(give(LEAF, asked.nonce))).problem


def test_another_questions_answer_is_a_replay() -> None:
    """A good answer that was recorded says nothing to a later question."""
    recorded = Question(LEAF, ISSUER.certificate)
    answer = ISSUER.responder().answer(LEAF, recorded.nonce, end=now() + DAY)
    assert recorded.standing(answer, at=now()).state == "good"
    found = judged(lambda _: answer)
    assert found.state == "unknown"
    assert "wrong nonce" in found.problem


def test_clocks_may_differ_by_minutes() -> None:
    """Five; beyond that an answer from the future or of the past does not count."""
    give = ISSUER.responder().answer
    assert judged(lambda asked: give(LEAF, asked.nonce, start=now() + 4 * MINUTE)).state == "good"
    assert judged(lambda asked: give(LEAF, asked.nonce, start=now() - HOUR, end=now() - 4 * MINUTE)).state == "good"
    early = judged(lambda asked: give(LEAF, asked.nonce, start=now() + 6 * MINUTE))
    late = judged(lambda asked: give(LEAF, asked.nonce, start=now() - HOUR, end=now() - 6 * MINUTE))
    assert "still to come" in early.problem
    assert "it held until" in late.problem


NO_CHECK = (x509.OCSPNoCheck(), False)
ONLY_CA = (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)
ENCIPHERING = (x509.KeyUsage(*[False, False, True, *[False] * 6]), True)
WEAK = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("responder", "said"),
    [
        (ISSUER.delegate(()), "OCSPSigning"),
        (ISSUER.delegate([SIGNING]), "OCSPSigning"),
        (ISSUER.delegate([ONLY_CA]), "OCSPSigning"),
        (ISSUER.delegate([ANSWERING, ENCIPHERING]), "OCSPSigning"),
        (ISSUER.delegate(start=now() - 9 * DAY, end=now() - DAY), "expired"),
        (ISSUER.delegate(start=now() + DAY), "not valid"),
        (STRANGER.responder(), "nor anybody"),
        (
            ISSUER.delegate([ANSWERING, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b""), True)]),
            "critical",
        ),
        (STRANGER.delegate(), "no trusted certificate"),
        (Issuer("below", ISSUER).delegate(), "no trusted certificate"),
        (Issuer(ISSUER.common_name).delegate(), "does not verify"),
        (Issuer(ISSUER.common_name).responder(), "does not verify"),
    ],
)
def test_who_may_not_answer(responder, said: str) -> None:
    """RFC 6960 section 4.2.2.2: neither the authority nor somebody that it certified directly for exactly this."""
    found = judged(lambda asked: responder.answer(LEAF, asked.nonce, issuer=ISSUER.certificate))
    assert found.state == "unknown"
    assert said in found.problem


def test_a_responder_that_was_revoked_no_longer_answers() -> None:
    """As the authority's list says, unless its certificate asks for no look."""
    plain, unchecked = ISSUER.delegate(), ISSUER.delegate([ANSWERING, NO_CHECK])
    crls = [ISSUER.crl(*((one.certificate, "keyCompromise") for one in (plain, unchecked)))]
    assert "revoked" in judged(lambda asked: plain.answer(LEAF, asked.nonce), crls_der=crls).problem
    assert judged(lambda asked: unchecked.answer(LEAF, asked.nonce), crls_der=crls).state == "good"
    assert judged(lambda asked: plain.answer(LEAF, asked.nonce), crls_der=[ISSUER.crl(), b"noise"]).state == "good"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda asked: ISSUER.responder().answer(OTHER_LEAF, asked.nonce), "another certificate"),
        (lambda asked: STRANGER.responder().answer(LEAF, asked.nonce), "another certificate"),
        (lambda _: ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER), "try later"),
        (lambda _: ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED), "unauthorized"),
        (lambda _: b"", "decoded"),
        (lambda _: b"<html>not here</html>", "decoded"),
        (lambda _: b"0" * (LARGEST_ANSWER + 1), "larger"),
    ],
)
def test_answers_that_tell_nothing(answer, said: str) -> None:
    """About others, errors, no answers at all."""
    given = answer if not hasattr(answer(Question(LEAF, ISSUER.certificate)), "public_bytes") else _encoded(answer)
    assert said in judged(given).problem


def _encoded(answer):
    return lambda asked: answer(asked).public_bytes(Encoding.DER)


GENUINE_QUESTION = Question(LEAF, ISSUER.certificate)
GENUINE = ISSUER.delegate().answer(LEAF, GENUINE_QUESTION.nonce)


@settings(max_examples=400)
@given(st.integers(0, len(GENUINE) - 1), st.integers(1, 255))
def test_no_changed_byte_makes_another_good_answer(position: int, change: int) -> None:
    """Whatever bit is flipped on the way, nothing is raised, and the answer is good as it was or says nothing."""
    damaged = bytearray(GENUINE)
    damaged[position] ^= change
    found = GENUINE_QUESTION.standing(bytes(damaged), at=now())
    assert found.state in ("good", "unknown")


@given(st.binary(max_size=400))
def test_any_bytes_say_nothing(noise: bytes) -> None:
    """Garbage, alone and after the beginning of a real answer."""
    for given_bytes in (noise, GENUINE[: len(noise)], GENUINE[: len(noise)] + noise, GENUINE + noise + b"0"):
        assert GENUINE_QUESTION.standing(given_bytes, at=now()).state == "unknown"


def test_an_authoritys_weak_key_answers_nothing() -> None:
    """1024 bits are not enough to tell anything."""
    weak = Issuer("Weak", key=WEAK)
    leaf = weak.sign(KEY.public_key())
    question = Question(leaf, weak.certificate)
    found = question.standing(weak.responder().answer(leaf, question.nonce), at=now())
    assert "does not verify" in found.problem


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


def test_the_responder_that_a_certificate_names_is_asked(web: Web) -> None:
    """By POST with the right type; a list is not fetched once it has told."""
    certificate = ISSUER.sign(
        KEY.public_key(), extensions=addresses(ocsp_at=f"{web.base}/ocsp", list_at=f"{web.base}/list")
    )
    assert responder_addresses(certificate) == [f"{web.base}/ocsp"]
    types = []

    def page(handler, body: bytes) -> None:
        types.append((handler.command, handler.headers["Content-Type"]))
        answer = ISSUER.delegate().reply(body, certificate)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(answer)

    web.put("/ocsp", page)
    (found,) = look_up([certificate, ISSUER.certificate], Sources(), now())
    assert (found.standing.state, found.standing.place) == ("good", f"{web.base}/ocsp")
    assert types == [("POST", REQUEST_TYPE)]
    assert web.asked == ["/ocsp"]
    (unasked,) = look_up([certificate, ISSUER.certificate], Sources(offline=True), now())
    assert unasked.standing.state == "unknown"
    assert web.asked == ["/ocsp"]


@contextmanager
def openssl_ocsp(folder: Path, signer: str, *options: str) -> Iterator[str]:
    """``openssl ocsp`` over an index, at a port of its own choice."""
    words = f"ocsp -index index.txt -CA ca.pem -rsigner {signer}.pem -rkey {signer}.key -port 0"
    command = ["openssl", *words.split(), *options]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        accepting = re.match(r"ACCEPT .*:(\d+) ", running.stdout.readline())
        with direct():
            yield f"http://127.0.0.1:{accepting[1]}/"
    finally:
        running.kill()
        running.communicate()


def _write(folder: Path, name: str, certificate: x509.Certificate, key) -> None:
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _line(state: str, certificate: x509.Certificate, reason: str = "") -> str:
    ended = f"{now() - DAY:%y%m%d%H%M%SZ}{reason}" if state == "R" else ""
    until = f"{certificate.not_valid_after_utc:%y%m%d%H%M%SZ}"
    return f"{state}\t{until}\t{ended}\t{certificate.serial_number:040X}\tunknown\t/CN=Hong\n"


def test_openssl_as_the_responder(tmp_path: Path) -> None:
    """Good, revoked, on hold and unknown as OpenSSL's index has them; by the authority's key and by a delegate's."""
    certificates = [ISSUER.sign(KEY.public_key()) for _ in range(4)]
    lines = [("V", ""), ("R", ",keyCompromise"), ("R", ",certificateHold")]
    index = [_line(state, one, reason) for one, (state, reason) in zip(certificates, lines, strict=False)]
    (tmp_path / "index.txt").write_text("".join(index))
    delegate, usurper = ISSUER.delegate([ANSWERING, NO_CHECK]), ISSUER.delegate([SIGNING])
    _write(tmp_path, "ca", ISSUER.certificate, ISSUER.key)
    _write(tmp_path, "delegate", delegate.certificate, delegate.key)
    rsa_key = rsa.generate_private_key(65537, 2048)
    _write(tmp_path, "pss", ISSUER.sign(rsa_key.public_key(), "PSS", [ANSWERING]), rsa_key)
    _write(tmp_path, "usurper", usurper.certificate, usurper.key)
    wanted = ["good", "revoked", "suspended", "unknown"]
    for signer, options, states in (
        ("delegate", (), wanted),
        ("ca", ("-ndays", "1", "-resp_key_id"), wanted),
        ("pss", ("-rsigopt", "rsa_padding_mode:pss"), wanted),
        ("pss", ("-rsigopt", "rsa_padding_mode:pss", "-rmd", "sha1"), ["unknown"] * 4),
        ("usurper", (), ["unknown"] * 4),
    ):
        with openssl_ocsp(tmp_path, signer, *options) as url:
            found = [_state(one, url) for one in certificates]
        assert found == states, signer


def _state(certificate: x509.Certificate, url: str) -> str:
    (found,) = look_up([certificate, ISSUER.certificate], Sources(responder=url), now())
    return found.standing.state
