"""The folders in which processes count: none of a centre that is gone stays, none of one that runs is touched."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from dojang.centre.metrics_folder import metrics_folder


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(place: Path, pid: int) -> Path:
    """What a centre leaves that is killed."""
    folder = place / f"dojang-metrics-{pid}"
    folder.mkdir()
    (folder / f"counter_{pid}.db").touch()
    return folder


def dead() -> int:
    """Who was alive a moment ago."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_centre_left_is_removed_at_the_next_start(place):
    """By whoever begins, since a killed process cannot; and at the end nothing is left of his own."""
    left(place, dead())
    with metrics_folder() as folder:
        assert list(place.iterdir()) == [Path(folder)]
    assert list(place.iterdir()) == []


def test_folders_in_use_are_not_touched(place):
    """One that a centre holds, though nobody has counted yet; one whose worker lives on; what only looks like one."""
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (place / "dojang-metrics-link").symlink_to(elsewhere)
    (place / "dojang-metrics-file").touch()
    others = left(place, os.getpid())
    with metrics_folder() as first, metrics_folder() as second:
        assert first != second
        assert Path(first).is_dir()
        assert Path(second).is_dir()
        assert (others / f"counter_{os.getpid()}.db").exists()
    assert (place / "dojang-metrics-link").is_symlink()
    assert (place / "dojang-metrics-file").exists()
