"""Certificates for keys of the authority's own: by a profile, signed by the key above, and for what they are."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, cast

from cryptography import x509
from sqlalchemy import insert

from dojang.authority.addresses import addresses_for
from dojang.authority.certificate import Draft, sign_certificate
from dojang.authority.tables import certificate
from dojang.errors import InvalidName, NotPermitted, Phrase
from dojang.x509.keys import algorithm_of, is_strong, spki_of
from dojang.x509.name import attribute_names, format_name, settled_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey
    from sqlalchemy import Connection

    from dojang.authority.hierarchy.signers import Key
    from dojang.x509.profiles import Profile


@dataclass(frozen=True, slots=True)
class Above:
    """Who signs, at a moment: a key on record with the private half of it, and the authority's own address."""

    key: "Key"
    private: "PrivateKey"
    at: datetime
    base: str | None = None


def check_key(public_key: "PublicKey", profile: "Profile") -> None:
    """``NotPermitted`` for a key that the profile rules out, or that is weak."""
    algorithm = algorithm_of(public_key)
    if algorithm not in profile.algorithms or not is_strong(public_key):
        raise NotPermitted(
            problem=Phrase("a key of the kind {algorithm} cannot sign for an authority", algorithm=algorithm),
            remedy=Phrase("Choose one of: {algorithms}.", algorithms=", ".join(profile.algorithms)),
        )


def checked_subject(subject: x509.Name, profile: "Profile") -> x509.Name:
    """The name as it goes into the certificate. Raises ``InvalidName``."""
    settled = settled_name(subject)
    for kind in profile.subject_required:
        if kind not in attribute_names(settled):
            raise InvalidName(name=format_name(settled), problem=Phrase("{type} is missing", type=kind))
    return settled


def certify(profile: "Profile", subject: x509.Name, public_key: "PublicKey", above: Above) -> bytes:
    """The certificate of a key of our own, as long as the profile says and no longer than what signs it."""
    issuer = above.key.certificate
    return sign_certificate(_draft(profile, subject, public_key, issuer, above), issuer, above.private, new_serial())


def certify_itself(profile: "Profile", subject: x509.Name, private: "PrivateKey", at: datetime) -> bytes:
    """A root's own certificate."""
    public_key = cast("PublicKey", private.public_key())
    draft = Draft(profile, subject, public_key, (), at, at + timedelta(days=profile.validity_days))
    return sign_certificate(draft, None, private, new_serial())


def new_serial() -> int:
    return x509.random_serial_number()  # 159 random bits


def record(connection: "Connection", certificate_der: bytes, profile: str, signer: str, at: datetime) -> str:
    """Put a certificate of our own making on record, inside ``writing()``; its serial in hex."""
    made = x509.load_der_x509_certificate(certificate_der)
    serial = f"{made.serial_number:x}"
    facts = {
        "serial": serial,
        "signer": signer,
        "certificate_der": certificate_der,
        "profile": profile,
        "subject": format_name(made.subject),
        "key_fingerprint": fingerprint_of(made),
        "not_before_at": made.not_valid_before_utc,
        "not_after_at": made.not_valid_after_utc,
        "recorded_at": at,
        "changed_at": at,
        "state": "confirmed",
    }
    connection.execute(insert(certificate), facts)
    return serial


def fingerprint_of(one: x509.Certificate) -> bytes:
    """By which the record finds every certificate of a key."""
    return sha256(spki_of(one.public_key())).digest()


def _draft(
    profile: "Profile", subject: x509.Name, public_key: "PublicKey", issuer: x509.Certificate, above: Above
) -> Draft:
    begin_at = max(above.at, issuer.not_valid_before_utc)
    end_at = min(above.at + timedelta(days=profile.validity_days), issuer.not_valid_after_utc)
    addresses = addresses_for(profile, above.base, above.key.id)
    return Draft(profile, subject, public_key, (), begin_at, end_at, addresses)
