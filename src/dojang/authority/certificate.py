"""Certificates as an authority signs them: what the profile says and nothing else (RFC 5280)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from dojang.x509.profiles import KEY_USAGES, Profile
from dojang.x509.request import signature_hash_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

_KEY_USAGE_FIELDS = dict(
    zip(
        KEY_USAGES,
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
        ),
        strict=True,
    )
)
_NOT_SETTABLE = {"encipher_only": False, "decipher_only": False}


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
    builder = x509.CertificateBuilder(
        issuer_name=issuer.subject if issuer else draft.subject,
        subject_name=draft.subject,
        public_key=draft.public_key,
        serial_number=serial,
        not_valid_before=draft.not_before_at,
        not_valid_after=draft.not_after_at,
    )
    for extension, critical in _extensions(draft, issuer):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, signature_hash_for(key.public_key())).public_bytes(Encoding.DER)


def _extensions(draft: Draft, issuer: x509.Certificate | None) -> Sequence[tuple[x509.ExtensionType, bool]]:
    profile = draft.profile
    found: list[tuple[x509.ExtensionType, bool]] = [(_key_usage(profile.key_usage), True)]
    if profile.is_ca:
        found.append((x509.BasicConstraints(ca=True, path_length=profile.path_length), True))
    if profile.extended_key_usage:
        oids = [x509.ObjectIdentifier(oid) for oid in profile.extended_key_usage]
        # RFC 3161 section 2.3: critical for time stamping, and then alone.
        found.append((x509.ExtendedKeyUsage(oids), oids == [ExtendedKeyUsageOID.TIME_STAMPING]))
    if draft.alternative_names:
        found.append((x509.SubjectAlternativeName(draft.alternative_names), False))
    if profile.policies:
        found.append((_policies(draft), profile.policies_critical))
    found.append((_own_key_identifier(draft), False))
    if issuer is not None:
        found.append((_authority_key_identifier(issuer), False))
        found += [(extension, False) for extension in _where_to_ask(draft.addresses)]
    if profile.ocsp_no_check:
        found.append((x509.OCSPNoCheck(), False))
    return found


def _own_key_identifier(draft: Draft) -> x509.SubjectKeyIdentifier:
    if draft.key_identifier is not None:
        return x509.SubjectKeyIdentifier(draft.key_identifier)
    return x509.SubjectKeyIdentifier.from_public_key(draft.public_key)


def _policies(draft: Draft) -> x509.CertificatePolicies:
    """The first with its notice and the address of the practice statement, the others bare."""
    notice, cps = draft.profile.notice, draft.addresses.get("cps")
    qualifiers: list[str | x509.UserNotice] = [cps] if cps else []
    if notice:
        qualifiers.append(x509.UserNotice(None, notice))
    first, *others = map(x509.ObjectIdentifier, draft.profile.policies)
    rest = [x509.PolicyInformation(oid, None) for oid in others]
    return x509.CertificatePolicies([x509.PolicyInformation(first, qualifiers or None), *rest])


def _where_to_ask(addresses: Mapping[str, str]) -> Sequence[x509.ExtensionType]:
    """Access to the issuer and to its answers (RFC 5280, 4.2.2.1), and where its list lies (4.2.1.13)."""
    found: list[x509.ExtensionType] = []
    methods = (("ocsp", AuthorityInformationAccessOID.OCSP), ("issuer", AuthorityInformationAccessOID.CA_ISSUERS))
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(addresses[kind]))
        for kind, method in methods
        if kind in addresses
    ]
    if access:
        found.append(x509.AuthorityInformationAccess(access))
    if "crl" in addresses:
        place = x509.UniformResourceIdentifier(addresses["crl"])
        found.append(x509.CRLDistributionPoints([x509.DistributionPoint([place], None, None, None)]))
    return found


def _key_usage(names: Iterable[str]) -> x509.KeyUsage:
    wanted = set(names)
    return x509.KeyUsage(**{field: name in wanted for name, field in _KEY_USAGE_FIELDS.items()}, **_NOT_SETTABLE)


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
