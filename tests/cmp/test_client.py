"""One conversation, message by message: what is believed, what is sent again, and when it is given up."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.authority.base import Submission
from dojang.authority.parties import ByCode
from dojang.authority.remote import Forgetful, RemoteAuthority, Terms
from dojang.cmp.bodies import (
    Answer,
    Body,
    Certification,
    Certified,
    Confirmations,
    Confirmed,
    Failure,
    Kind,
    Poll,
    RevocationRequest,
    Revoked,
    Status,
    Wait,
    Waiting,
)
from dojang.cmp.client import PAUSES, Conversation, Patience
from dojang.cmp.crmf import CertificateTemplate, build_request
from dojang.cmp.faults import FailInfo, PkiStatus
from dojang.cmp.macs import Mac, new_pbm
from dojang.cmp.messages import Header, Message, implicit_confirm, new_nonce, read_message, write_message
from dojang.cmp.refusals import MEANINGS
from dojang.cmp.schema import Frame, decode, der_of
from dojang.cmp.signatures import certificate_hash
from dojang.cmp.trust import Judge
from dojang.cmp.wanted import revocation_of
from dojang.der import BIT_STRING, SEQUENCE, tlv
from dojang.errors import AnswerPending, AuthorityRefused, AuthorityUnreachable, AuthorityUntrusted, DojangError
from dojang.secret import Secret
from dojang.x509.name import parse_name

CODE = Secret("authcode123")
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.now(UTC)
NAME = parse_name("CN=Hong")
CERTIFICATE_DER = (
    x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 7, NOW, NOW + timedelta(1))
    .sign(KEY, hashes.SHA256())
    .public_bytes(Encoding.DER)
)
REQUEST = Certification(Kind.IR, (build_request(KEY, CertificateTemplate(subject=NAME)),))
GRANTED = Certified(Kind.IP, (Answer(0, Status(), CERTIFICATE_DER),))
ASKED_TO_WAIT = Certified(Kind.IP, (Answer(0, Status(PkiStatus.WAITING)),))


@dataclass
class Peer:
    """Answers what is next on its list; a function on it makes the whole answer, or fails."""

    answers: list[Any]
    asked: list[bytes] = field(default_factory=list)
    notes: Forgetful = field(default_factory=Forgetful)
    slept: list[float] = field(default_factory=list)
    waits: list[int] = field(default_factory=list)
    seconds: float = 100.0

    def post(self, der: bytes) -> bytes:
        self.asked.append(der)
        answer = self.answers.pop(0)
        return answer(read_message(der)) if callable(answer) else answering(read_message(der), answer)

    @property
    def bodies(self) -> list[type]:
        return [type(read_message(der).body) for der in self.asked]

    def conversation(self) -> Conversation:
        judge = Judge("the authority", (), lambda: NOW, lambda: CODE)
        party = ByCode("123", lambda: CODE, None)
        patience = Patience(self.seconds, self.waits.append, self.slept.append)
        return Conversation(self.post, party, judge, b"t" * 16, self.notes, patience)


def answering(asked: Message, body: Body, **changes: Any) -> bytes:
    header = Header(
        transaction_id=asked.header.transaction_id,
        sender_nonce=new_nonce(),
        recipient_nonce=asked.header.sender_nonce,
    )
    return write_message(replace(header, **changes), body, Mac(CODE, new_pbm(100)))


def unreachable(sent: bool) -> Callable[[Message], bytes]:
    def fail(_asked: Message) -> bytes:
        raise AuthorityUnreachable(authority="the authority", problem="gone", sent=sent)

    return fail


def test_granted_and_confirmed() -> None:
    """Each message repeats the nonce of the answer before; the hash in certConf is that of the certificate."""
    peer = Peer([GRANTED, Confirmed()])
    conversation = peer.conversation()
    granted = conversation.certify(REQUEST)
    conversation.confirm(granted)
    first, second = map(read_message, peer.asked)
    assert granted.certificate_der == CERTIFICATE_DER
    assert first.header.transaction_id == second.header.transaction_id == b"t" * 16
    assert first.header.recipient_nonce is None
    assert second.header.recipient_nonce is not None
    assert second.header.sender_nonce not in (first.header.sender_nonce, None)
    assert second.body.items[0].certificate_hash == certificate_hash(CERTIFICATE_DER)
    assert second.body.items[0].is_accepted


def test_said_once() -> None:
    """Asked again with the same notes, by another process too, nothing is sent twice."""
    peer = Peer([GRANTED, Confirmed()])
    for _ in range(2):
        conversation = peer.conversation()
        conversation.confirm(conversation.certify(REQUEST))
    assert peer.bodies == [Certification, Confirmations]


def test_no_confirmation_where_none_is_wanted() -> None:
    """An authority that needs no certConf says so in its answer."""
    peer = Peer([lambda asked: answering(asked, GRANTED, information=(implicit_confirm(),))])
    conversation = peer.conversation()
    conversation.confirm(conversation.certify(REQUEST))
    assert peer.bodies == [Certification]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipient_nonce": b"x" * 16}, "to another message"),
        ({"recipient_nonce": None}, "to another message"),
        ({"transaction_id": b"o" * 16}, "another transaction"),
        ({"transaction_id": None}, "another transaction"),
    ],
)
def test_answers_to_something_else(changes: dict[str, Any], said: str) -> None:
    """A good MAC is not enough: an answer belongs to one message of one transaction."""
    peer = Peer([lambda asked: answering(asked, GRANTED, **changes)])
    with pytest.raises(AuthorityUntrusted, match=said):
        peer.conversation().certify(REQUEST)


@pytest.mark.parametrize("body", [Confirmed(), Revoked((Status(),)), Waiting(())])
def test_answers_of_another_kind(body: Body) -> None:
    """What answers another kind of question is none."""
    with pytest.raises(AuthorityUntrusted):
        Peer([body]).conversation().certify(REQUEST)


def test_the_same_bytes_again() -> None:
    """A lost answer is asked for with the very bytes, after ever longer pauses."""
    peer = Peer([unreachable(True), unreachable(False), GRANTED])
    peer.conversation().certify(REQUEST)
    assert len(set(peer.asked)) == 1
    assert peer.slept == list(PAUSES[:2])


def test_given_up_for_now() -> None:
    """After the last pause it waits in the notes; the next run begins with the same bytes."""
    peer = Peer([unreachable(True)] * (len(PAUSES) + 1) + [GRANTED])
    with pytest.raises(AnswerPending):
        peer.conversation().certify(REQUEST)
    peer.conversation().certify(REQUEST)
    assert len(set(peer.asked)) == 1


def test_nobody_has_read_it() -> None:
    """What certainly reached nobody is not tried for long, and is as if it had not been said."""
    peer = Peer([unreachable(False)])
    conversation = peer.conversation()
    with pytest.raises(AuthorityUnreachable):
        conversation.certify(REQUEST)
    assert (peer.slept, conversation.is_begun) == ([], False)


def test_waiting() -> None:
    """Waits as long as it is told to, and says so; then the certificate is there."""
    peer = Peer([ASKED_TO_WAIT, Waiting((Wait(0, 7),)), Waiting((Wait(0, 0),)), GRANTED])
    peer.conversation().certify(REQUEST)
    assert peer.bodies == [Certification, Poll, Poll, Poll]
    assert peer.waits == [7, 1]
    assert peer.slept == [7, 1]


def test_waiting_too_long() -> None:
    """Who has less patience than the authority wants comes back another time, and asks nothing before that."""
    peer = Peer([ASKED_TO_WAIT, Waiting((Wait(0, 86400),))])
    for _ in range(2):
        with pytest.raises(AnswerPending, match="86400 seconds"):
            peer.conversation().certify(REQUEST)
    assert peer.bodies == [Certification, Poll]


def test_an_error_that_means_wait() -> None:
    """Any answer may be put off that way (RFC 9810 section 5.3.22)."""
    details = RevocationRequest((revocation_of(CERTIFICATE_DER, x509.ReasonFlags.superseded),))
    peer = Peer([Failure(Status(PkiStatus.WAITING)), Waiting((Wait(-1, 2),)), Revoked((Status(),))])
    peer.conversation().revoke(details)
    assert read_message(peer.asked[1]).body == Poll((-1,))
    peer.conversation().revoke(details)
    assert len(peer.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Revoked((Status(PkiStatus.REJECTION, (), frozenset((FailInfo.CERT_REVOKED,))),)),
        Failure(Status(PkiStatus.REJECTION, (), frozenset((FailInfo.CERT_REVOKED,)))),
    ],
)
def test_revoked_already(answer: Body) -> None:
    """Is as good as revoked."""
    Peer([answer]).conversation().revoke(
        RevocationRequest((revocation_of(CERTIFICATE_DER, x509.ReasonFlags.superseded),))
    )


@pytest.mark.parametrize("failure", FailInfo)
def test_every_refusal_has_words(failure: FailInfo) -> None:
    """Its own word is told; where we know what it means, that and what to do."""
    status = Status(PkiStatus.REJECTION, ("said\x1b[2J so",), frozenset((failure,)))
    for answer in (Failure(status), Certified(Kind.IP, (Answer(0, status),))):
        leaf = AuthorityUnreachable if failure is FailInfo.SYSTEM_UNAVAIL else AuthorityRefused
        with pytest.raises(leaf) as caught:
            Peer([answer]).conversation().certify(REQUEST)
        assert failure.spelling in str(caught.value)
        assert "\x1b" not in str(caught.value)
        if failure in MEANINGS:
            assert str(MEANINGS[failure].problem) in str(caught.value)


def test_who_may_not_is_led_back_to_the_reason() -> None:
    """It may be too early to renew, or a hold: a code is not what helps then."""
    said = "renewal is possible from 30 days before expiry"
    status = Status(PkiStatus.REJECTION, (said,), frozenset((FailInfo.NOT_AUTHORIZED,)))
    with pytest.raises(AuthorityRefused) as caught:
        Peer([Failure(status)]).conversation().certify(REQUEST)
    assert said in str(caught.value)
    assert str(caught.value.advice()).startswith("Do what it says; ")


@pytest.mark.parametrize("failure", [FailInfo.SYSTEM_UNAVAIL, FailInfo.SYSTEM_FAILURE])
def test_an_authority_without_its_keys(failure: FailInfo) -> None:
    """It cannot protect what it says; the request waits, and is sent again as it was."""
    body = Failure(Status(PkiStatus.REJECTION, (), frozenset((failure,))))
    peer = Peer([lambda asked: write_message(read_message(answering(asked, body)).header, body), GRANTED])
    with pytest.raises(AnswerPending):
        peer.conversation().certify(REQUEST)
    peer.conversation().certify(REQUEST)
    assert len(set(peer.asked)) == 1


def test_no_certificate_in_what_was_granted() -> None:
    """A status without a certificate is no answer."""
    with pytest.raises(AuthorityRefused):
        Peer([Certified(Kind.IP, (Answer(0, Status()),))]).conversation().certify(REQUEST)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("seed", range(4))
def test_damaged_answers(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the authority's answers are damaged, before they are protected or after, we end with an error of ours."""
    random = Random(seed)
    bodies = (GRANTED, ASKED_TO_WAIT, Waiting((Wait(0, 3),)), Failure(Status(2, ("no",))), Confirmed())

    def damaged(der: bytes) -> bytes:
        place = random.randrange(len(der))
        return der[:place] + random.randbytes(random.randrange(3)) + der[place + random.randrange(3) :]

    def post(der: bytes) -> bytes:
        answer = answering(read_message(der), random.choice(bodies))
        if random.random() < 0.3:
            return damaged(answer)
        frame, algorithm = decode(Frame, answer), read_message(answer).header.protection
        parts = der_of(frame.header), damaged(der_of(frame.body))
        protection = Mac(CODE, algorithm).protect(tlv(SEQUENCE, *parts))
        return tlv(SEQUENCE, *parts, tlv(0xA0, tlv(BIT_STRING, b"\0", protection)))

    for number in range(60):
        terms = Terms(introductions=Introduced(), patience=lambda: Patience(10, sleep=lambda seconds: None))
        authority = RemoteAuthority("http://127.0.0.1:9/", terms)
        monkeypatch.setattr(authority, "_lines", Peer([]))
        monkeypatch.setattr(authority._lines, "post", post)
        transaction = f"{number:032x}"
        with contextlib.suppress(DojangError):
            authority.submit(Submission("issue", REQUEST.requests[0].to_der(), "", transaction))
            authority.confirm(transaction)
        with contextlib.suppress(DojangError):
            authority.cancel(transaction)


class Introduced:
    """A reference number and its code."""

    source = None

    def reference(self, *, needed: bool) -> str:
        return "123"

    def code(self, reference: str, source: str | None) -> Secret:
        return CODE
