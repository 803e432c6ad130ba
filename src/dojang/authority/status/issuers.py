"""For whom an authority answers, and with which key: each generation of its signers for what it issued itself.

The key is that of a responder which the same key certified (RFC 6960 section 4.2.2.2), or without one its own.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from sqlalchemy import select

from dojang.authority.status.request import HASHES, CertId
from dojang.authority.tables import signer
from dojang.der import SEQUENCE, parse, parts
from dojang.x509.keys import spki_of

if TYPE_CHECKING:
    from dojang.authority.database import Database

_AGAIN: Final = 5.0
"""Seconds after which another process's new keys are looked for."""
_SIGNERS: Final = select(signer.c.id, signer.c.role, signer.c.certificate_der).where(
    signer.c.role.in_(("root", "issuing", "ocsp")), signer.c.state != "retired", signer.c.certificate_der.is_not(None)
)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A key on record and its certificate; ``delegated`` when that is for answering only."""

    signer: str
    certificate: x509.Certificate
    delegated: bool

    @property
    def tag(self) -> str:
        """What tells its answers from those of others."""
        return f"{self.signer} {self.certificate.serial_number:x}"

    def holds(self, at: datetime) -> bool:
        return self.certificate.not_valid_before_utc <= at < self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True)
class Issuer:
    """One key that issued certificates, and who may answer for it, best first."""

    signer: str
    holders: tuple[KeyHolder, ...]

    def named(self, algorithm: str) -> CertId:
        """What a request calls it with that hash; the serial is nobody's."""
        return next(CertId(*name, 0) for name in names_of(self.holders[-1].certificate) if name[0] == algorithm)

    def answers(self, at: datetime) -> KeyHolder:
        """Who answers now."""
        return next((one for one in self.holders if one.holds(at)), self.holders[-1])


class Issuers:
    """The issuers of one authority, by the hashes that requests name them with. For many threads."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._known: Mapping[tuple[str, bytes, bytes], Issuer] = {}
        self._looked_at = float("-inf")
        self._turn = threading.Lock()

    def find(self, named: CertId) -> Issuer | None:
        """The issuer of a certificate; ``None`` when it is somebody else."""
        if self._is_old():
            with self._turn:
                if self._is_old():
                    self._look()
        return self._known.get((named.algorithm, named.name_hash, named.key_hash))

    def all(self) -> list[Issuer]:
        """Every one, as of now."""
        with self._turn:
            self._look()
        return list(dict.fromkeys(self._known.values()))

    def _is_old(self) -> bool:
        return time.monotonic() - self._looked_at > _AGAIN

    def _look(self) -> None:
        with self._database.reading() as connection:
            rows = connection.execute(_SIGNERS).all()
        loaded = [(row.id, row.role, x509.load_der_x509_certificate(row.certificate_der)) for row in rows]
        delegates = [KeyHolder(name, one, delegated=True) for name, role, one in loaded if role == "ocsp"]
        self._known = {
            key: issuer
            for name, role, one in loaded
            if role != "ocsp"
            for issuer in [_issuer(name, one, delegates)]
            for key in names_of(one)
        }
        self._looked_at = time.monotonic()


def _issuer(name: str, certificate: x509.Certificate, delegates: list[KeyHolder]) -> Issuer:
    own = [one for one in delegates if _is_certified_by(one.certificate, certificate)]
    newest = sorted(own, key=lambda one: one.certificate.not_valid_before_utc, reverse=True)
    return Issuer(name, (*newest, KeyHolder(name, certificate, delegated=False)))


def _is_certified_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def names_of(issuer: x509.Certificate) -> list[tuple[str, bytes, bytes]]:
    """What a request calls this issuer: algorithm, hash of the name, hash of the key's bits."""
    name_der, key_bits = issuer.subject.public_bytes(), _key_bits(issuer)
    return [(oid, _hashed(used, name_der), _hashed(used, key_bits)) for oid, used in HASHES.items()]


def _key_bits(certificate: x509.Certificate) -> bytes:
    """The content of the BIT STRING in the SubjectPublicKeyInfo, without its count of unused bits."""
    _, bits = parts(parse(spki_of(certificate.public_key()), SEQUENCE), 2, 2)
    return bits.content[1:]


def _hashed(used: hashes.HashAlgorithm, data: bytes) -> bytes:
    digest = hashes.Hash(used)
    digest.update(data)
    return digest.finalize()
