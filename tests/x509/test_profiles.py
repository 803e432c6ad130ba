"""Certificate profiles as data."""

from pathlib import Path

import pytest

from dojang.errors import InvalidSetting, NotFound
from dojang.x509.profiles import profile, profiles

GOOD = """
title = { en = "Test", ko = "시험" }
validity-days = 10
renewal-window-days = 5
algorithms = ["ec-p256"]
key-usage = ["digital-signature"]
"""


def test_the_shipped_profiles_are_there_and_complete() -> None:
    """At least these, each with titles in both languages, algorithms and a window shorter than its life."""
    found = {one.name: one for one in profiles()}
    assert {
        "root",
        "issuing",
        "personal",
        "business",
        "tls-server",
        "tls-client",
        "email",
        "code-signing",
    } <= found.keys()
    for one in found.values():
        assert one.titles["en"]
        assert one.titles["ko"]
        assert one.algorithms
        assert one.renewal_window_days < one.validity_days
        assert one.is_ca == (one.name in ("root", "issuing"))
    assert found["personal"].key_usage == ("digital-signature", "non-repudiation")
    assert not found["personal"].keep_key_allowed
    assert found["personal"].renewal_window_days == 30


def test_an_unknown_profile_is_not_found() -> None:
    """The error names the command that lists them."""
    with pytest.raises(NotFound) as caught:
        profile("x" * 10_000_000)
    assert caught.value.facts["command"] == "dojang ca profiles"
    assert len(str(caught.value)) < 500


def test_a_folder_adds_and_replaces(tmp_path: Path) -> None:
    """One's own file wins over ours, and the window is 30 days unless said."""
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "personal.toml").write_text(GOOD.replace("renewal-window-days = 5\n", "").replace("10", "100"))
    found = {one.name: one for one in profiles(tmp_path)}
    assert found["mine"].validity_days == 10
    assert found["personal"].validity_days == 100
    assert found["personal"].renewal_window_days == 30
    assert "business" in found


@pytest.mark.parametrize(
    "text",
    [
        "this is not TOML",
        "a = [" * 5000,
        "\x00",
        "",
        GOOD.replace('ko = "시험"', 'ko = ""'),
        GOOD.replace('{ en = "Test", ko = "시험" }', '"Test"'),
        GOOD.replace("10", "0"),
        GOOD.replace("10", "true"),
        GOOD.replace("10", "99999999999"),
        GOOD.replace("= 5", "= 10"),
        GOOD.replace("ec-p256", "rsa-1024"),
        GOOD.replace('["ec-p256"]', "[]"),
        GOOD.replace('["ec-p256"]', '["ec-p256", "ec-p256"]'),
        GOOD.replace('["ec-p256"]', "[1]"),
        GOOD.replace("digital-signature", "digitalSignature"),
        GOOD.replace("digital-signature", "key-cert-sign"),
        GOOD + "authority = true",
        GOOD + "path-length = 1",
        GOOD + "keep-key = 1",
        GOOD + "unknown = 1",
        GOOD + 'extended-key-usage = ["everything"]',
        GOOD + 'policies = ["1"]',
        GOOD + "[subject]\nunknown = 1",
        GOOD + 'subject = "x"',
        GOOD + '[alternative-names]\nallowed = ["smoke"]',
        GOOD + "[alternative-names]\nrequired = true",
    ],
)
def test_a_bad_file_is_an_invalid_setting_that_names_it(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with it, the file is named and nothing else is raised."""
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InvalidSetting) as caught:
        profiles(tmp_path)
    assert caught.value.facts["path"] == tmp_path / "bad.toml"


def test_a_file_in_another_encoding_is_an_invalid_setting(tmp_path: Path) -> None:
    """TOML is UTF-8."""
    (tmp_path / "bad.toml").write_bytes("# 한글\n".encode("cp949"))
    with pytest.raises(InvalidSetting):
        profiles(tmp_path)
