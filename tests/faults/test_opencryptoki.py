"""The daemon of opencryptoki ends and starts again under those who sign (its PIN: test_locking_token.py)."""

import pytest


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("opencryptoki", around="opencryptoki")


def test_who_signs_does_not_notice_that_the_daemon_is_gone(story):
    """Killed and started three times under four threads: no error, every signature good and made once, no login."""
    assert story["errors"] == {}
    assert story["alive"] == 4
    assert story["wrong"] == 0
    assert story["made"] == story["signed"] > 0
    assert story["logins"] == 0
    assert story["tries_wasted"] == []
    assert max(story["seconds"]) < 2


def test_an_orderly_end_waits_for_its_clients(story):
    """SIGTERM does not end the daemon while somebody uses it, and the signing goes on."""
    assert not story["ends_under_clients"]


def test_a_command_says_that_the_daemon_does_not_answer(story):
    """Exit status 11 (try again), not a module that cannot be loaded; once it runs again, the same command signs."""
    assert story["elsewhere"] == {"before": "0", "away": "11 daemon-silent", "back": "0"}
