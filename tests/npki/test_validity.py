"""Korean days: what a certificate's term looks like, and when it may be renewed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.npki.test_policies import certified

from dojang.npki.validity import (
    KST,
    a_year_later,
    days_left,
    end_of_day,
    renewal_opens_at,
    start_of_day,
    whole_days,
)

WINDOW = timedelta(days=30)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("year", range(1999, 2060))
def test_korea_has_one_time_all_year(year: int) -> None:
    """The fixed offset is what the database of zones says, summer and winter."""
    for month in range(1, 13):
        moment = datetime(year, month, 15, tzinfo=UTC)
        assert moment.astimezone(KST).utcoffset() == moment.astimezone(ZoneInfo("Asia/Seoul")).utcoffset()


def test_a_day_begins_at_fifteen_hours_utc() -> None:
    """00:00:00 in Seoul; the last second of a day belongs to it."""
    assert start_of_day(at("2020-02-24T15:00:00")) == at("2020-02-24T15:00:00")
    assert start_of_day(at("2020-02-24T14:59:59")) == at("2020-02-23T15:00:00")
    assert end_of_day(at("2020-02-24T15:00:00")) == at("2020-02-25T14:59:59")


def test_a_term_is_whole_days() -> None:
    """As a certificate of a Korean authority has it (facts on the formats, 1.5): thirty days from 25 February 2020."""
    issued = at("2020-02-25T03:12:45")
    assert whole_days(issued, 30) == (at("2020-02-24T15:00:00"), at("2020-03-25T14:59:59"))
    assert whole_days(issued, 1) == (at("2020-02-24T15:00:00"), at("2020-02-25T14:59:59"))


@pytest.mark.parametrize(
    ("before", "years", "after"),
    [
        ("2024-03-25T14:59:59", 1, "2025-03-25T14:59:59"),
        ("2024-02-29T14:59:59", 1, "2025-02-28T14:59:59"),
        ("2024-02-29T14:59:59", 4, "2028-02-29T14:59:59"),
        ("2024-12-31T14:59:59", 3, "2027-12-31T14:59:59"),
        ("2024-12-31T15:00:00", 1, "2026-01-01T14:59:59"),
    ],
)
def test_a_renewal_adds_years_to_the_day(before: str, years: int, after: str) -> None:
    """Counted in Korean dates, also over the turn of the year and from a leap day."""
    assert a_year_later(at(before), years) == at(after)


def test_days_left_change_at_midnight_in_seoul() -> None:
    """D-1 until 15:00 UTC, D-0 on the last day, then less than nothing."""
    last = at("2024-03-25T14:59:59")
    assert days_left(last, at("2024-03-24T14:59:59")) == 1
    assert days_left(last, at("2024-03-24T15:00:00")) == 0
    assert days_left(last, last) == 0
    assert days_left(last, at("2024-03-25T15:00:00")) == -1


def test_renewal_opens_with_the_korean_day() -> None:
    """D-30 from its first moment for a Korean certificate, to the second for any other."""
    korean, other = certified("1.2.410.200005.1.1.4"), certified("1.2.3")
    opening = renewal_opens_at(korean, WINDOW)
    assert opening == start_of_day(opening)
    assert days_left(korean.not_valid_after_utc, opening) == 30
    assert days_left(korean.not_valid_after_utc, opening - timedelta(seconds=1)) == 31
    assert renewal_opens_at(other, WINDOW) == other.not_valid_after_utc - WINDOW
