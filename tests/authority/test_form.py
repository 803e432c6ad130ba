"""What an authority writes around a key is, to the octet, what a builder we did not write makes of the same."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from dojang.authority.addresses import addresses_for
from dojang.authority.certificate import Draft, sign_certificate
from dojang.x509.alternative_names import parse_alternative_names
from dojang.x509.name import parse_name
from dojang.x509.profiles import profile, profiles
from dojang.x509.request import signature_hash_for

AT = datetime(2026, 3, 1, 15, tzinfo=UTC)
BASE = "https://ca.example.kr/office"
SUBJECT = "CN=홍길동()0004,serialNumber=0001+UID=hong,emailAddress=hong@example.kr,O=주식회사 보기,DC=example,C=KR"
KEYS: dict[str, Any] = {
    "rsa-2048": rsa.generate_private_key(65537, 2048),
    "ec-p256": ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.fixture
def records_at() -> None:
    """Nothing here is recorded."""


@pytest.fixture(scope="module")
def root() -> x509.Certificate:
    key = KEYS["ec-p384"]
    draft = Draft(profile("root"), parse_name("CN=최상위,C=KR"), key.public_key(), (), AT, AT + timedelta(days=9000))
    return x509.load_der_x509_certificate(sign_certificate(draft, None, key, 1))


def made_again(certificate: x509.Certificate, key: Any) -> x509.Certificate:
    """By cryptography's builder, of every field as cryptography reads it."""
    builder = x509.CertificateBuilder(
        issuer_name=certificate.issuer,
        subject_name=certificate.subject,
        public_key=certificate.public_key(),
        serial_number=certificate.serial_number,
        not_valid_before=certificate.not_valid_before_utc,
        not_valid_after=certificate.not_valid_after_utc,
    )
    for extension in certificate.extensions:
        assert not isinstance(extension.value, x509.UnrecognizedExtension)
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(key, signature_hash_for(key.public_key()))


@pytest.mark.parametrize("name", [one.name for one in profiles()])
@pytest.mark.parametrize("algorithm", KEYS)
def test_it_is_what_a_builder_makes(root: x509.Certificate, name: str, algorithm: str) -> None:
    """Every profile, signed by every kind of key, self-signed and not: the same octets."""
    wanted, key = profile(name), KEYS[algorithm]
    names = tuple(parse_alternative_names(["dns:www.example.kr", "ip:2001:db8::1", "email:hong@example.kr"]) or ())
    for issuer, others, serial in ((root, names, (1 << 159) - 1), (root, (), 0x80), (None, names, 0x7F)):
        addresses = addresses_for(wanted, BASE, "issuing-2")
        term = AT, AT + timedelta(days=30 * serial.bit_length())
        draft = Draft(wanted, parse_name(SUBJECT), KEYS["ec-p256"].public_key(), others, *term, addresses)
        der = sign_certificate(draft, issuer, key, serial)
        ours = x509.load_der_x509_certificate(der)
        theirs = made_again(ours, key)
        assert ours.tbs_certificate_bytes == theirs.tbs_certificate_bytes
        assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
        if algorithm in ("rsa-2048", "ed25519"):  # the others sign differently each time
            assert ours == theirs
        if issuer is not None and algorithm == "ec-p384":
            ours.verify_directly_issued_by(root)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_is_called_as_a_builder_calls_it(root: x509.Certificate, algorithm: str) -> None:
    """By the SHA-1 of its bits, whatever kind of key it is; or as others call it."""
    key, signer = KEYS[algorithm].public_key(), KEYS["ec-p384"]
    for own, wanted in ((None, x509.SubjectKeyIdentifier.from_public_key(key).digest), (b"name", b"name")):
        draft = Draft(profile("personal"), parse_name("CN=a"), key, (), AT, AT, {}, own)
        certificate = x509.load_der_x509_certificate(sign_certificate(draft, root, signer, 1))
        assert certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == wanted


@pytest.mark.parametrize("days", [0, 8000, 9000, 20_000])
def test_terms_on_both_sides_of_2050(root: x509.Certificate, days: int) -> None:
    """UTCTime until 2049 and GeneralizedTime after it, as RFC 5280 section 4.1.2.5 has it."""
    key, term = KEYS["rsa-2048"], (AT + timedelta(days=days), AT + timedelta(days=days, seconds=days))
    draft = Draft(profile("personal"), parse_name("CN=a"), key.public_key(), (), *term)
    ours = x509.load_der_x509_certificate(sign_certificate(draft, root, key, 9))
    assert ours == made_again(ours, key)
    assert (ours.not_valid_before_utc, ours.not_valid_after_utc) == term


@pytest.mark.parametrize(("serial", "days"), [(0, 1), (-1, 1), (1 << 159, 1), (1, -1)])
def test_what_is_no_certificate_is_not_signed(root: x509.Certificate, serial: int, days: int) -> None:
    """A serial number of 1 to 159 bits, and an end after the beginning."""
    key = KEYS["ec-p384"]
    draft = Draft(profile("personal"), parse_name("CN=a"), key.public_key(), (), AT, AT + timedelta(days=days))
    with pytest.raises(ValueError, match="a "):
        sign_certificate(draft, root, key, serial)


def test_a_key_that_signs_no_certificates_of_ours() -> None:
    """Nothing is signed with a kind of key whose algorithm is not known here."""
    key: Any = ed448.Ed448PrivateKey.generate()
    draft = Draft(profile("root"), parse_name("CN=a"), key.public_key(), (), AT, AT)
    with pytest.raises(ValueError, match="no signature"):
        sign_certificate(draft, None, key, 1)
