"""What a certificate says of itself, for lists and tables: one quick look, no key, no path."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from cryptography.x509 import Certificate

from dojang.der import MalformedDer
from dojang.tbs import Glance, Tbs, glance_at
from dojang.x509.keys import algorithm_of, usual_rsa
from dojang.x509.name import format_name, format_name_der
from dojang.x509.reading import LARGEST_CERTIFICATE, UNREADABLE, read_certificate


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


def days_between(at: datetime, until: datetime) -> int:
    """Whole days from ``at`` to ``until``; -1 from the first second after it."""
    return (until - at) // timedelta(days=1)


def days_to(not_after_at: datetime, at: datetime) -> int:
    """The same, its end first."""
    return days_between(at, not_after_at)


def credential_facts(
    certificate_der: bytes,
    at: datetime,
    days_left: Callable[[datetime, datetime], int] = days_to,
    seen: Glance | None = None,
) -> CertificateFacts:
    """The facts of one certificate as they stand at the moment ``at`` (UTC-aware). Raises ``FileMalformed``.

    ``days_left`` counts the days, given the certificate's end and ``at``; ``seen`` is the certificate where somebody
    has loaded it.
    """
    try:
        if len(certificate_der) > LARGEST_CERTIFICATE:
            raise MalformedDer
        certificate, tbs = seen or glance_at(certificate_der)
        said = _at_a_glance(tbs)
    except (MalformedDer, *UNREADABLE):
        certificate, tbs = read_certificate(certificate_der), None
        said = _at_length(certificate)
    algorithm = (tbs and usual_rsa(tbs.rsa_key)) or _algorithm_of(certificate)
    return CertificateFacts(*said, days_left(said.not_after_at, at), algorithm)


_format_issuer = lru_cache(maxsize=64)(format_name_der)


class _Said(NamedTuple):
    """The first fields of ``CertificateFacts``."""

    subject: str
    issuer: str
    serial: str
    not_before_at: datetime
    not_after_at: datetime


def _at_a_glance(tbs: Tbs | None) -> _Said:
    """Without an object for each part of a name, which for a long list takes longer than all the rest."""
    if tbs is None:
        raise MalformedDer
    names = format_name_der(tbs.subject_der), _format_issuer(tbs.issuer_der)
    return _Said(*names, tbs.serial.hex().lstrip("0") or "0", tbs.not_before_at, tbs.not_after_at)


def _at_length(certificate: Certificate) -> _Said:
    names, serial = (format_name(certificate.subject), format_name(certificate.issuer)), certificate.serial_number
    return _Said(*names, f"{serial:x}", certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _algorithm_of(certificate: Certificate) -> str:
    try:
        return algorithm_of(certificate.public_key())
    except UNREADABLE:
        return "unknown"


def is_due(not_after_at: datetime, at: datetime, window_days: int) -> bool:
    """Whether renewal may begin: from ``window_days`` before expiry up to the moment of expiry."""
    return not_after_at - timedelta(days=window_days) <= at <= not_after_at
