"""Validity in whole Korean days: from 00:00:00 to 23:59:59, and renewal from the first moment of D-30.

The zone is a fixed offset: Korea has kept UTC+9 without a summer time since 1988, before any certificate, and a
database of zones is not on every machine.
"""

from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography import x509

KST: Final = timezone(timedelta(hours=9), "KST")
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


@lru_cache(maxsize=1024)
def start_of_day(at: datetime) -> datetime:
    """00:00:00 of the Korean day in which ``at`` lies; in UTC, like everything here."""
    return at.astimezone(KST).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def end_of_day(at: datetime) -> datetime:
    """23:59:59 of that day."""
    return start_of_day(at) + _DAY - _SECOND


def whole_days(at: datetime, days: int) -> tuple[datetime, datetime]:
    """notBefore and notAfter of a certificate for exactly ``days`` days, that of its issue among them."""
    return start_of_day(at), end_of_day(at + (days - 1) * _DAY)


def a_year_later(not_after_at: datetime, years: int = 1) -> datetime:
    """The notAfter of a renewal: the same day ``years`` later, whole; the 28th for a 29 February that is not there."""
    day = not_after_at.astimezone(KST)
    try:
        later = day.replace(year=day.year + years)
    except ValueError:
        later = day.replace(year=day.year + years, day=28)
    return end_of_day(later)


def days_left(not_after_at: datetime, at: datetime) -> int:
    """The number after "D-": 0 on the last day, negative after it."""
    return (start_of_day(not_after_at) - start_of_day(at)) // _DAY


def renewal_opens_at(certificate: "x509.Certificate", window: timedelta) -> datetime:
    """When renewal may begin: ``window`` before expiry; for a Korean certificate from the start of that Korean day."""
    from dojang.npki.policies import is_korean

    return opening_of(certificate.not_valid_after_utc, window, korean=is_korean(certificate))


def opening_of(not_after_at: datetime, window: timedelta, *, korean: bool) -> datetime:
    """The same where it is known already whether the certificate is Korean."""
    opening = not_after_at - window
    return start_of_day(opening) if korean else opening
