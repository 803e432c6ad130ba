"""Which certificates lead from what an authority issues to a root that the subscriber knows, old or new."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from sqlalchemy import select

from dojang.authority.hierarchy.certifying import fingerprint_of
from dojang.authority.hierarchy.crossing import PROFILE
from dojang.authority.hierarchy.signers import CURRENT, NEXT, Key, current, in_state, issuer_now, keys
from dojang.authority.tables import certificate

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class RootUpdate:
    """What someone who knows the old root needs to know the new one (RFC 9810 section 5.3.19.15), and the other way."""

    new_with_new_der: bytes
    new_with_old_der: bytes | None
    old_with_new_der: bytes | None


def chain_of(connection: "Connection", issuer: Key, at: datetime) -> tuple[bytes, ...]:
    """The issuer's certificate, its root's last, and between them those that lead to that root from other roots.

    Those come before the root's own, so that a program that takes the first that fits goes on to where they lead.
    """
    root = root_of(connection, issuer)
    below = () if issuer.id == root.id else (issuer.certificate_der,)
    return (*below, *_crossings(connection, root, at), root.certificate_der)


def root_of(connection: "Connection", issuer: Key) -> Key:
    """The root whose key certified it; a root is its own."""
    if issuer.role == "root":
        return issuer
    return _certifier_of(connection, issuer, "root") or current(connection, "root")


def issuer_of(connection: "Connection", one: Key) -> Key:
    """The key that certified one that works for it; it may have been followed by another since."""
    return _certifier_of(connection, one, "issuing", "root") or issuer_now(connection)


def root_update(connection: "Connection", at: datetime, old_der: bytes | None = None) -> RootUpdate | None:
    """The root after ``old_der`` (after the oldest unless said), from the moment it is published; else ``None``."""
    roots = keys(connection, "root")
    old = next((one for one in roots if old_der in (None, one.certificate_der)), None)
    new = in_state(connection, "root", NEXT) or in_state(connection, "root", CURRENT)
    if old is None or new is None or new.generation <= old.generation:
        return None
    return RootUpdate(
        new.certificate_der,
        crossing_of(connection, new.certificate, old.certificate, at),
        crossing_of(connection, old.certificate, new.certificate, at),
    )


def _certifier_of(connection: "Connection", one: Key, *roles: str) -> Key | None:
    """By the record of its certificate, among the keys of these roles."""
    serial = f"{one.certificate.serial_number:x}"
    name = connection.execute(select(certificate.c.signer).where(certificate.c.serial == serial)).scalar_one_or_none()
    return next((known for known in keys(connection, *roles) if known.id == name), None)


def _crossings(connection: "Connection", root: Key, at: datetime) -> list[bytes]:
    """Certificates of this root's key by other roots of ours, and of theirs by others: nearest first, each once."""
    found: list[bytes] = []
    waiting = [root.certificate]
    others = [one.certificate for one in keys(connection, "root") if one.id != root.id]
    while waiting:
        for crossing_der in _certificates_of(connection, waiting.pop(0), at):
            issuer = next((one for one in others if _is_signed_by(crossing_der, one)), None)
            if issuer is not None:
                others.remove(issuer)
                waiting.append(issuer)
                found.append(crossing_der)
    return found


def crossing_of(
    connection: "Connection", subject: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> bytes | None:
    """The newest certificate that one gave to the other's key, and that is good."""
    return next((one for one in _certificates_of(connection, subject, at) if _is_signed_by(one, issuer)), None)


def _certificates_of(connection: "Connection", subject: x509.Certificate, at: datetime) -> list[bytes]:
    query = select(certificate.c.certificate_der).where(
        certificate.c.key_fingerprint == fingerprint_of(subject),
        certificate.c.profile == PROFILE,
        certificate.c.state == "confirmed",
        certificate.c.not_after_at > at,
    )
    return list(connection.execute(query.order_by(certificate.c.number.desc())).scalars())


def _is_signed_by(certificate_der: bytes, issuer: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        x509.load_der_x509_certificate(certificate_der).verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True
