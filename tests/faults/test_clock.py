"""The clock jumps: only what is about dates looks at the time of day; waiting and signing do not."""

import subprocess

import pytest
from tests.faults.conftest import STORIES

JUMPED = 9


@pytest.fixture(scope="module")
def story(tell_story, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clock")
    (folder / "offset").write_bytes(bytes(8))
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", folder / "clock.so"]
    subprocess.run([*command, STORIES / "clock.c"], check=True)
    return tell_story("clock", LD_PRELOAD=folder / "clock.so", CLOCK_OFFSET=folder / "offset")


def test_the_clock_really_jumps(story):
    assert 86_400 <= story["moved"] < 86_410


def test_signing_does_not_look_at_the_clock(story):
    """Jumps of a second to ten years, both ways, under four threads: no error, no pause, nothing signed twice."""
    assert story["errors"] == {}
    assert story["wrong"] == story["logins"] == 0
    assert story["alive"] == 4
    assert story["made"] == story["signed"] > 0
    assert len(story["seconds"]) == JUMPED
    assert max(story["seconds"]) < 2


def test_waiting_for_a_login_elsewhere_lasts_as_long_as_that_does(story):
    """A jump of a year does not end the wait for another process's login, which was 1.5 seconds."""
    assert 1 < story["waited"] < 20


def test_a_clock_that_is_plainly_wrong_issues_nothing(story):
    """Before and after the authority's own time: exit status 12, and the clock is named; put right, it goes on."""
    assert story["founded"] == "0"
    assert story["issued"] == ["0", "12 authority-expired", "12 authority-expired", "0"]
