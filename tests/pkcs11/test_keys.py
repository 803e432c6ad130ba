"""Keys on a token are ``cryptography`` keys: every builder takes them, everything they sign verifies elsewhere."""

import asyncio
import datetime
import hashlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from dojang import errors
from dojang.pkcs11 import KEY_ALGORITHMS, KeyUse

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "홍길동")])
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def sign_and_verify(key, message: bytes) -> None:
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        for scheme in (padding.PKCS1v15(), padding.PSS(padding.MGF1(hashes.SHA256()), 32)):
            public.verify(key.sign(message, scheme, hashes.SHA256()), message, scheme, hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        public.verify(key.sign(message, ec.ECDSA(hashes.SHA384())), message, ec.ECDSA(hashes.SHA384()))
    else:
        public.verify(key.sign(message), message)


@pytest.mark.parametrize("algorithm", KEY_ALGORITHMS)
def test_every_kind_of_key_is_made_hidden_and_signs(token, algorithm):
    """A generated key is sensitive, not extractable, private, sign-only, and its signatures verify in software."""
    key = token.generate_key_pair(algorithm, label=f"kind {algorithm}")
    (found,) = token.keys(label=f"kind {algorithm}")
    assert found.algorithm == algorithm
    assert len(found.key_id) == 20
    facts = found.attributes
    assert facts["sensitive"]
    assert facts["private"]
    assert facts["sign"]
    assert facts["never_extractable"]
    assert not facts["extractable"]
    assert not facts["decrypt"]
    assert not facts["unwrap"]
    sign_and_verify(key, b"a message")
    sign_and_verify(key, b"")
    with pytest.raises(errors.KeyDoesNotLeave):
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.fixture(scope="module")
def keys(fixture, search, tmp_path_factory):
    from dojang.pkcs11 import PinGuard, open_token
    from dojang.secret import Secret

    guard = PinGuard(tmp_path_factory.mktemp("guard") / "g")
    with open_token(fixture.uri, Secret(fixture.pin), search=search, guard=guard) as opened:
        yield {name: opened.generate_key_pair(name, label=f"b {name}") for name in ("rsa-2048", "ec-p256", "ed25519")}


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ed25519"])
def test_builders_of_cryptography_take_the_key(keys, algorithm, tmp_path):
    """Certificates, requests, CRLs and OCSP responses signed on the token verify, and openssl agrees."""
    key = keys[algorithm]
    hashed = None if algorithm == "ed25519" else hashes.SHA256()
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=9999))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    certificate = builder.sign(key, hashed)
    certificate.verify_directly_issued_by(certificate)
    pem = tmp_path / "c.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    subprocess.run(["openssl", "verify", "-CAfile", pem, pem], check=True, capture_output=True)
    request = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, hashed)
    assert request.is_signature_valid
    later = NOW + datetime.timedelta(days=1)
    crl = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW).next_update(later)
    assert crl.sign(key, hashed).is_signature_valid(key.public_key())
    response = ocsp.OCSPResponseBuilder().add_response(
        certificate, certificate, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, NOW, later, None, None
    )
    assert response.responder_id(ocsp.OCSPResponderEncoding.NAME, certificate).sign(key, hashed).signature


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_pkcs7_builder_takes_the_key(keys, algorithm, tmp_path):
    """A PKCS#7 made with cryptography's builder is accepted by ``openssl cms``."""
    key = keys[algorithm]
    name = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
    certificate = (name.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=1))).sign(
        key, hashes.SHA256()
    )
    signed = (pkcs7.PKCS7SignatureBuilder().set_data(b"text").add_signer(certificate, key, hashes.SHA256())).sign(
        serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary]
    )
    (tmp_path / "s.p7").write_bytes(signed)
    command = ["openssl", "cms", "-verify", "-noverify", "-inform", "DER", "-in", tmp_path / "s.p7"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"text"


def test_signxml_takes_the_keys(keys):
    """signxml signs with the token's keys, by keyword, and its own verifier accepts the result."""
    from lxml import etree
    from signxml import XMLSigner, XMLVerifier
    from signxml.algorithms import SignatureMethod

    for algorithm, method in (("rsa-2048", SignatureMethod.RSA_SHA256), ("ec-p256", SignatureMethod.ECDSA_SHA256)):
        key = keys[algorithm]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(NAME)
            .issuer_name(NAME)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(NOW)
            .not_valid_after(NOW + datetime.timedelta(days=3650))
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        signed = XMLSigner(signature_algorithm=method).sign(etree.fromstring("<a>b</a>"), key=key, cert=pem)
        XMLVerifier().verify(signed, x509_cert=pem)


def test_pyhanko_takes_the_key(keys, tmp_path):
    """A pyHanko signer over the token's key makes a CMS that ``openssl cms`` accepts."""
    from asn1crypto import x509 as asn1_x509
    from pyhanko.sign.signers.pdf_cms import Signer
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    key = keys["rsa-2048"]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(8)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )

    class OnToken(Signer):
        async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
            return bytes(256) if dry_run else key.sign(data, padding=padding.PKCS1v15(), algorithm=hashes.SHA256())

    der = certificate.public_bytes(serialization.Encoding.DER)
    signer = OnToken(signing_cert=asn1_x509.Certificate.load(der), cert_registry=SimpleCertificateStore())
    signed = asyncio.run(signer.async_sign_general_data(b"text", digest_algorithm="sha256", detached=False))
    (tmp_path / "s.p7").write_bytes(signed.dump())
    command = ["openssl", "cms", "-verify", "-noverify", "-inform", "DER", "-in", tmp_path / "s.p7"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"text"


def test_prehashed_digests_sign_like_messages(keys):
    """A digest made elsewhere gives a signature over the same message; a digest of the wrong length is refused."""
    digest = hashlib.sha256(b"m").digest()
    rsa_key, ec_key = keys["rsa-2048"], keys["ec-p256"]
    signature = rsa_key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    rsa_key.public_key().verify(signature, b"m", padding.PKCS1v15(), hashes.SHA256())
    signature = ec_key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    ec_key.public_key().verify(signature, b"m", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(errors.Usage):
        rsa_key.sign(digest[:-1], padding.PKCS1v15(), Prehashed(hashes.SHA256()))


@pytest.mark.parametrize("buffer", [bytearray, memoryview])
@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256", "ed25519"])
def test_digests_and_messages_may_be_any_buffer(keys, algorithm, buffer):
    """The second signature, which goes a shorter way, takes what the first one took."""
    signer = keys[algorithm].signer
    for _ in range(3):
        if signer.family == "ed25519":
            keys[algorithm].public_key().verify(signer.sign_message(buffer(b"m")), b"m")
        else:
            assert signer.sign_digest(buffer(bytes(32)), "sha256")


def test_plain_signatures_are_the_same_signature_in_another_form(keys):
    """r and s side by side, put into DER, verify; RSA has no other form."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    digest = hashlib.sha256(b"m").digest()
    for _ in range(40):  # leading zeros and sign bytes come up by chance
        plain = keys["ec-p256"].signer.sign_digest(digest, "sha256", plain=True)
        assert len(plain) == 64
        der = encode_dss_signature(int.from_bytes(plain[:32], "big"), int.from_bytes(plain[32:], "big"))
        keys["ec-p256"].public_key().verify(der, b"m", ec.ECDSA(hashes.SHA256()))
        sign = keys["ec-p256"].signer.sign_digest(digest, "sha256")
        keys["ec-p256"].public_key().verify(sign, b"m", ec.ECDSA(hashes.SHA256()))
    assert len(keys["rsa-2048"].signer.sign_digest(digest, "sha256", plain=True)) == 256


def test_der_of_ecdsa_is_what_another_program_makes():
    """Every shape of r and s, zeros in front and high bits, gives the bytes that cryptography gives."""
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    from dojang.pkcs11.mechanisms import ecdsa_der

    for size in (32, 48, 66):
        for first in (0, 1, 127, 128, 255):
            for second in (0, 1, 127, 128, 255):
                raw = bytes([first, 0, *range(size - 2)]) + bytes([second, 200, *range(size - 2)])
                values = (int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big"))
                assert ecdsa_der(raw) == encode_dss_signature(*values)


def test_what_cannot_be_done_is_said(keys):
    """Hashes and paddings that the package does not do are refused with UnsupportedMechanism, before the token."""
    mixed = padding.PSS(padding.MGF1(hashes.SHA1()), 32)
    with pytest.raises(errors.UnsupportedMechanism):
        keys["rsa-2048"].sign(b"m", mixed, hashes.SHA256())
    with pytest.raises(errors.UnsupportedMechanism):
        keys["ec-p256"].sign(b"m", ec.ECDSA(hashes.BLAKE2s(32)))
    with pytest.raises(errors.UnsupportedMechanism):
        keys["ec-p256"].exchange(ec.ECDH(), keys["ec-p256"].public_key())


def test_pss_salt_lengths(keys):
    """PSS with digest, maximal and stated salt lengths verifies."""
    key = keys["rsa-2048"]
    for salt in (padding.PSS.DIGEST_LENGTH, padding.PSS.MAX_LENGTH, 20):
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt)
        key.public_key().verify(key.sign(b"m", scheme, hashes.SHA256()), b"m", scheme, hashes.SHA256())


def test_oaep_decrypts_on_the_token(token):
    """A key made for decryption opens what its public key encrypted; a key that signs only refuses."""
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    key = token.generate_key_pair("rsa-2048", label="decrypts", use=KeyUse(sign=False, decrypt=True))
    assert key.decrypt(key.public_key().encrypt(b"secret", oaep), oaep) == b"secret"
    signing = token.generate_key_pair("rsa-2048", label="signs only")
    with pytest.raises(errors.DojangError):
        signing.decrypt(signing.public_key().encrypt(b"secret", oaep), oaep)


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_an_imported_key_is_the_same_key_and_stays(token, make):
    """A key made in software signs the same on the token, and cannot be read back."""
    software = make()
    key = token.import_private_key(software, label="imported")
    assert key.public_key() == software.public_key()
    sign_and_verify(key, b"imported")
    attributes = key.signer.attributes
    assert attributes
    token.destroy(next(iter(token.keys(label="imported"))).key_id)


def test_an_always_authenticated_key_asks_for_its_pin_every_time(make_token, search, guard):
    """CKA_ALWAYS_AUTHENTICATE: one PIN request a signature; a wrong PIN is spent once and signs nothing."""
    from dojang.pkcs11 import open_token
    from dojang.secret import Secret

    fixture = make_token()
    asked = []

    def provide(request):
        asked.append(request.role)
        return Secret(fixture.pin)

    with open_token(fixture.uri, provide, search=search, guard=guard) as opened:
        key = opened.generate_key_pair("ec-p256", label="careful", use=KeyUse(always_authenticate=True))
        for _ in range(3):
            sign_and_verify(key, b"m")
    assert asked == ["user", "context", "context", "context"]

    answers = iter([Secret(fixture.pin), Secret("9999"), Secret(fixture.pin)])
    with open_token(fixture.uri, lambda request: next(answers), search=search, guard=guard) as opened:
        key = opened.private_key(label="careful")
        with pytest.raises(errors.PinIncorrect):
            key.sign(b"m", ec.ECDSA(hashes.SHA256()))
        sign_and_verify(key, b"m")
