"""Requests, the check of what comes back, the proof of possession, and the facts for lists."""

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.errors import AnswerMismatch, CertificateUnusable, FileMalformed, Usage, VerificationFailed
from dojang.x509.challenge import prove_key, prove_possession
from dojang.x509.check import check_issued
from dojang.x509.keys import algorithm_of, is_strong
from dojang.x509.name import parse_name
from dojang.x509.reading import certificates_in, read_certificate, read_crl, read_request
from dojang.x509.request import CertificateRequest, build_request
from dojang.x509.status import credential_facts, is_due

AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
CA_KEY = ec.generate_private_key(ec.SECP256R1())
KEYS: dict[str, Any] = {
    "rsa-2048": rsa.generate_private_key(65537, 2048),
    "ec-p256": ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def certify(
    key: Any, subject: str = "CN=leaf", issuer: str = "CN=ca", names: tuple[str, ...] = (), **options: Any
) -> bytes:
    builder = x509.CertificateBuilder(
        parse_name(issuer),
        parse_name(subject),
        key.public_key(),
        options.get("serial", 0xABC),
        options.get("start", AT - DAY),
        options.get("end", AT + 40 * DAY),
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    if "ca" in options:
        builder = builder.add_extension(x509.BasicConstraints(options["ca"], None), True)
    return builder.sign(options.get("signer", CA_KEY), hashes.SHA256()).public_bytes(Encoding.DER)


CA_DER = certify(CA_KEY, "CN=ca", ca=True)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_request_proves_possession_and_openssl_agrees(algorithm: str, tmp_path: Path) -> None:
    """Every kind of key signs a request that OpenSSL verifies, with subject and alternative names inside."""
    der = build_request(KEYS[algorithm], parse_name("CN=홍길동,C=KR"), ("dns:a.kr", "ip:10.0.0.1"))
    (tmp_path / "request.der").write_bytes(der)
    command = ["openssl", "req", "-verify", "-inform", "DER", "-in", tmp_path / "request.der", "-noout", "-text"]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert shown.returncode == 0
    assert "self-signature verify OK" in shown.stdout + shown.stderr
    assert "DNS:a.kr, IP Address:10.0.0.1" in shown.stdout
    assert read_request(der).subject == parse_name("CN=홍길동,C=KR")


def test_a_request_with_a_wrong_alternative_name_is_usage() -> None:
    """Nothing is signed for it."""
    with pytest.raises(Usage):
        build_request(KEYS["ec-p256"], parse_name("CN=a"), ["www.a.kr"])


@pytest.mark.parametrize("algorithm", KEYS)
def test_possession_is_proved_for_every_kind_of_key(algorithm: str) -> None:
    """Signed by the key, verified by the certificate; prove_key does without a certificate."""
    prove_possession(KEYS[algorithm], certify(KEYS[algorithm]))
    prove_key(KEYS[algorithm])
    assert algorithm_of(KEYS[algorithm].public_key()) == algorithm
    assert is_strong(KEYS[algorithm].public_key())


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_wrong_key_proves_nothing(algorithm: str) -> None:
    """Neither another key of the same kind nor one of another kind passes."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(CertificateUnusable) as caught:
        prove_possession(KEYS[algorithm], certify(stranger))
    assert caught.value.facts["subject"] == "CN=leaf"


def test_a_key_that_signs_with_something_else_proves_nothing() -> None:
    """The public key a location shows is not believed; the signature is."""

    class Liar(ed25519.Ed25519PrivateKey):
        def public_key(self) -> Any:
            return KEYS["ed25519"].public_key()

        def sign(self, data: bytes) -> bytes:
            return ed25519.Ed25519PrivateKey.generate().sign(data)

        def _refuse(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        private_bytes = private_bytes_raw = __copy__ = __deepcopy__ = _refuse

    with pytest.raises(CertificateUnusable):
        prove_possession(Liar(), certify(KEYS["ed25519"]))
    with pytest.raises(VerificationFailed):
        prove_key(Liar())


def test_the_right_answer_is_accepted() -> None:
    """With the chain, and with anchors of one's own."""
    request = build_request(KEYS["ec-p256"], parse_name("CN=leaf"), ["dns:a.kr"])
    answer = certify(KEYS["ec-p256"], names=("a.kr", "b.kr"))
    check_issued(answer, request=CertificateRequest.from_pkcs10(request), chain_der=[CA_DER], at=AT)
    check_issued(answer, request=CertificateRequest.from_pkcs10(request), chain_der=[], anchors_der=[CA_DER], at=AT)
    check_issued(
        certify(KEYS["ec-p256"], "CN=x", names=("a.kr",)),
        request=CertificateRequest.from_pkcs10(request),
        chain_der=[CA_DER],
        at=AT,
        subject=parse_name("CN=x"),
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (certify(KEYS["ec-p384"], names=("a.kr",)), "another key"),
        (certify(KEYS["ec-p256"], "CN=other", names=("a.kr",)), "CN=other instead of CN=leaf"),
        (certify(KEYS["ec-p256"]), "lacks the names dns:a.kr"),
        (certify(KEYS["ec-p256"], names=("a.kr",), ca=True), "authority's certificate"),
        (certify(KEYS["ec-p256"], names=("a.kr",), start=AT + DAY), "not valid before"),
        (certify(KEYS["ec-p256"], names=("a.kr",), end=AT - DAY / 2), "expired"),
        (certify(KEYS["ec-p256"], names=("a.kr",), signer=KEYS["ec-p384"]), "signature"),
        (certify(KEYS["ec-p256"], names=("a.kr",), issuer="CN=stranger"), "issuer"),
        (b"\x30\x00", "decoded"),
        (b"", "decoded"),
    ],
)
def test_each_mismatch_is_named(answer: bytes, said: str) -> None:
    """The one thing that is wrong is the one problem reported."""
    request = build_request(KEYS["ec-p256"], parse_name("CN=leaf"), ["dns:a.kr"])
    with pytest.raises(AnswerMismatch) as caught:
        check_issued(answer, request=CertificateRequest.from_pkcs10(request), chain_der=[CA_DER], at=AT)
    problems = caught.value.facts["problems"]
    assert len(problems) == 1
    assert said in problems[0]


def test_all_mismatches_are_reported_at_once() -> None:
    """Key, name, alternative names, validity and chain in one error."""
    request = build_request(KEYS["ec-p256"], parse_name("CN=leaf"), ["dns:a.kr"])
    wrong = certify(KEYS["ec-p384"], "CN=other", issuer="CN=stranger", end=AT - DAY / 2)
    with pytest.raises(AnswerMismatch) as caught:
        check_issued(wrong, request=CertificateRequest.from_pkcs10(request), chain_der=[CA_DER], at=AT)
    assert len(caught.value.facts["problems"]) == 5


def test_the_facts_of_a_certificate() -> None:
    """Names, hex serial, moments with a time zone, whole days left, algorithm."""
    facts = credential_facts(certify(KEYS["rsa-2048"], "CN=홍길동,C=KR"), AT)
    assert (facts.subject, facts.issuer, facts.serial) == ("CN=홍길동,C=KR", "CN=ca", "abc")
    assert (facts.not_before_at, facts.not_after_at) == (AT - DAY, AT + 40 * DAY)
    assert (facts.days_left, facts.algorithm) == (40, "rsa-2048")
    assert facts.not_after_at.tzinfo is not None


@pytest.mark.parametrize(
    ("at", "days_left", "state"),
    [
        (AT + 9.5 * DAY, 30, "valid"),
        (AT + 10 * DAY, 30, "due"),
        (AT + 39.5 * DAY, 0, "due"),
        (AT + 40 * DAY, 0, "due"),
        (AT + 40 * DAY + dt.timedelta(seconds=1), -1, "expired"),
    ],
)
def test_due_begins_with_the_window_and_ends_with_expiry(at: dt.datetime, days_left: int, state: str) -> None:
    """The window of 30 days opens to the second, and the last second is still due."""
    facts = credential_facts(certify(KEYS["ec-p256"]), at)
    assert (facts.days_left, facts.state(at, 30)) == (days_left, state)
    assert is_due(facts.not_after_at, at, 30) == (state == "due")


def test_status_is_light() -> None:
    """Listing certificates loads cryptography.x509, neither a database nor TOML nor asn1crypto."""
    heavy = ("sqlite3", "tomllib", "asn1crypto", "ssl")
    code = f"import sys, dojang.x509.status; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("read", [read_certificate, read_request, read_crl, certificates_in])
@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"0",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x80\x00\x00",
        b"\x30\x82" * 100_000,
        b"\x00" * 10_000_000,
        b"\xff" * 200_000_000,
    ],
    ids=["empty", "one", "huge length", "indefinite", "nested", "zeros", "too large"],
)
def test_hostile_bytes_are_a_malformed_file(read: Any, der: bytes) -> None:
    """Every reader says FileMalformed and names the file."""
    with pytest.raises(FileMalformed) as caught:
        read(der, "x.der")
    assert caught.value.facts["path"] == "x.der"


def test_every_truncation_of_a_request_is_malformed() -> None:
    """No prefix of a request is one."""
    der = build_request(KEYS["ec-p256"], parse_name("CN=leaf"), ["dns:a.kr"])
    for length in range(len(der)):
        with pytest.raises(FileMalformed):
            read_request(der[:length])


def test_certificates_are_read_from_der_and_pem() -> None:
    """A file holds one in DER or any number in PEM; broken PEM is malformed."""
    pem = b"".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in (CA_DER, certify(KEYS["ec-p256"]))
    )
    assert certificates_in(CA_DER) == [CA_DER]
    assert certificates_in(b"text before\n" + pem)[0] == CA_DER
    assert len(certificates_in(pem)) == 2
    with pytest.raises(FileMalformed):
        certificates_in(pem[: len(pem) // 2])
