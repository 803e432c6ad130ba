"""Where NPKI folders are looked for on each system."""

import unicodedata
from pathlib import Path

import pytest

from dojang.npki.roots import default_root, folder_named, usual_roots

HOME = Path("/home/hong")


@pytest.mark.parametrize(
    ("system", "environment", "expected"),
    [
        ("linux", {}, ["/home/hong/NPKI"]),
        ("linux", {"ANDROID_ROOT": "/system"}, ["/home/hong/NPKI", "/sdcard/NPKI"]),
        (
            "darwin",
            {},
            ["/home/hong/Library/Preferences/NPKI", "/home/hong/Documents/NPKI", "/home/hong/NPKI"],
        ),
        (
            "win32",
            {"ProgramFiles": "/Program Files", "ProgramFiles(x86)": "/Program Files (x86)"},
            ["/home/hong/AppData/LocalLow/NPKI", "/Program Files/NPKI", "/Program Files (x86)/NPKI"],
        ),
        ("win32", {}, ["/home/hong/AppData/LocalLow/NPKI"]),
    ],
)
def test_the_usual_places_of_each_system(system: str, environment: dict[str, str], expected: list[str]) -> None:
    """Where other programs look (facts on the formats, 1.2); a new folder goes to the first."""
    assert [path.as_posix() for path in usual_roots(system, HOME, environment)] == expected


def test_the_usual_place_here_is_the_one_meant(monkeypatch, tmp_path: Path) -> None:
    """By the home of whoever runs it, there or not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / "NPKI"


def test_a_name_is_found_in_any_spelling(tmp_path: Path) -> None:
    """Case and normal form do not count; a file is no folder."""
    (tmp_path / unicodedata.normalize("NFD", "인증서")).mkdir()
    (tmp_path / "NPKI").write_text("x")
    assert folder_named(tmp_path, "인증서") is not None
    assert folder_named(tmp_path, "npki") is None
    assert folder_named(tmp_path / "none", "NPKI") is None
