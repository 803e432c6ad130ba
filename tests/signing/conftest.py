"""A small hierarchy (root, issuing authority, a subscriber for each kind of key), in memory and as files."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dojang.signing.cms import CmsOptions, sign_file
from dojang.signing.private_key import PrivateKeySigner
from dojang.signing.verification import Trust

NOW = datetime.now(UTC)
MAKERS = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "KR"), x509.NameAttribute(NameOID.COMMON_NAME, common)])


@dataclass(frozen=True)
class Subscriber:
    """A key, its certificate, and both as PEM files."""

    key: object
    certificate_der: bytes
    key_file: Path
    certificate_file: Path

    @property
    def signer(self) -> PrivateKeySigner:
        return PrivateKeySigner(self.key)


class Pki:
    """Root → issuing authority → subscribers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root_key, self.issuing_key = MAKERS["ec-p256"](), MAKERS["ec-p256"]()
        self.root = self.certificate("Root", self.root_key, "Root", self.root_key, ca=True)
        self.issuing = self.certificate("Issuing", self.issuing_key, "Root", self.root_key, ca=True)
        self.root_file = folder / "root.pem"
        self.root_file.write_bytes(self.root.public_bytes(Encoding.PEM))
        self.issuing_file = folder / "issuing.pem"
        self.issuing_file.write_bytes(self.issuing.public_bytes(Encoding.PEM))
        self.subscriber = cache(self._subscriber)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        return (self.issuing.public_bytes(Encoding.DER),)

    @property
    def trust(self) -> Trust:
        return Trust((self.root.public_bytes(Encoding.DER),))

    def certificate(
        self, subject: str, key: object, issuer: str, issuer_key: object, *, ca: bool = False, days: tuple = (-1, 30)
    ) -> x509.Certificate:
        usage = dict.fromkeys(
            ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
        )
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not ca, content_commitment=not ca, key_cert_sign=ca, crl_sign=ca, **usage
                ),
                critical=True,
            )
            .sign(issuer_key, hashes.SHA256())
        )

    def _subscriber(self, algorithm: str, days: tuple = (-1, 30)) -> Subscriber:
        key = MAKERS[algorithm]()
        certificate = self.certificate(f"Hong {algorithm}", key, "Issuing", self.issuing_key, days=days)
        stem = self.folder / f"{algorithm}{days[1]}"
        certificate_file, key_file = stem.with_suffix(".crt"), stem.with_suffix(".key")
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM) + self.issuing.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Subscriber(key, certificate.public_bytes(Encoding.DER), key_file, certificate_file)

    def crl_der(
        self, revoked: bytes | None = None, reason: x509.ReasonFlags = x509.ReasonFlags.key_compromise
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.issuing.subject)
            .last_update(NOW - timedelta(hours=1))
            .next_update(NOW + timedelta(days=7))
        )
        if revoked is not None:
            serial = x509.load_der_x509_certificate(revoked).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - timedelta(hours=2))
            entry = entry.add_extension(x509.CRLReason(reason), critical=False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.issuing_key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A file of some 200 kB with every byte in it."""
    path = tmp_path / "document.bin"
    path.write_bytes(bytes(range(256)) * 800 + b"\r\n\0tail")
    return path


@pytest.fixture
def sign_cms(pki: Pki) -> Callable[..., Path]:
    """Signs a file as CMS by a subscriber's key of this algorithm; gives the path of the message."""

    def sign(source: object, output: Path, algorithm: str = "ec-p256", **options: object) -> Path:
        subscriber = pki.subscriber(algorithm)
        chosen = CmsOptions(subscriber.certificate_der, pki.chain_der, **options)
        sign_file(source, output, subscriber.signer, chosen)
        return output

    return sign


@pytest.fixture(scope="session")
def openssl() -> Callable[..., bytes]:
    """Runs openssl; a failure fails the test with what it said."""

    def run(*arguments: object) -> bytes:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run
