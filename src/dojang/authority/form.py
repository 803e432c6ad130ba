"""What certificates of one profile have in common that one key signs, written once; and the rest around it.

It becomes what ``cryptography.x509.CertificateBuilder`` makes, to the octet (RFC 5280 section 4.1). That one writes
every extension of every certificate anew, which takes longer than the signature.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from dojang.der import BIT_STRING, GENERALIZED_TIME, OCTET_STRING, SEQUENCE, UTC_TIME, integer, oid, span, tlv
from dojang.x509.profiles import KEY_USAGES, Profile
from dojang.x509.request import signature_algorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

_KEY_USAGE_FIELDS: Final = dict(
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
_NOT_SETTABLE: Final = {"encipher_only": False, "decipher_only": False}
_VERSION_3: Final = bytes.fromhex("a003020102")
_EXTENSIONS: Final = 0xA3
_CRITICAL: Final = bytes.fromhex("0101ff")
_KEY_IDENTIFIER: Final = oid("2.5.29.14")
_LARGEST_SERIAL: Final = (1 << 159) - 1  # RFC 5280 section 4.1.2.2: 20 octets
_LAST_SHORT_YEAR: Final = 2049


class Form(NamedTuple):
    """In DER: the algorithm, the issuer's name (empty for the subject itself), and extensions in their order."""

    algorithm: bytes
    issuer: bytes
    usages: bytes
    policies: bytes
    addresses: bytes

    def to_be_signed(
        self, serial: int, term: bytes, subject: bytes, spki: bytes, key_identifier: bytes, names: bytes = b""
    ) -> bytes:
        """The TBSCertificate, of parts in DER; ``key_identifier`` and ``names`` are whole extensions."""
        if not 0 < serial <= _LARGEST_SERIAL:
            raise ValueError("a serial number is positive and has at most 159 bits")
        extensions = tlv(SEQUENCE, self.usages, names, self.policies, key_identifier, self.addresses)
        fields = (_VERSION_3, integer(serial), self.algorithm, self.issuer or subject, term, subject, spki)
        return tlv(SEQUENCE, *fields, tlv(_EXTENSIONS, extensions))

    def signed(self, tbs: bytes, signature: bytes) -> bytes:
        """The certificate in DER."""
        return tlv(SEQUENCE, tbs, self.algorithm, tlv(BIT_STRING, b"\0", signature))


def form_for(
    profile: Profile, addresses: Mapping[str, str], issuer: x509.Certificate | None, signer: "PublicKey"
) -> Form:
    """The form of what ``signer`` certifies by this profile; self-signed without an ``issuer``.

    ``ValueError`` for a key that signs no certificates of ours.
    """
    usages = _Usages(profile.key_usage, profile.is_ca, profile.path_length, profile.extended_key_usage)
    policies = _Policies(profile.policies, profile.policies_critical, profile.notice, addresses.get("cps"))
    places = _Places(addresses.get("ocsp"), addresses.get("issuer"), addresses.get("crl"), profile.ocsp_no_check)
    return _form(signature_algorithm(signer), issuer, usages, policies, places)


class _Usages(NamedTuple):
    key: tuple[str, ...]
    is_ca: bool
    path_length: int | None
    extended: tuple[str, ...]


class _Policies(NamedTuple):
    oids: tuple[str, ...]
    critical: bool
    notice: str | None
    cps: str | None


class _Places(NamedTuple):
    ocsp: str | None
    issuer: str | None
    crl: str | None
    unchecked: bool


@lru_cache(maxsize=256)
def _form(
    algorithm: bytes, issuer: x509.Certificate | None, usages: _Usages, policies: _Policies, places: _Places
) -> Form:
    name = issuer.subject.public_bytes() if issuer else b""
    said = [extension_der(_certificate_policies(policies), critical=policies.critical)] if policies.oids else []
    where = _where_to_ask(issuer, places) if issuer else []
    last = [x509.OCSPNoCheck()] if places.unchecked else []
    after = b"".join(map(extension_der, (*where, *last)))
    return Form(algorithm, name, b"".join(_usage_extensions(usages)), b"".join(said), after)


@lru_cache(maxsize=256)
def term_der(not_before_at: datetime, not_after_at: datetime) -> bytes:
    """Validity (RFC 5280 section 4.1.2.5). ``ValueError`` for a term that ends before it begins."""
    if not_after_at < not_before_at:
        raise ValueError("a certificate ends after it begins")
    return tlv(SEQUENCE, _time(not_before_at), _time(not_after_at))


def _time(at: datetime) -> bytes:
    at = at.astimezone(UTC)
    if at.year <= _LAST_SHORT_YEAR:
        return tlv(UTC_TIME, at.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").encode())


def key_identifier_der(spki: bytes, *, own: bytes | None = None) -> bytes:
    """The extension subjectKeyIdentifier: ``own``, or the SHA-1 of the key's bits (RFC 5280 section 4.2.1.2).

    No harm comes of SHA-1 here: it is a name, and whoever finds two keys with one name has them both.
    """
    if own is None:
        start = span(spki, 0, len(spki))[0]
        bits = span(spki, span(spki, start, len(spki))[1], len(spki))[0]
        own = hashlib.sha1(spki[bits + 1 :], usedforsecurity=False).digest()
    return tlv(SEQUENCE, _KEY_IDENTIFIER, tlv(OCTET_STRING, tlv(OCTET_STRING, own)))


def extension_der(extension: x509.ExtensionType, *, critical: bool = False) -> bytes:
    """One Extension (RFC 5280 section 4.2)."""
    kind, value = oid(extension.oid.dotted_string), tlv(OCTET_STRING, extension.public_bytes())
    return tlv(SEQUENCE, kind, _CRITICAL if critical else b"", value)


def _usage_extensions(usages: _Usages) -> Iterator[bytes]:
    yield extension_der(_key_usage(usages.key), critical=True)
    if usages.is_ca:
        yield extension_der(x509.BasicConstraints(ca=True, path_length=usages.path_length), critical=True)
    if usages.extended:
        oids = [x509.ObjectIdentifier(one) for one in usages.extended]
        # RFC 3161 section 2.3: critical for time stamping, and then alone.
        yield extension_der(x509.ExtendedKeyUsage(oids), critical=oids == [ExtendedKeyUsageOID.TIME_STAMPING])


def _certificate_policies(policies: _Policies) -> x509.CertificatePolicies:
    """The first with its notice and the address of the practice statement, the others bare."""
    qualifiers: list[str | x509.UserNotice] = [policies.cps] if policies.cps else []
    if policies.notice:
        qualifiers.append(x509.UserNotice(None, policies.notice))
    first, *others = map(x509.ObjectIdentifier, policies.oids)
    rest = [x509.PolicyInformation(one, None) for one in others]
    return x509.CertificatePolicies([x509.PolicyInformation(first, qualifiers or None), *rest])


def _where_to_ask(issuer: x509.Certificate, places: _Places) -> Iterator[x509.ExtensionType]:
    """The issuer's key, access to it and its answers (RFC 5280, 4.2.2.1), and where its list lies (4.2.1.13)."""
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    yield x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
    methods = (
        (AuthorityInformationAccessOID.OCSP, places.ocsp),
        (AuthorityInformationAccessOID.CA_ISSUERS, places.issuer),
    )
    access = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(place)) for method, place in methods if place
    ]
    if access:
        yield x509.AuthorityInformationAccess(access)
    if places.crl:
        place = x509.UniformResourceIdentifier(places.crl)
        yield x509.CRLDistributionPoints([x509.DistributionPoint([place], None, None, None)])


def _key_usage(names: Iterable[str]) -> x509.KeyUsage:
    wanted = set(names)
    return x509.KeyUsage(**{field: name in wanted for name, field in _KEY_USAGE_FIELDS.items()}, **_NOT_SETTABLE)
