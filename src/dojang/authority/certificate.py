"""Certificates as an authority signs them: what the profile says and nothing else (RFC 5280)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509

from dojang.authority.form import extension_der, form_for, key_identifier_der, term_der
from dojang.x509.keys import spki_of
from dojang.x509.profiles import Profile
from dojang.x509.request import signature_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate that is decided on and not signed yet. ``addresses`` are those of ``addresses_for``.

    ``key_identifier`` is what others call the key already, where it is not the hash that we would make.
    """

    profile: Profile
    subject: x509.Name
    public_key: "PublicKey"
    alternative_names: tuple[x509.GeneralName, ...]
    not_before_at: datetime
    not_after_at: datetime
    addresses: Mapping[str, str] = field(default_factory=dict)
    key_identifier: bytes | None = None


def sign_certificate(draft: Draft, issuer: x509.Certificate | None, key: "PrivateKey", serial: int) -> bytes:
    """The certificate in DER, signed by ``key``; self-signed without an ``issuer``."""
    form = form_for(draft.profile, draft.addresses, issuer, key.public_key())
    names = draft.alternative_names
    spki = spki_of(draft.public_key)
    tbs = form.to_be_signed(
        serial,
        term_der(draft.not_before_at, draft.not_after_at),
        draft.subject.public_bytes(),
        spki,
        key_identifier_der(spki, own=draft.key_identifier),
        extension_der(x509.SubjectAlternativeName(names)) if names else b"",
    )
    return form.signed(tbs, signature_of(key, tbs))
