"""OCSP answers in DER (RFC 6960 section 4.2): about one certificate or several, signed, or an error that is not.

Who signs is named by the hash of his key (RFC 5019 section 2.2.1). The certificate of whom the authority certified for
answering rides along; the authority's own does not, since whoever asks must have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from dojang.authority.status.request import HASHES, CertId
from dojang.authority.status.several import join_answers
from dojang.der import NULL
from dojang.x509.request import signature_hash_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
_EXTENDED_REVOKE: Final = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.9"), bytes((NULL, 0)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one certificate. ``reason`` as RFC 5280 spells it, ``None`` where none is given.

    ``never_issued`` marks a serial that is called revoked because it was never given out (RFC 6960 section 2.2).
    """

    certificate: CertId
    status: ocsp.OCSPCertStatus
    revoked_at: datetime | None = None
    reason: str | None = None
    never_issued: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """When an answer was known to be right, and until when it may be relied on."""

    this_update_at: datetime
    next_update_at: datetime

    def is_fresh(self, at: datetime) -> bool:
        """Whether it need not be made anew: the first half of its time."""
        half = (self.next_update_at - self.this_update_at) / 2
        return self.this_update_at <= at < self.this_update_at + half

    def holds(self, at: datetime) -> bool:
        return self.this_update_at <= at < self.next_update_at


@dataclass(frozen=True, slots=True)
class Pen:
    """A key that signs answers, and its certificate. ``delegated`` when that is not the authority's own."""

    certificate: x509.Certificate
    key: "PrivateKey"
    delegated: bool

    def write(self, verdicts: Sequence[Verdict], term: Term, nonce: bytes | None = None) -> bytes:
        """The signed answer. What the key's location raises passes through."""
        # Said of the whole answer, so of each part that is joined to it.
        extended = any(one.never_issued for one in verdicts)
        builders = [_builder(one, term, nonce, extended=extended) for one in verdicts]
        own = [self.certificate] if self.delegated else []
        if len(builders) > 1:
            return join_answers(builders, self.key, own)
        builder = builders[0].responder_id(ocsp.OCSPResponderEncoding.HASH, self.certificate)
        if own:
            builder = builder.certificates(own)
        return builder.sign(self.key, signature_hash_for(self.key.public_key())).public_bytes(Encoding.DER)


def _builder(verdict: Verdict, term: Term, nonce: bytes | None, *, extended: bool) -> ocsp.OCSPResponseBuilder:
    """The answer but for who gives it."""
    named = verdict.certificate
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        named.name_hash,
        named.key_hash,
        named.serial,
        HASHES[named.algorithm],
        verdict.status,
        term.this_update_at,
        term.next_update_at,
        verdict.revoked_at,
        x509.ReasonFlags(verdict.reason) if verdict.reason else None,
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    if extended:
        builder = builder.add_extension(_EXTENDED_REVOKE, critical=False)
    return builder


def refusal(status: ocsp.OCSPResponseStatus) -> bytes:
    """An answer that says why there is none (RFC 6960 section 2.3); nobody signs it."""
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
