"""A small authority in memory and the certificates it gives."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

NOW = datetime.now(UTC).replace(microsecond=0)


class SmallAuthority:
    """A root and an issuing CA in memory."""

    def __init__(self) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._authority("Contract Root", self.root_key, "Contract Root", self.root_key)
        self.issuing = self._authority("Contract CA", self.key, "Contract Root", self.root_key)
        self.chain_der = tuple(one.public_bytes(Encoding.DER) for one in (self.issuing, self.root))

    def certify(self, key, common_name: str, *, days: int = 0) -> bytes:
        """A certificate for ``key``'s public half that began ``days`` from now."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "KR"), *_common(common_name).rdns[0]])
        builder = _begun(x509.CertificateBuilder(), name, self.issuing.subject, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _authority(self, name, key, issuer_name, issuer_key) -> x509.Certificate:
        subject = issuer = _common(name)
        if name != issuer_name:
            issuer = _common(issuer_name)
        builder = _begun(x509.CertificateBuilder(), subject, issuer, key.public_key(), -1)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return builder.add_extension(identifier, critical=False).sign(issuer_key, hashes.SHA256())


def _common(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _begun(builder, subject, issuer, public_key, days):
    return (
        builder.subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days - 1))
        .not_valid_after(NOW + timedelta(days=days + 365))
    )


def proves(key, certificate_der: bytes) -> bool:
    """Whether a signature by ``key`` verifies with the certificate."""
    public_key = x509.load_der_x509_certificate(certificate_der).public_key()
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(key.sign(b"challenge", ec.ECDSA(hashes.SHA256())), b"challenge", ec.ECDSA(hashes.SHA256()))
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        public_key.verify(key.sign(b"challenge"), b"challenge")
    return True
