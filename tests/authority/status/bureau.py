"""An authority's records without the authority: keys, certificates and their states, and who tells of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from sqlalchemy import insert, select, update

from dojang.authority.addresses import addresses_for
from dojang.authority.certificate import Draft, sign_certificate
from dojang.authority.database import Database
from dojang.authority.status.lists import Lists
from dojang.authority.status.responder import Responder
from dojang.authority.status.settings import StatusSettings
from dojang.authority.tables import certificate as certificates
from dojang.authority.tables import signer as signers
from dojang.x509.keys import spki_of
from dojang.x509.name import format_name, parse_name
from dojang.x509.profiles import profile


def new_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Bureau:
    """Signers and certificates on record. ``keys`` are those of the signers; one taken out is a token pulled out."""

    database: Database
    folder: Path
    clock: Any
    keys: dict[str, Any] = field(default_factory=dict)
    own: dict[str, x509.Certificate] = field(default_factory=dict)
    base: str = ""
    """The authority's own address, for what certificates say of where to ask."""

    def key(self, name: str) -> Any:
        found = self.keys[name]
        if isinstance(found, Exception):
            raise found
        return found

    def found(self, name: str, role: str, above: str | None = None, *, key: Any = None, subject: str = "") -> None:
        """A signer; ``role`` is root, issuing or ocsp, and ``above`` who certifies it."""
        self.keys[name] = key or new_key()
        made = self._certificate(
            role, subject or f"CN={name},O=Example,C=KR", self.keys[name].public_key(), above or name
        )
        self.own[name] = made
        generation = int(name.rpartition("-")[2]) if "-" in name else 1
        row = {"id": name, "role": role, "generation": generation, "key_address": name, "crl_days": 30}
        state = "current" if generation == 1 else "next"
        with self.database.writing() as connection:
            connection.execute(insert(signers), {**row, "state": state, "certificate_der": der_of(made)})
        if above is not None:
            self._record(made, above, role)

    def rotate(self, old: str, new: str) -> None:
        """The new generation signs from now on; the old one goes on telling of what it signed."""
        self._set(old, "retiring")
        self._set(new, "current")

    def retire(self, name: str) -> None:
        self._set(name, "retired")

    def _set(self, name: str, state: str) -> None:
        with self.database.writing() as connection:
            connection.execute(update(signers).where(signers.c.id == name).values(state=state))

    def issue(self, signer: str = "issuing") -> x509.Certificate:
        """A certificate of a subscriber."""
        made = self._certificate("personal", "CN=홍길동,O=Example,C=KR", new_key().public_key(), signer)
        self._record(made, signer, "personal")
        return made

    def change(self, certificate: x509.Certificate, state: str, reason: str | None = None) -> None:
        """``revoked``, ``suspended`` or back to ``confirmed``, as the authority would write it down."""
        serial, at = f"{certificate.serial_number:x}", None if state == "confirmed" else self.clock()
        number = select(signers.c.crl_number).where(signers.c.id == certificates.c.signer).scalar_subquery()
        facts = {"state": state, "reason": reason, "revoked_at": at, "changed_at": self.clock(), "listed_after": number}
        with self.database.writing() as connection:
            connection.execute(update(certificates).where(certificates.c.serial == serial).values(**facts))

    def responder(self, **settings: Any) -> Responder:
        return Responder(self.database, self.key, self.clock, StatusSettings(**settings))

    def lists(self, **settings: Any) -> Lists:
        return Lists(self.database, self.key, self.file_of, StatusSettings(**settings))

    def file_of(self, name: str) -> Path:
        return self.folder / f"{name}.crl"

    def listed(self, name: str = "issuing", *, delta: bool = False) -> x509.CertificateRevocationList:
        path = self.file_of(name)
        return x509.load_der_x509_crl((path.with_name(f"delta-{path.name}") if delta else path).read_bytes())

    def _certificate(self, kind: str, subject: str, public_key: Any, signer: str) -> x509.Certificate:
        wanted, at = profile(kind), self.clock()
        last = self.own[signer].not_valid_after_utc if signer in self.own else datetime.max.replace(tzinfo=at.tzinfo)
        names = parse_name(subject), public_key, ()
        addresses = addresses_for(wanted, self.base, signer)
        draft = Draft(wanted, *names, at, min(at + timedelta(days=wanted.validity_days), last), addresses)
        der = sign_certificate(draft, self.own.get(signer), self.keys[signer], x509.random_serial_number())
        return x509.load_der_x509_certificate(der)

    def _record(self, made: x509.Certificate, signer: str, kind: str) -> None:
        row = {
            "serial": f"{made.serial_number:x}",
            "signer": signer,
            "certificate_der": der_of(made),
            "profile": kind,
            "subject": format_name(made.subject),
            "key_fingerprint": sha256(spki_of(made.public_key())).digest(),
            "not_before_at": made.not_valid_before_utc,
            "not_after_at": made.not_valid_after_utc,
            "recorded_at": self.clock(),
            "changed_at": self.clock(),
            "state": "confirmed",
        }
        with self.database.writing() as connection:
            connection.execute(insert(certificates), row)


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def ask(
    certificate: x509.Certificate | int,
    issuer: x509.Certificate,
    nonce: bytes | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A request about one certificate, or about a serial."""
    from dojang.authority.status.issuers import names_of
    from dojang.authority.status.request import HASHES

    used = algorithm or hashes.SHA1()
    oid = next(oid for oid, known in HASHES.items() if known.name == used.name)
    _, name_hash, key_hash = next(name for name in names_of(issuer) if name[0] == oid)
    serial = certificate if isinstance(certificate, int) else certificate.serial_number
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name_hash, key_hash, serial, used)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@contextmanager
def opened(url: str, folder: Path, clock: Any, keys: dict[str, Any] | None = None) -> Iterator[Bureau]:
    """A root, an issuing authority below it, and a responder of that; ``keys`` are keys to use, by name."""
    own = keys or {}
    database = Database.open(url)
    bureau = Bureau(database, folder, clock)
    for name, above in (("root", None), ("issuing", "root"), ("ocsp", "issuing")):
        bureau.found(name, name, above, key=own.get(name))
    yield bureau
    database.close()
