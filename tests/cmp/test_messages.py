"""Messages: what others wrote is written again byte for byte, what we write others read, nonsense is refused."""

import contextlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1_alt_modules import rfc9810
from tests.cmp.conftest import REFERENCE, SECRET, MockServer

from dojang.cmp import bodies
from dojang.cmp.bodies import Kind, Status
from dojang.cmp.crmf import CertificateId, CertificateTemplate, build_request
from dojang.cmp.faults import CmpFault, FailInfo, PkiStatus, failure_bits, failures_in
from dojang.cmp.macs import Mac, new_pbm, new_pbmac1
from dojang.cmp.messages import (
    Header,
    certificate_profile,
    confirm_wait,
    implicit_confirm,
    new_nonce,
    read_header,
    read_message,
    write_message,
)
from dojang.cmp.names import directory_name_der
from dojang.cmp.protection import Protector, Signing, verify_signature
from dojang.secret import Secret
from dojang.x509.name import parse_name

KINDS = ("ir", "ip", "certconf", "pkiconf", "p10cr", "cp", "rr", "rp", "genm", "genp")
AT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
SUBJECT = parse_name("CN=홍길동,O=Example,C=KR")
ISSUER = parse_name("CN=CA,C=KR")
KEY = ec.generate_private_key(ec.SECP256R1())
REQUEST = build_request(KEY, CertificateTemplate(subject=SUBJECT), replaces=CertificateId(ISSUER, 99))
BAD = Status(PkiStatus.REJECTION, ("no",), frozenset((FailInfo.BAD_ALG, FailInfo.DUPLICATE_CERT_REQ)))
BODIES = (
    bodies.Certification(Kind.IR, (REQUEST,)),
    bodies.Certification(Kind.KUR, (REQUEST, REQUEST)),
    bodies.Certified(Kind.IP, (bodies.Answer(0, Status(), b"\x30\x00"),), (b"\x30\x00",)),
    bodies.Certified(Kind.KUP, (bodies.Answer(0, BAD), bodies.Answer(1, Status(PkiStatus.WAITING)))),
    bodies.RevocationRequest((bodies.Revocation(CertificateTemplate(issuer=ISSUER, serial=5), (b"\x30\x00",)),)),
    bodies.Revoked((Status(), BAD), (CertificateId(ISSUER, 5), CertificateId(ISSUER, 6))),
    bodies.General(Kind.GENM, (bodies.Information("1.3.6.1.5.5.7.4.17"),)),
    bodies.General(Kind.GENP, (bodies.Information("1.3.6.1.5.5.7.4.17", b"\x30\x00"),)),
    bodies.Failure(BAD, 7, ("what", "happened")),
    bodies.Confirmations((bodies.Confirmation(b"h" * 32, 0), bodies.Confirmation(b"h" * 48, 1, BAD, "2.16.840.1.101"))),
    bodies.Confirmations(()),
    bodies.Confirmed(),
    bodies.Poll((0, -1)),
    bodies.Waiting((bodies.Wait(0, 30, ("approval",)), bodies.Wait(1, 5))),
    bodies.Other(Kind.NESTED, b"\x30\x00"),
)
FULL = Header(
    sender_der=directory_name_der(SUBJECT),
    recipient_der=directory_name_der(ISSUER),
    transaction_id=b"t" * 16,
    sender_nonce=b"n" * 16,
    recipient_nonce=b"r" * 16,
    message_at=AT,
    sender_key_id=b"20261122",
    recipient_key_id=b"kid",
    free_text=("안녕",),
    information=(implicit_confirm(), confirm_wait(AT), certificate_profile("personal")),
    version=3,
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_openssl_writes_is_written_again_byte_for_byte(kind: str, exchanged: dict[str, bytes]) -> None:
    """Read into values and written from them under the same MAC, every message of OpenSSL is what it was."""
    message = read_message(exchanged[kind])
    assert message.header.protection is not None
    mac = Mac(Secret(SECRET), message.header.protection)
    mac.verify(message.protection or b"", message.protected_der)
    assert write_message(message.header, message.body, mac, message.certificates) == exchanged[kind]
    assert (message.header.sender_key_id == REFERENCE.encode()) == (kind in ("ir", "certconf", "p10cr", "rr", "genm"))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_every_body_is_read_as_it_was_written(body: bodies.Body) -> None:
    """All fields of header and body come back."""
    der = write_message(FULL, body, Signing(KEY), (b"\x30\x00",))
    message = read_message(der)
    assert message.body == body
    assert replace(message.header, protection=None) == FULL
    assert message.certificates == (b"\x30\x00",)
    assert message.header.implicit_confirm
    assert message.header.confirm_wait_at == AT
    assert message.header.profiles == ("personal",)
    assert read_header(der).transaction_id == FULL.transaction_id


@pytest.mark.parametrize("protector", [Signing(KEY), Mac(Secret("s"), new_pbm()), Mac(Secret("s"), new_pbmac1())])
def test_an_independent_decoder_reads_what_we_write(protector: Protector, exchanged: dict[str, bytes]) -> None:
    """pyasn1 with the module of RFC 9810 decodes each kind of message, with nothing left over."""
    certificate = read_message(exchanged["ip"]).body.answers[0].certificate_der
    made = [body for body in BODIES if b"\x30\x00" not in write_message(Header(), body)]
    made += [
        bodies.Certified(Kind.IP, (bodies.Answer(0, Status(), certificate),), (certificate,)),
        bodies.General(Kind.GENP, (bodies.Information("1.3.6.1.5.5.7.4.17", b"\x30\x00"),)),
    ]
    for body in made:
        der = write_message(FULL, body, protector, (certificate,))
        decoded, rest = pyasn1_decode(der, asn1Spec=rfc9810.PKIMessage())
        assert rest == b""
        assert decoded["header"]["pvno"] == 3
        assert bytes(decoded["header"]["transactionID"]) == b"t" * 16
        assert decoded["body"].getComponent().isValue


@pytest.mark.parametrize(
    "key",
    [KEY, ec.generate_private_key(ec.SECP521R1()), rsa.generate_private_key(65537, 2048)],
    ids=lambda k: k.key_size,
)
def test_a_signature_holds_for_these_bytes_and_this_key_only(key: ec.EllipticCurvePrivateKey) -> None:
    """Verified with the key itself; refused with another key or over another message."""
    message = read_message(write_message(FULL, bodies.Confirmed(), Signing(key)))
    algorithm, protection = message.header.protection, message.protection
    verify_signature(key.public_key(), algorithm, protection, message.protected_der)
    with pytest.raises(CmpFault) as wrong:
        verify_signature(key.public_key(), algorithm, protection, message.protected_der + b"\0")
    assert wrong.value.failure is FailInfo.BAD_MESSAGE_CHECK
    with pytest.raises(CmpFault) as other:
        verify_signature(ed25519.Ed25519PrivateKey.generate().public_key(), algorithm, protection, b"")
    assert other.value.failure is FailInfo.BAD_ALG


def test_openssl_answers_what_we_write(shared_server: MockServer) -> None:
    """The mock server gives its certificate for our ir under PBM, and takes our certConf and our rr."""
    mac = Mac(Secret(SECRET), new_pbm())
    header = Header(
        recipient_der=directory_name_der(parse_name("CN=Mock CA")),
        transaction_id=new_nonce(),
        sender_nonce=new_nonce(),
        message_at=datetime.now(UTC),
        sender_key_id=REFERENCE.encode(),
    )
    answer = read_message(shared_server.post(write_message(header, bodies.Certification(Kind.IR, (REQUEST,)), mac)))
    assert isinstance(answer.body, bodies.Certified), answer.body
    assert answer.body.answers[0].status.is_granted
    assert answer.header.recipient_nonce == header.sender_nonce
    Mac(Secret(SECRET), answer.header.protection).verify(answer.protection, answer.protected_der)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_is_cut_off_is_refused(kind: str, exchanged: dict[str, bytes]) -> None:
    """At whatever byte it ends, and with anything behind it: badDataFormat."""
    der = exchanged[kind]
    for part in (*(der[:end] for end in range(len(der))), der + b"\0"):
        with pytest.raises(CmpFault) as refused:
            read_message(part)
        assert refused.value.failure is FailInfo.BAD_DATA_FORMAT


@given(st.sampled_from(BODIES), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_that_were_changed_are_read_or_refused(body: bodies.Body, changes: list[tuple[float, int]]) -> None:
    """Nothing but ``CmpFault`` comes out of a message with some bytes exchanged."""
    der = bytearray(write_message(FULL, body, Mac(Secret("s"), new_pbm(100))))
    for place, octet in changes:
        der[int(place * len(der))] = octet
    with contextlib.suppress(CmpFault):
        read_message(bytes(der))


def test_too_much_is_refused() -> None:
    """A message beyond 256 KiB, more certificates than any path has, more requests than anybody makes."""
    for der in (
        write_message(replace(FULL, free_text=("x" * (1 << 18),)), bodies.Confirmed()),
        write_message(FULL, bodies.Confirmed(), None, [b"\x30\x00"] * 33),
        write_message(FULL, bodies.Certification(Kind.IR, (REQUEST,) * 17)),
        write_message(FULL, bodies.Certification(Kind.IR, ())),
    ):
        with pytest.raises(CmpFault) as refused:
            read_message(der)
        assert refused.value.failure is FailInfo.BAD_REQUEST


@given(st.frozensets(st.sampled_from(FailInfo)))
def test_bits_of_failures_are_named_bits(failures: frozenset[FailInfo]) -> None:
    """They come back from the bits, which end in a one, as DER wants it of named bits."""
    bits, unused = failure_bits(failures)
    assert failures_in(bits, unused) == failures
    assert not bits or bits[-1] >> unused & 1


def test_failures_are_spelt_as_in_the_standard() -> None:
    """The names of RFC 9810, as pyasn1's module has them."""
    named = rfc9810.PKIFailureInfo.namedValues
    assert {failure.spelling: int(failure) for failure in FailInfo} == {str(name): int(named[name]) for name in named}
