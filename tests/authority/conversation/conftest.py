"""An authority that answers CMP: in this process for messages of ours, and over HTTP for OpenSSL's client."""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from dojang.authority import Founder, LocalAuthority, create_authority, open_authority
from dojang.authority.conversation import Conversation
from dojang.authority.conversation.local import LocalOffice
from dojang.authority.enrolment import EnrolmentPolicy, Enrolments, Handed, Office, Terms
from dojang.cmp import bodies
from dojang.cmp.bodies import Body, Certification, Certified, Confirmation, Confirmations, Kind
from dojang.cmp.crmf import CertificateTemplate, build_request
from dojang.cmp.faults import FailInfo
from dojang.cmp.macs import Mac, new_pbm
from dojang.cmp.messages import Header, Message, new_nonce, read_message, write_message
from dojang.cmp.names import directory_name_der
from dojang.cmp.protection import Protector, Signing, verify_signature
from dojang.secret import Secret
from dojang.x509.name import parse_name
from dojang.x509.profiles import profile

SUBJECT = "CN=홍길동,O=Example,C=KR"
SOURCE = "203.0.113.7"


@dataclass(frozen=True)
class MemoryKey:
    """HMAC as a token computes it."""

    def digest(self, message: bytes) -> bytes:
        return hmac.digest(b"k" * 32, message, "sha256")


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.at

    def turn(self, **much: float) -> None:
        self.at += timedelta(**much)


@dataclass
class Counter:
    """The authority with its office: codes to hand out, and the conversation that takes them. ``keys`` by address."""

    authority: LocalAuthority
    clock: Clock
    keys: dict[str, Any]
    policy: EnrolmentPolicy = field(default_factory=lambda: EnrolmentPolicy(uses=1, is_test=True))

    @property
    def enrolments(self) -> Enrolments:
        return Enrolments(self.authority.database, self.authority.name, self.policy, MemoryKey, self.clock)

    @property
    def office(self) -> Office:
        return Office(self.authority.database, self.authority.name, self.policy, profile, MemoryKey, self.clock)

    @property
    def conversation(self) -> Conversation:
        return Conversation(LocalOffice(self.authority, self.enrolments))

    def hand_out(self, subject: str = SUBJECT, profile_name: str = "personal", **more: Any) -> Handed:
        return self.office.new(Terms(profile_name, subject), **more)


@dataclass
class Subscriber:
    """Speaks CMP as anybody could, well or badly: with a code, or with a certificate and its key."""

    counter: Counter
    reference: str = ""
    code: Secret | None = None
    certificate_der: bytes | None = None
    signing_key: Any = None
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    last: Message | None = None
    transaction_id: bytes = field(default_factory=new_nonce)

    def again(self, **changes: Any) -> "Subscriber":
        """The same in a transaction that is new."""
        return replace(self, transaction_id=new_nonce(), last=None, **changes)

    def header(self, **changes: Any) -> Header:
        header = Header(
            transaction_id=self.transaction_id,
            sender_nonce=new_nonce(),
            recipient_nonce=self.last.header.sender_nonce if self.last else None,
            message_at=self.counter.clock(),
            sender_key_id=self.reference.encode() or None,
        )
        if self.certificate_der is not None:
            subject = x509.load_der_x509_certificate(self.certificate_der).subject
            header = replace(header, sender_der=directory_name_der(subject), sender_key_id=None)
        return replace(header, **changes)

    def protector(self) -> Protector:
        return Mac(self.code, new_pbm(100)) if self.code is not None else Signing(self.signing_key)

    def message(self, body: Body, *, protector: Any = "own", certificates: Any = None, **changes: Any) -> bytes:
        used = self.protector() if protector == "own" else protector
        extra = ([self.certificate_der] if self.certificate_der else []) if certificates is None else certificates
        return write_message(self.header(**changes), body, used, extra)

    def send(self, der: bytes, *, profile_name: str | None = None, source: str = SOURCE) -> Message:
        """The answer, whose protection was checked where it has any."""
        answer = read_message(self.counter.conversation.answer(der, source, profile_name))
        assert answer.header.transaction_id == self.transaction_id
        assert answer.header.recipient_nonce == read_message(der).header.sender_nonce
        if answer.header.protection is None:
            assert isinstance(answer.body, bodies.Failure)
        elif self.code is not None:
            Mac(self.code, answer.header.protection).verify(answer.protection or b"", answer.protected_der)
        else:
            signer = x509.load_der_x509_certificate(answer.certificates[0])
            assert answer.header.sender == signer.subject
            verify_signature(
                signer.public_key(), answer.header.protection, answer.protection or b"", answer.protected_der
            )
        self.last = answer
        return answer

    def ask(self, body: Body, *, profile_name: str | None = None, **options: Any) -> Message:
        return self.send(self.message(body, **options), profile_name=profile_name)

    def request(self, kind: Kind = Kind.IR, subject: str = SUBJECT, **options: Any) -> Certification:
        template = CertificateTemplate(subject=parse_name(subject) if subject else x509.Name([]))
        return Certification(kind, (build_request(self.key, template, **options),))

    def granted(self, answer: Message) -> bytes:
        """The certificate in an ip, cp or kup."""
        assert isinstance(answer.body, Certified), answer.body
        (one,) = answer.body.answers
        assert one.status.is_granted, one.status
        assert one.certificate_der is not None
        return one.certificate_der

    def confirmation(self, certificate_der: bytes, **changes: Any) -> Confirmations:
        from dojang.cmp.signatures import certificate_hash

        return Confirmations((replace(Confirmation(certificate_hash(certificate_der), 0), **changes),))

    def enrol(self, kind: Kind = Kind.IR, **options: Any) -> "Subscriber":
        """Asked, granted and confirmed; the holder of the certificate, to go on."""
        granted = self.granted(self.ask(self.request(kind, **options)))
        assert isinstance(self.ask(self.confirmation(granted)).body, bodies.Confirmed)
        return Subscriber(self.counter, certificate_der=granted, signing_key=self.key)

    def state(self, certificate_der: bytes | None = None) -> str:
        """Of the certificate, in the authority's records."""
        der = certificate_der or self.certificate_der
        assert der is not None
        serial = f"{x509.load_der_x509_certificate(der).serial_number:x}"
        return self.counter.authority.find(serial).state


def failure_in(answer: Message) -> FailInfo:
    """Why an answer refuses, in whatever body."""
    body = answer.body
    match body:
        case bodies.Failure(status):
            pass
        case Certified(_, (one,)):
            status = one.status
        case bodies.Revoked((status,)):
            pass
        case _:
            raise AssertionError(f"no refusal: {body}")
    assert status.status == 2
    (failure,) = status.failures
    return failure


def found_counter(folder: Path, database: str | None = None) -> Counter:
    """A root and an issuing authority with keys in memory."""
    clock = Clock()
    keys = {f"pkcs11:object={role}": ec.generate_private_key(ec.SECP256R1()) for role in ("root", "issuing")}
    root, issuing = (
        Founder(parse_name(f"CN=Test {address[14:]},O=Example,C=KR"), key, address) for address, key in keys.items()
    )
    create_authority(
        folder,
        name="test",
        subject=root.subject,
        key=root.key,
        key_address=root.key_address,
        issuing=issuing,
        database=database,
        clock=clock,
    ).close()
    return Counter(open_authority(folder, "test", keys.__getitem__, clock=clock), clock, keys)


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    found = found_counter(tmp_path / "authorities")
    yield found
    found.authority.close()


@pytest.fixture
def bearer(counter: Counter) -> Subscriber:
    """Somebody with a reference number and a code."""
    handed = counter.hand_out()
    return Subscriber(counter, handed.enrolment.reference, handed.code)


@pytest.fixture
def holder(bearer: Subscriber) -> Subscriber:
    """Somebody with a certificate of the authority, and another key to put in its place."""
    return bearer.enrol()
