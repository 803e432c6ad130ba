"""Our client and OpenSSL's mock server: what that can do, we can ask of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from tests.cmp.mock import Pki, mock_server

from dojang.authority.base import Issued, Submission
from dojang.authority.elsewhere import Signer
from dojang.authority.new_root import question_about
from dojang.authority.remote import Forgetful, NobodyIntroduced, RemoteAuthority, Terms
from dojang.cmp.bodies import Kind
from dojang.cmp.client import Patience
from dojang.cmp.wanted import request_for
from dojang.errors import AuthorityRefused, AuthorityUntrusted
from dojang.secret import Secret
from dojang.x509.name import parse_name

CODE = "authcode123"
BY_SECRET = ("-srv_ref", "CA", "-srv_secret", f"pass:{CODE}", "-rsp_capubs", "ca.crt")
BY_SIGNATURE = ("-srv_cert", "cmps.crt", "-srv_key", "cmps.key", "-srv_trusted", "ca.crt")
SUBJECT = "CN=Hong"


@dataclass
class Introduced:
    """A reference number and a code."""

    word: str = CODE
    source: str | None = None

    def reference(self, *, needed: bool) -> str:
        return "20261122"

    def code(self, reference: str, source: str | None) -> Secret:
        return Secret(self.word)


class Holder(Forgetful):
    """Asks with the key of a certificate."""

    def __init__(self, key: Any, certificate: x509.Certificate) -> None:
        super().__init__()
        self._signer = Signer(key, certificate.public_bytes(Encoding.DER))

    def signer(self) -> Signer:
        return self._signer


@dataclass
class Subscriber:
    """A key, and the certificate that the mock server hands out for it."""

    pki: Pki
    key: Any
    certificate: x509.Certificate
    waits: list[int] = field(default_factory=list)
    trusted: list[bytes] = field(default_factory=list)

    @property
    def certificate_der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def authority(self, url: str, introductions: Any = None, *, anchored: bool = False) -> RemoteAuthority:
        terms = Terms(
            anchors_der=(self.pki.anchor_der,) if anchored else (),
            introductions=introductions or NobodyIntroduced(),
            patience=lambda: Patience(60, self.waits.append, lambda seconds: None),
            trust=self.trusted.append,
            seconds=10,
        )
        return RemoteAuthority(url, terms)

    def ask(self, authority: RemoteAuthority, kind: Any = "issue", replaces: bytes | None = None) -> Issued:
        """Asked and confirmed."""
        transaction = uuid4().hex
        request_der = request_for(self.key, parse_name(SUBJECT), (), replaces)
        issued = authority.submit(Submission(kind, request_der, "", transaction, replaces))
        authority.confirm(transaction)
        return issued


@pytest.fixture(scope="module")
def subscriber(tmp_path_factory: pytest.TempPathFactory) -> Subscriber:
    pki = Pki.found(tmp_path_factory.mktemp("mock"))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = pki.certify(key.public_key(), "Hong")
    pki.save("ee", certificate, key)
    return Subscriber(pki, key, certificate)


@pytest.fixture(scope="module")
def by_secret(subscriber: Subscriber) -> Iterator[str]:
    with mock_server(subscriber.pki, *BY_SECRET, "-rsp_cert", "ee.crt") as url:
        yield url


@pytest.fixture(scope="module")
def by_signature(subscriber: Subscriber) -> Iterator[str]:
    with mock_server(subscriber.pki, *BY_SIGNATURE, "-rsp_cert", "ee.crt") as url:
        yield url


def _log(subscriber: Subscriber) -> str:
    return (Path(subscriber.pki.folder) / "mock.log").read_text()


def test_ir_under_a_code(subscriber: Subscriber, by_secret: str) -> None:
    """The certificate comes with its authority's, which is believed from then on."""
    with subscriber.authority(by_secret, Introduced()) as authority:
        issued = subscriber.ask(authority)
    assert issued.certificate_der == subscriber.certificate_der
    assert issued.chain_der == (subscriber.pki.anchor_der,)
    assert subscriber.trusted == [subscriber.pki.anchor_der]


def test_a_wrong_code(subscriber: Subscriber, by_secret: str) -> None:
    """Neither of the two believes the other."""
    with subscriber.authority(by_secret, Introduced("wrong")) as authority, pytest.raises(AuthorityUntrusted):
        subscriber.ask(authority)
    assert "wrong pbm value" in _log(subscriber)


def test_cr_under_a_signature(subscriber: Subscriber, by_signature: str) -> None:
    """Signed with the key of a certificate; the answer is signed by whoever speaks for the authority."""
    with subscriber.authority(by_signature, anchored=True) as authority:
        asked = authority.asked_by(Holder(subscriber.key, subscriber.certificate))
        assert subscriber.ask(asked, "reissue", subscriber.certificate_der).certificate_der == (
            subscriber.certificate_der
        )


def test_kur(subscriber: Subscriber, by_signature: str) -> None:
    """The mock server updates the one certificate that it hands out."""
    with subscriber.authority(by_signature, anchored=True) as authority:
        asked = authority.asked_by(Holder(subscriber.key, subscriber.certificate))
        issued = subscriber.ask(asked, "renew", subscriber.certificate_der)
    assert issued.chain_der == (subscriber.pki.anchor_der,)


def test_who_knows_nothing_of_new_roots_is_asked_without_harm(subscriber: Subscriber, by_signature: str) -> None:
    """genm with rootCaCert: the mock server says the question again, and that is no root."""
    with subscriber.authority(by_signature, anchored=True) as authority:
        asked = authority.asked_by(Holder(subscriber.key, subscriber.certificate))
        question = question_about(subscriber.pki.anchor_der)
        assert asked._inquire(question) == replace(question, kind=Kind.GENP)
        asked.learn_root((subscriber.pki.anchor_der,))
        assert authority.chain_der() == (subscriber.pki.anchor_der,)


def test_rr(subscriber: Subscriber, by_signature: str) -> None:
    """Granted for the certificate that it hands out, refused for another, with its own word for why."""
    stranger = subscriber.pki.certify(subscriber.key.public_key(), "Hong").public_bytes(Encoding.DER)
    with subscriber.authority(by_signature, anchored=True) as authority:
        asked = authority.asked_by(Holder(subscriber.key, subscriber.certificate))
        asked.revoke_for(uuid4().hex, subscriber.certificate_der, x509.ReasonFlags.superseded)
        asked = authority.asked_by(Holder(subscriber.key, subscriber.certificate))
        with pytest.raises(AuthorityRefused) as caught:
            asked.revoke_for(uuid4().hex, stranger, x509.ReasonFlags.superseded)
    assert "badRequest" in str(caught.value)


def test_an_answer_from_nobody_who_is_trusted(subscriber: Subscriber, by_signature: str) -> None:
    """Without the authority's certificate a signed answer proves nothing."""
    with subscriber.authority(by_signature) as authority:
        asked = authority.asked_by(Holder(subscriber.key, subscriber.certificate))
        with pytest.raises(AuthorityUntrusted, match="no certificate to check that with"):
            subscriber.ask(asked, "renew", subscriber.certificate_der)


def test_polling(subscriber: Subscriber) -> None:
    """It wants time twice, a second each; then the certificate is there."""
    words = (*BY_SIGNATURE, "-rsp_cert", "ee.crt", "-poll_count", "2", "-check_after", "1")
    with (
        mock_server(subscriber.pki, *words) as url,
        subscriber.authority(url, anchored=True) as authority,
    ):
        asked = authority.asked_by(Holder(subscriber.key, subscriber.certificate))
        issued = subscriber.ask(asked, "reissue", subscriber.certificate_der)
    assert issued.certificate_der == subscriber.certificate_der
    assert subscriber.waits == [1]


def test_a_rejection(subscriber: Subscriber) -> None:
    """Status, failInfo and text of a refusal are told."""
    words = (*BY_SECRET, "-rsp_cert", "ee.crt", "-pkistatus", "2", "-failure", "9", "-statusstring", "no such luck")
    with (
        mock_server(subscriber.pki, *words) as url,
        subscriber.authority(url, Introduced()) as authority,
        pytest.raises(AuthorityRefused, match=r"possession of its key.*badPOP.*no such luck"),
    ):
        subscriber.ask(authority)


def test_an_unprotected_error(subscriber: Subscriber) -> None:
    """It is refused, and what it says is told as somebody's word."""
    words = (*BY_SECRET, "-rsp_cert", "ee.crt", "-send_error", "-send_unprot_err")
    with (
        mock_server(subscriber.pki, *words) as url,
        subscriber.authority(url, Introduced()) as authority,
        pytest.raises(AuthorityUntrusted, match="without any protection"),
    ):
        subscriber.ask(authority)
