"""What came out of verifying, and what is trusted while doing it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from dojang.errors import Phrase, VerificationFailed
from dojang.x509.path import Check, check_path


@dataclass(frozen=True, slots=True)
class Trust:
    """Which certificates are believed, which else may help, which lists tell of revocation; at what moment (now)."""

    anchors_der: tuple[bytes, ...]
    intermediates_der: tuple[bytes, ...] = ()
    crls_der: tuple[bytes, ...] = ()
    at: datetime | None = None
    require_revocation: bool = False

    def check(
        self, certificate_der: bytes, sent_der: tuple[bytes, ...] = (), sent_crls_der: tuple[bytes, ...] = ()
    ) -> tuple[Check, ...]:
        """The checks of this certificate's path, with the help of what was sent along."""
        report = check_path(
            certificate_der,
            intermediates_der=(*self.intermediates_der, *sent_der),
            anchors_der=self.anchors_der,
            crls_der=(*self.crls_der, *sent_crls_der),
            at=self.at or datetime.now(UTC),
            purpose="signing",
            require_revocation=self.require_revocation,
        )
        return report.checks


@dataclass(frozen=True, slots=True)
class VerifiedSigner:
    """Who signed. ``signed_at`` is what the signer claims; ``serial`` is hexadecimal; both ``None`` where not known."""

    subject: str
    serial: str | None
    algorithm: str
    signed_at: datetime | None
    certificate_der: bytes | None


@dataclass(frozen=True, slots=True)
class Verification:
    """The whole answer: good only when there is a signer and every check of every signer is good."""

    format: str
    signers: tuple[VerifiedSigner, ...]
    checks: tuple[Check, ...]
    content_bytes: int

    @property
    def valid(self) -> bool:
        return bool(self.signers) and all(check.ok for check in self.checks)


def require_valid(verification: Verification) -> Verification:
    """The verification itself, or ``VerificationFailed`` with every check and the verification among its facts."""
    if verification.valid:
        return verification
    failed = [check for check in verification.checks if not check.ok]
    problems = "; ".join(f"{check.name}: {check.detail}" if check.detail else check.name for check in failed)
    raise VerificationFailed(
        problems=problems or Phrase("nobody signed it"), checks=verification.checks, verification=verification
    )
