"""What every certificate authority can be asked, whether its key is on a token here or behind a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dojang.cmp.factors import Outcome, Prepared, Wanted
    from dojang.secret import Secret
    from dojang.x509.profiles import Profile
    from dojang.x509.profiles.factors import Factors

Kind = Literal["issue", "renew", "reissue"]
RequestForm = Literal["pkcs10", "crmf"]
ReissueReason = Literal["superseded", "keyCompromise"]

Entry = Callable[["Connection"], None]
"""What else belongs into the transaction that records a change. When it raises, nothing is recorded."""
Along = Callable[[bytes], Entry]
"""What else is recorded with a certificate, which is signed and given in DER, but not on record yet. An answer that was
given before is not recorded again."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One question to an authority.

    ``request_der`` is a PKCS#10 request whose signature proves possession of the key; names besides the subject ride in
    it as the subjectAltName extension (RFC 2985 section 5.4.2). ``transaction_id`` is chosen by whoever asks and never
    used for another question. ``replaces_der`` is the old certificate of a renewal or reissue. ``years`` is the term
    that was chosen, where the profile has a choice; ``vid_der`` the identity (``npki.vid``) that whoever knows the
    number has computed, never what the subscriber says of himself. ``reason`` is why a reissue revokes the old one,
    ``enrolment`` the reference number by which it was asked for. With the ``request_form`` crmf, ``request_der`` is a
    CertReqMsg (RFC 4211). ``applicant`` is who asks without a reference number, as whoever runs the authority says.
    """

    kind: Kind
    request_der: bytes
    profile: str
    transaction_id: str
    replaces_der: bytes | None = None
    years: int | None = None
    vid_der: bytes | None = None
    reason: ReissueReason = "superseded"
    enrolment: str | None = None
    request_form: RequestForm = "pkcs10"
    applicant: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """The answer: the certificate, and its issuers from the nearest up to the root.

    ``changed`` when the authority said that it is not quite as it was asked for.
    """

    certificate_der: bytes
    chain_der: tuple[bytes, ...]
    changed: bool = False


class FactorSitting(Protocol):
    """Where factors are passed for one request; see ``authority.factors.desk``."""

    @property
    def authority(self) -> str:
        """Who asks for them."""
        ...

    def wanted(self) -> "Wanted":
        """What is missing, with the devices that could pass it."""
        ...

    def prepare(self, factor: str, device: str | None = None) -> "Prepared":
        """Have a code sent, or a challenge made. ``FactorUnavailable``."""
        ...

    def answer(self, factor: str, code: "Secret | None" = None, device: str | None = None) -> "Outcome":
        """Take a code. ``FactorUnavailable``."""
        ...


@runtime_checkable
class AsksForFactors(Protocol):
    """An authority that may want factors before it issues; ``submit`` raises ``FactorMissing`` then."""

    def factors_for(self, submission: Submission) -> FactorSitting:
        """Where they are passed for this request."""
        ...


@runtime_checkable
class TellsFactors(Protocol):
    """An authority whose rules are known before it is asked."""

    def factors_wanted(self, profile: str, occasion: Kind) -> "Factors | None":
        """What has to be passed before it issues by this profile; ``None`` for nothing. ``AuthorityRefused``."""
        ...


class CertificateAuthority(Protocol):
    """Issues against a request; everything that is asked twice is answered alike."""

    name: str

    def chain_der(self) -> tuple[bytes, ...]:
        """The authority's own certificate first, the root last."""
        ...

    def profiles(self) -> Sequence["Profile"]:
        """What it issues to subscribers."""
        ...

    def profile_of(self, certificate_der: bytes) -> str | None:
        """The profile by which it issued this certificate; ``None`` when it did not."""
        ...

    def state_of(self, certificate_der: bytes) -> str | None:
        """What its records say of this certificate; ``None`` where it is not in them, or they are not here."""
        ...

    def submit(self, submission: Submission) -> Issued:
        """A certificate, recorded before it leaves; the same answer for the same submission however often it comes.

        Raises ``AuthorityRefused``, ``AuthorityExpired`` or ``AuthorityUnreachable``.
        """
        ...

    def confirm(self, transaction_id: str) -> None:
        """The certificate arrived and works. ``AuthorityRefused`` when it was cancelled or never asked for."""
        ...

    def cancel(self, transaction_id: str) -> None:
        """Revoke what was issued and never confirmed; nothing issued is nothing to do. Not after the confirmation."""
        ...

    def revoke(self, serial: str, reason: str) -> None:
        """Revoke a certificate, named by its serial in hex, for good."""
        ...
