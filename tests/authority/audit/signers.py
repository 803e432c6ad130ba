"""Who signs heads in these tests, and who should not."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.authority.audit.heads import Head, sign_text, text_of
from dojang.x509.name import parse_name
from dojang.x509.request import signature_hash_for

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MOMENT = "2026-01-31T12:00:00.000Z"


@dataclass
class Signer:
    """A key and its certificates, its own first."""

    key: Any
    chain: tuple[bytes, ...]

    def below(self, name: str, *, key: Any = None, ca: bool = True, usage: str | None = None) -> "Signer":
        """One whose certificate this one signed."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_der_x509_certificate(self.chain[0]).subject
        return Signer(key, (_certificate(name, key, issuer, self.key, ca, usage), *self.chain))

    def crossed(self, name: str, other: "Signer") -> bytes:
        """A certificate of this one for the key of another root of that name."""
        return _certificate(
            name, other.key, x509.load_der_x509_certificate(self.chain[0]).subject, self.key, True, None
        )

    def head(self, root: bytes, entries: int, last_hash: str) -> Head:
        text = text_of(root, entries, last_hash, MOMENT)
        return Head(text, sign_text(self.key, text), self.chain)


def root_signer(name: str = "Root") -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(key, (_certificate(name, key, None, key, True, None),))


def _certificate(name: str, key: Any, issuer: x509.Name | None, signer: Any, ca: bool, usage: str | None) -> bytes:
    subject = parse_name(f"CN={name},C=KR")
    builder = x509.CertificateBuilder(
        issuer or subject, subject, key.public_key(), x509.random_serial_number(), AT, AT + timedelta(days=3650)
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(usage)]), critical=False)
    return builder.sign(signer, signature_hash_for(signer.public_key())).public_bytes(Encoding.DER)
