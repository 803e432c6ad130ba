"""The keys that work for an authority under its certificate: for OCSP, time stamps, CMP, and heads of its audit record.

Their certificates are short, and are renewed for the same key before they expire; by the key that certified them as
long as that has lists and answers to give, because an answer must come from a key that it certified itself
(RFC 6960 section 4.2.2.2).
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from dojang.authority import audit
from dojang.authority.hierarchy.certifying import certify, check_key, checked_subject, record
from dojang.authority.hierarchy.scene import Scene, check_unused
from dojang.authority.hierarchy.signers import (
    CURRENT,
    RETIRED,
    RETIRING,
    Key,
    add,
    in_state,
    issuer_now,
    keys,
    set_certificate,
    set_state,
)
from dojang.errors import DojangError
from dojang.x509.challenge import prove_possession
from dojang.x509.keys import same_key
from dojang.x509.profiles import Profile, profile

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey
    from sqlalchemy import Connection

ROLES = ("ocsp", "tsa", "cmp", "audit")
TITLES = {"ocsp": "OCSP", "tsa": "TSA", "cmp": "CMP", "audit": "Audit"}


def usual_subject(issuer: x509.Certificate, role: str) -> x509.Name:
    """The issuer's name with the role behind its common name."""
    parts = [
        x509.NameAttribute(part.oid, f"{part.value!s} {TITLES[role]}") if part.oid == NameOID.COMMON_NAME else part
        for part in issuer.subject
    ]
    return x509.Name(parts)


def add_delegate(
    scene: Scene, role: str, private: "PrivateKey", key_address: str, subject: x509.Name | None = None
) -> Key:
    """Certify a key for that role and use it from now on; the one before steps down.

    What was interrupted is found done or not begun: the same key again is its own answer. Raises ``NotPermitted`` for a
    key that the profile rules out or that has another role, ``InvalidName``, and what the tokens raise.
    """
    wanted = profile(role, scene.profiles)
    with scene.database.reading() as connection:
        there, issuer = in_state(connection, role, CURRENT), issuer_now(connection)
        if there is not None and _is_of(there, private):
            return there
        check_unused(connection, private)
    public_key = cast("PublicKey", private.public_key())
    check_key(public_key, wanted)
    name = checked_subject(subject or usual_subject(issuer.certificate, role), wanted)
    certificate_der = certify(wanted, name, public_key, scene.above(issuer))
    prove_possession(private, certificate_der)
    with scene.database.writing() as connection:
        step_down(connection, role)
        made = add(connection, role, certificate_der, key_address, state=CURRENT)
        record(connection, certificate_der, wanted.name, issuer.id, scene.at)
        note_added(connection, made, scene)
    return made


def note(connection: "Connection", scene: Scene, event: str, one: Key, **more: str | None) -> None:
    """Put on record what was done to a key."""
    role, generation = one.role, one.generation
    audit.record(connection, event=event, subject=one.id, at=scene.at, role=role, generation=generation, **more)


def note_added(connection: "Connection", made: Key, scene: Scene) -> None:
    serial = f"{made.certificate.serial_number:x}"
    note(connection, scene, "signer-added", made, certificate=serial, state=made.state)


def step_down(connection: "Connection", role: str) -> None:
    """Whoever did this until now. An OCSP key goes on answering for what its issuer signed."""
    before = in_state(connection, role, CURRENT)
    if before is not None:
        set_state(connection, before, RETIRING if role == "ocsp" else RETIRED)


def renew_delegates(scene: Scene, *, all_of_them: bool = False) -> list[Key]:
    """Give every certificate of these keys that is about to expire a successor; those that were renewed.

    Where one cannot be renewed, because the key above it is away, the others are; its error is raised after that.
    """
    with scene.database.reading() as connection:
        waiting = [one for one in keys(connection, *ROLES) if one.state in (CURRENT, RETIRING)]
    renewed, failure = [], None
    for one in waiting:
        try:
            new = _renewed(scene, one, force=all_of_them)
        except DojangError as error:
            failure = error
        else:
            renewed += [] if new is None else [new]
    if failure is not None:
        raise failure
    return renewed


def _renewed(scene: Scene, one: Key, *, force: bool) -> Key | None:
    wanted = profile(one.role, scene.profiles)
    if not force and scene.at < _due_at(one, wanted):
        return None
    with scene.database.reading() as connection:
        issuer = _issuer_of(connection, one)
    own = one.certificate
    certificate_der = certify(wanted, own.subject, own.public_key(), scene.above(issuer))
    renewed = x509.load_der_x509_certificate(certificate_der)
    if not force and renewed.not_valid_after_utc <= own.not_valid_after_utc:
        return None  # the issuer itself ends then
    with scene.database.writing() as connection:
        set_certificate(connection, one, certificate_der)
        record(connection, certificate_der, wanted.name, issuer.id, scene.at)
        made = next(known for known in keys(connection, one.role) if known.id == one.id)
        note_added(connection, made, scene)
    return made


def _due_at(one: Key, wanted: Profile) -> datetime:
    return one.certificate.not_valid_after_utc - timedelta(days=wanted.renewal_window_days)


def _issuer_of(connection: "Connection", one: Key) -> Key:
    """For OCSP the key that certified it; the others go with the authority."""
    if one.role == "ocsp":
        for known in keys(connection, "issuing", "root"):
            if known.state in (CURRENT, RETIRING) and is_certified_by(one, known):
                return known
    return issuer_now(connection)


def is_certified_by(one: Key, issuer: Key) -> bool:
    try:
        one.certificate.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _is_of(one: Key, private: "PrivateKey") -> bool:
    return same_key(private.public_key(), one.certificate.public_key())
