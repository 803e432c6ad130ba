"""How long a certificate lasts by its profile: days or calendar years, to the second or in whole Korean days."""

from datetime import UTC, datetime, timedelta

from cryptography import x509

from dojang.npki.validity import KST, a_year_later, end_of_day, opening_of, renewal_opens_at, start_of_day, whole_days
from dojang.x509.profiles import Profile

BACKDATED = timedelta(minutes=5)
_DAYS_A_YEAR = 365.25


def beginning_of(profile: Profile, at: datetime) -> datetime:
    """notBefore of what is issued now: the first moment of the Korean day, or a little earlier than now."""
    return start_of_day(at) if profile.korean_days else at - BACKDATED


def end_of(profile: Profile, at: datetime, years: int | None) -> datetime:
    """notAfter of a first certificate. ``years`` is one of the profile's, where it has a choice."""
    if years is None and profile.korean_days:
        return whole_days(at, profile.validity_days)[1]
    return later(profile, at, years)


def later(profile: Profile, at: datetime, years: int | None) -> datetime:
    """One term after ``at``, which is the end of the old certificate where that is renewed in time."""
    if years is None:
        end = at + timedelta(days=profile.validity_days)
        return end_of_day(end) if profile.korean_days else end
    return a_year_later(at, years) if profile.korean_days else _calendar_years_later(at, years)


def chosen_years(profile: Profile, wanted: int | None, old: x509.Certificate | None) -> int | None:
    """The years of the next term: those wanted, else as many as the old certificate had, else the fewest.

    ``ValueError`` for a wish that the profile does not grant.
    """
    choices = profile.validity_years
    if wanted is not None and wanted not in choices:
        raise ValueError(", ".join(map(str, choices)))
    if wanted is not None or not choices:
        return wanted
    if old is None:
        return choices[0]
    had = (old.not_valid_after_utc - old.not_valid_before_utc) / timedelta(days=_DAYS_A_YEAR)
    return min(choices, key=lambda one: abs(one - had))


def window_opens_at(profile: Profile, old: x509.Certificate) -> datetime:
    """When renewal may begin: with a Korean term from the first moment of that day."""
    window = timedelta(days=profile.renewal_window_days)
    if profile.korean_days:
        return opening_of(old.not_valid_after_utc, window, korean=True)
    return renewal_opens_at(old, window)


def due_until(profile: Profile, at: datetime) -> datetime:
    """What expires until then can be renewed at ``at``: the other way round."""
    window = timedelta(days=profile.renewal_window_days)
    return end_of_day(at + window) if profile.korean_days else at + window


def _calendar_years_later(at: datetime, years: int) -> datetime:
    day = a_year_later(at, years).astimezone(KST)
    return datetime.combine(day.date(), at.astimezone(KST).time(), KST).astimezone(UTC)
