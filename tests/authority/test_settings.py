"""What an authority's own file may say, and what is refused."""

from pathlib import Path

import pytest

from dojang.authority import settings
from dojang.errors import InvalidSetting


def test_a_missing_file_is_the_default(tmp_path: Path) -> None:
    """The records are in the folder, nothing is allowed that only a test wants."""
    found = settings.load(tmp_path)
    assert found.database == f"sqlite:///{tmp_path}/store.sqlite"
    assert (found.test, found.address, found.status.base) == (False, None, "")


def test_what_the_file_says_holds(tmp_path: Path) -> None:
    """Each table reaches who asks for it; others are told the address at which the authority is found."""
    (tmp_path / "authority.toml").write_text(
        'database = "postgresql:///office"\ntest = true\naddress = "http://ca.example.kr/office"\n'
        "[cmp]\nlongest-iterations = 5000\n[status]\ndelta-hours = 6\n[enrolment]\nvalid-days = 7\nuses = 9\n"
    )
    found = settings.load(tmp_path)
    assert (found.database, found.test) == ("postgresql:///office", True)
    assert (found.cmp.longest_iterations, found.status.delta_hours) == (5000, 6)
    assert found.status.base == "http://ca.example.kr/office"
    assert (found.enrolment().valid_days, found.enrolment().uses) == (7, 9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("what = 1", "what"),
        ("test = 1", "true or false"),
        ("database = 5", "text"),
        ('address = "office"', "address"),
        ("unconfirmed-hours = -1", "whole number"),
        ("cmp = 3", "table"),
        ("[cmp]\nlongest-iterations = true", "whole number"),
        ("[cmp]\nnothing = 1", "nothing"),
        ('[status]\non-revocation = "never"', "complete, delta"),
        ("[enrolment]\nvalid-days = 100000", "valid-days"),
        ("[enrolment]\nuses = 2", "test"),  # more than once, and not marked as a test authority
        ("test = ", "TOML"),
        ("path = 'x'", "path"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file and what is wrong in it."""
    (tmp_path / "authority.toml").write_text(text)
    with pytest.raises(InvalidSetting, match=said) as caught:
        settings.load(tmp_path)
    assert "authority.toml" in str(caught.value)
