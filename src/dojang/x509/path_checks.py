"""The single checks of a certification path, each a function that returns or raises ``Fault``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from dojang.errors import Phrase
from dojang.x509.keys import algorithm_of, is_strong
from dojang.x509.name import format_name

E = TypeVar("E", bound=x509.ExtensionType)

# RFC 5280 section 6.1.4 (o): every critical extension must be one that is processed here. Name constraints are not.
_PROCESSED = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.POLICY_CONSTRAINTS,
    ExtensionOID.INHIBIT_ANY_POLICY,
}
WEAK_HASHES = {"md2", "md4", "md5", "sha1"}
_ANY_POLICY = x509.ObjectIdentifier("2.5.29.32.0")
_SIGNS = ("digital_signature", "content_commitment")
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the certificate must allow: one of these key usages, and this extended key usage where it lists any."""

    key_usages: tuple[str, ...]
    extended: x509.ObjectIdentifier | None = None
    authority: bool = False


PURPOSES: Mapping[str, Purpose] = {
    "signing": Purpose(_SIGNS),
    "tls-server": Purpose(("digital_signature", "key_encipherment", "key_agreement"), ExtendedKeyUsageOID.SERVER_AUTH),
    "tls-client": Purpose(("digital_signature", "key_agreement"), ExtendedKeyUsageOID.CLIENT_AUTH),
    "email": Purpose(_SIGNS, ExtendedKeyUsageOID.EMAIL_PROTECTION),
    "code-signing": Purpose(("digital_signature",), ExtendedKeyUsageOID.CODE_SIGNING),
    "document-signing": Purpose(_SIGNS, _DOCUMENT_SIGNING),
    "time-stamping": Purpose(_SIGNS, ExtendedKeyUsageOID.TIME_STAMPING),
    "issuing": Purpose(("key_cert_sign",), authority=True),
}


@dataclass(frozen=True, slots=True)
class Path:
    """From the certificate itself up; ``anchored`` when the last one is a trust anchor."""

    certificates: tuple[x509.Certificate, ...]
    anchored: bool
    at: datetime
    purpose: str | None

    @property
    def leaf(self) -> x509.Certificate:
        return self.certificates[0]

    @property
    def issuers(self) -> tuple[x509.Certificate, ...]:
        return self.certificates[1:]

    @property
    def below_anchor(self) -> tuple[x509.Certificate, ...]:
        return self.certificates[:-1] if self.anchored and self.issuers else self.certificates


class Fault(Exception):
    """One check failed; ``phrase`` says why."""

    def __init__(self, template: str, certificate: x509.Certificate, **facts: object) -> None:
        self.phrase = Phrase(template, subject=format_name(certificate.subject), **facts)
        super().__init__(self.phrase)


def extension_of(certificate: x509.Certificate, kind: type[E]) -> E | None:
    """The extension's value, ``None`` where it is absent."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_validity(path: Path) -> None:
    for one in path.certificates:
        if path.at < one.not_valid_before_utc:
            raise Fault("{subject} is not valid before {moment}", one, moment=one.not_valid_before_utc)
        if path.at > one.not_valid_after_utc:
            raise Fault("{subject} expired at {moment}", one, moment=one.not_valid_after_utc)


def _check_basic_constraints(path: Path) -> None:
    below = 0
    for issuer in path.issuers:
        constraints = extension_of(issuer, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise Fault("{subject} is not an authority's certificate", issuer)
        if constraints.path_length is not None and below > constraints.path_length:
            raise Fault("{subject} allows fewer authorities below it", issuer)
        below += issuer.subject != issuer.issuer
    if path.purpose and PURPOSES[path.purpose].authority:
        own = extension_of(path.leaf, x509.BasicConstraints)
        if own is None or not own.ca:
            raise Fault("{subject} is not an authority's certificate", path.leaf)


def _check_key_usage(path: Path) -> None:
    for issuer in path.issuers:
        usage = extension_of(issuer, x509.KeyUsage)
        if usage is not None and not usage.key_cert_sign:
            raise Fault("the key usage of {subject} does not include signing certificates", issuer)
    usage = extension_of(path.leaf, x509.KeyUsage)
    if path.purpose is None or usage is None:
        return
    if not any(getattr(usage, name) for name in PURPOSES[path.purpose].key_usages):
        raise Fault("the key usage of {subject} does not include '{purpose}'", path.leaf, purpose=path.purpose)


def _check_extended_key_usage(path: Path) -> None:
    """An authority that lists extended usages passes on no others (as browsers and OpenSSL have it)."""
    wanted = PURPOSES[path.purpose].extended if path.purpose else None
    for one in path.below_anchor if wanted else ():
        listed = extension_of(one, x509.ExtendedKeyUsage)
        if listed is not None and wanted not in listed and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in listed:
            raise Fault("the extended key usage of {subject} does not include '{purpose}'", one, purpose=path.purpose)


def _check_algorithms(path: Path) -> None:
    for one in path.certificates:
        if not is_strong(one.public_key()):
            raise Fault("the key of {subject} is too weak ({algorithm})", one, algorithm=algorithm_of(one.public_key()))
    for one in path.below_anchor:
        used = one.signature_hash_algorithm
        if used is not None and used.name in WEAK_HASHES:
            raise Fault("{subject} was signed with {hash}, which is too weak", one, hash=used.name)


def _check_critical_extensions(path: Path) -> None:
    for one in path.below_anchor:
        for extension in one.extensions:
            if extension.critical and extension.oid not in _PROCESSED:
                oid = extension.oid.dotted_string
                raise Fault("{subject} has a critical extension that is not understood ({oid})", one, oid=oid)
            if isinstance(extension.value, x509.NameConstraints):
                raise Fault("{subject} constrains names, which is not understood", one)


def _check_policies(path: Path) -> None:
    explicit_in, allowed = _policy_state(path)
    if explicit_in <= 0 and allowed is not None and not allowed:
        raise Fault("an authority requires a policy that {subject} does not have", path.leaf)


def valid_policies(path: Path) -> set[str]:
    """The policies that the certificate itself names and every authority above it passes on, in dotted form."""
    _, allowed = _policy_state(path)
    named = _policies_of(path.leaf)
    return {one.dotted_string for one in (named if allowed is None else named & allowed)}


def _policy_state(path: Path) -> tuple[int, set[x509.ObjectIdentifier] | None]:
    """RFC 5280 section 6.1, without policy mappings: what only a mapping would carry over is not carried over.

    In how many certificates a policy will be required, and which are valid for the path; ``None`` for any.
    """
    explicit_in = len(path.below_anchor) + 1
    any_in = len(path.below_anchor) + 1
    allowed: set[x509.ObjectIdentifier] | None = None
    for one in reversed(path.below_anchor):
        named = _policies_of(one)
        if not (_ANY_POLICY in named and any_in > 0):
            named -= {_ANY_POLICY}
            allowed = named if allowed is None else allowed & named
        explicit_in, any_in = _counters_after(one, explicit_in, any_in, is_leaf=one is path.leaf)
    return explicit_in, allowed


def _counters_after(one: x509.Certificate, explicit_in: int, any_in: int, *, is_leaf: bool) -> tuple[int, int]:
    """Sections 6.1.4 (h)–(j) and 6.1.5 (a)–(b)."""
    if is_leaf or one.subject != one.issuer:
        explicit_in, any_in = max(explicit_in - 1, 0), max(any_in - 1, 0)
    constraints = extension_of(one, x509.PolicyConstraints)
    required = constraints.require_explicit_policy if constraints is not None else None
    if required is not None and (not is_leaf or required == 0):
        explicit_in = min(explicit_in, required)
    inhibit = extension_of(one, x509.InhibitAnyPolicy)
    return explicit_in, any_in if inhibit is None else min(any_in, inhibit.skip_certs)


def _policies_of(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    policies = extension_of(certificate, x509.CertificatePolicies)
    return {policy.policy_identifier for policy in policies or ()}


CHECKS: Mapping[str, Callable[[Path], None]] = {
    Phrase("validity"): _check_validity,
    Phrase("basic-constraints"): _check_basic_constraints,
    Phrase("key-usage"): _check_key_usage,
    Phrase("extended-key-usage"): _check_extended_key_usage,
    Phrase("algorithms"): _check_algorithms,
    Phrase("critical-extensions"): _check_critical_extensions,
    Phrase("policies"): _check_policies,
}
