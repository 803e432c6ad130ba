"""Signed heads: what a key of the authority says about the last row, so that no later hand can take rows away.

What is signed is a text of five lines, kept as it is, so that any program can check it:

    dojang audit head 1
    authority: <SHA-256 of the first root certificate, hex>
    entries: <number of the last row>
    hash: <its hash>
    at: <moment>

RSA: PKCS#1 v1.5 with SHA-256; EC: ECDSA with the hash that fits the curve, in DER; Ed25519 as it is. The text begins
with a letter, so it is no certificate and no revocation list, whichever key signs it.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from dojang.errors import FileMalformed, Phrase

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

_FIRST_LINE: Final = "dojang audit head 1"
_NAMES: Final = ("authority", "entries", "hash", "at")
_FORM: Final = "dojang-audit-head-1"
_DEEPEST: Final = 6
HEAD_SIGNING: Final = "1.3.6.1.4.1.32473.410.2.1"
"""Extended key usage of a certificate whose key signs heads and nothing else; for the arc see ``x509.profiles``."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head with its signature and the certificates that lead from its signer up to the first root."""

    text: str
    signature: bytes
    chain_der: tuple[bytes, ...]

    @property
    def authority(self) -> str:
        return self._said("authority")

    @property
    def entries(self) -> int:
        """How many rows there were."""
        said = self._said("entries")
        return int(said) if said.isascii() and said.isdigit() else -1

    @property
    def hash(self) -> str:
        return self._said("hash")

    @property
    def at(self) -> str:
        return self._said("at")

    def _said(self, name: str) -> str:
        """What one line says; nothing where the text is not one of ours."""
        lines = self.text.split("\n")
        if len(lines) != len(_NAMES) + 2 or lines[0] != _FIRST_LINE or lines[-1]:
            return ""
        line = lines[1 + _NAMES.index(name)]
        return line.removeprefix(f"{name}: ") if line.startswith(f"{name}: ") else ""

    def to_json(self) -> str:
        """One line; ``from_json`` reads it."""
        return json.dumps(
            {
                "form": _FORM,
                "head": self.text,
                "signature": base64.b64encode(self.signature).decode(),
                "certificates": [base64.b64encode(der).decode() for der in self.chain_der],
            }
        )

    @classmethod
    def from_json(cls, text: str, path: object) -> Self:
        """A head as ``dojang audit head`` or ``export`` wrote it to ``path``. Raises ``FileMalformed``."""
        try:
            known = json.loads(text)
            if known["form"] != _FORM:
                raise ValueError(_FORM)
            chain = tuple(base64.b64decode(one, validate=True) for one in known["certificates"])
            return cls(str(known["head"]), base64.b64decode(known["signature"], validate=True), chain)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
            raise FileMalformed(
                path=path, expected=Phrase("a signed head"), problem=Phrase("it has another form")
            ) from error


def text_of(root_certificate_der: bytes, entries: int, last_hash: str, at: str) -> str:
    """What is signed."""
    values = (hashlib.sha256(root_certificate_der).hexdigest(), entries, last_hash, at)
    lines = [f"{name}: {value}" for name, value in zip(_NAMES, values, strict=True)]
    return "\n".join([_FIRST_LINE, *lines, ""])


def sign_text(key: "PrivateKey", text: str) -> bytes:
    """The signature by a key of the authority, wherever it lives."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    from dojang.x509.request import signature_hash_for

    octets, algorithm = text.encode(), signature_hash_for(key.public_key())
    if isinstance(key, rsa.RSAPrivateKey) and algorithm is not None:
        return key.sign(octets, padding.PKCS1v15(), algorithm)
    if isinstance(key, ec.EllipticCurvePrivateKey) and algorithm is not None:
        return key.sign(octets, ec.ECDSA(algorithm))
    assert isinstance(key, ed25519.Ed25519PrivateKey), "an authority's key is RSA, EC or Ed25519"
    return key.sign(octets)


def is_signed(head: Head) -> bool:
    """Whether the first certificate's key made the signature."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    from dojang.x509.request import signature_hash_for

    if not (chain := _parsed(head.chain_der[:1])):
        return False
    octets = head.text.encode(errors="replace")
    try:
        key = chain[0].public_key()
        algorithm = signature_hash_for(key)
        if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(head.signature, octets, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(head.signature, octets, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(head.signature, octets)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def leads_to(chain_der: Sequence[bytes], root_certificate_der: bytes) -> bool:
    """Whether the first certificate may sign heads and each was issued by the next, up to one that this root issued.

    Expiry does not matter: a head is looked at for as long as the record is kept. Who may sign is a certificate of an
    authority, or one made for heads; else every subscriber could.
    """
    chain, root = _parsed(chain_der), _parsed([root_certificate_der])
    if not chain or not root or not (_is_ca(chain[0]) or _is_for_heads(chain[0])):
        return False
    for number, certificate in enumerate(chain):
        if certificate == root[0] or issued_by(certificate, root[0]):
            return True
        if number + 1 == len(chain) or not issued_by(certificate, chain[number + 1]):
            return False
    return False


def issued_by(certificate: "x509.Certificate", issuer: "x509.Certificate") -> bool:
    """Whether the issuer is an authority whose key signed the certificate, now or ever."""
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return _is_ca(issuer)


def _is_ca(certificate: "x509.Certificate") -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _is_for_heads(certificate: "x509.Certificate") -> bool:
    from cryptography import x509

    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return x509.ObjectIdentifier(HEAD_SIGNING) in usages


def _parsed(chain_der: Sequence[bytes]) -> "list[x509.Certificate]":
    from cryptography import x509

    try:
        return [x509.load_der_x509_certificate(der) for der in chain_der[:_DEEPEST]]
    except ValueError:
        return []
