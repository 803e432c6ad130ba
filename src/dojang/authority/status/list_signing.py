"""Revocation lists as an authority signs them (RFC 5280 section 5): complete, or what changed since a complete one.

A list tells of everything that one key signed, and names that key. It is not for a part of that, so it has no issuing
distribution point: a certificate without an address of its list is covered by it as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.x509.request import signature_hash_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

REMOVED: Final = "removeFromCRL"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. ``reason`` as RFC 5280 spells it; ``removeFromCRL`` takes an earlier line back, in a delta only."""

    serial: int
    revoked_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list says of itself. A ``base_number`` makes it a delta over the complete list of that number.

    ``delta_addresses`` is where the deltas over it are.
    """

    number: int
    this_update_at: datetime
    next_update_at: datetime
    base_number: int | None = None
    delta_addresses: tuple[str, ...] = ()


def sign_list(issuer: x509.Certificate, key: "PrivateKey", entries: Iterable[Entry], scope: Scope) -> bytes:
    """The list in DER. Time and memory grow with the entries, one by one."""
    # Given as a whole: the builder copies its list at every single one.
    lines = [_line(entry) for entry in entries]
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=lines)
    builder = builder.issuer_name(issuer.subject).last_update(scope.this_update_at).next_update(scope.next_update_at)
    for extension, critical in _extensions(issuer, scope):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, signature_hash_for(key.public_key())).public_bytes(Encoding.DER)


def _extensions(issuer: x509.Certificate, scope: Scope) -> Sequence[tuple[x509.ExtensionType, bool]]:
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), False),
        (x509.CRLNumber(scope.number), False),
    ]
    if scope.base_number is not None:
        found.append((x509.DeltaCRLIndicator(scope.base_number), True))
    elif scope.delta_addresses:  # RFC 5280 section 5.2.6: never in a delta
        point = x509.DistributionPoint(_uris(scope.delta_addresses), None, None, None)
        found.append((x509.FreshestCRL([point]), False))
    return found


def _uris(addresses: tuple[str, ...]) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(address) for address in addresses]


def _line(entry: Entry) -> x509.RevokedCertificate:
    naive = entry.revoked_at.astimezone(UTC).replace(tzinfo=None)
    return x509.RevokedCertificateBuilder(entry.serial, naive, _reason(entry.reason)).build()


@cache
def _reason(reason: str) -> "list[x509.Extension[x509.ExtensionType]]":
    """RFC 5280 section 5.3.1: a reason is left out rather than given as unspecified."""
    flag = x509.ReasonFlags(reason)
    if flag is x509.ReasonFlags.unspecified:
        return []
    return [x509.Extension(x509.CRLReason.oid, False, x509.CRLReason(flag))]
