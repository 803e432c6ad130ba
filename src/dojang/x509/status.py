"""What a certificate says of itself, for lists and tables: one quick look, no key, no path."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from dojang.x509.keys import algorithm_of
from dojang.x509.name import format_name
from dojang.x509.reading import UNREADABLE, read_certificate


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """``serial`` is lower-case hex without leading zeros; ``days_left`` counts whole days, negative after expiry."""

    subject: str
    issuer: str
    serial: str
    not_before_at: datetime
    not_after_at: datetime
    days_left: int
    algorithm: str

    def state(self, at: datetime, window_days: int) -> str:
        """``valid``, ``due`` (expires within ``window_days``) or ``expired``; revocation is not looked at."""
        if at > self.not_after_at:
            return "expired"
        return "due" if is_due(self.not_after_at, at, window_days) else "valid"


def credential_facts(certificate_der: bytes, at: datetime) -> CertificateFacts:
    """The facts of one certificate as they stand at the moment ``at`` (UTC-aware). Raises ``FileMalformed``."""
    certificate = read_certificate(certificate_der)
    try:
        algorithm = algorithm_of(certificate.public_key())
    except UNREADABLE:
        algorithm = "unknown"
    return CertificateFacts(
        subject=format_name(certificate.subject),
        issuer=format_name(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        not_before_at=certificate.not_valid_before_utc,
        not_after_at=certificate.not_valid_after_utc,
        days_left=days_between(at, certificate.not_valid_after_utc),
        algorithm=algorithm,
    )


def days_between(at: datetime, until: datetime) -> int:
    """Whole days from ``at`` to ``until``; -1 from the first second after it."""
    return (until - at) // timedelta(days=1)


def is_due(not_after_at: datetime, at: datetime, window_days: int) -> bool:
    """Whether renewal may begin: from ``window_days`` before expiry up to the moment of expiry."""
    return not_after_at - timedelta(days=window_days) <= at <= not_after_at
