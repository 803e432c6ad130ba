"""The p11-kit server dies under those who sign through it, and comes back."""

import subprocess
import sys
from pathlib import Path

import pytest

from dojang.testing.modules.parts import library


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("p11_kit")


def test_every_thread_signs_again_after_every_kill(story):
    """Four times SIGKILL and a new server under eight threads: all eight live and sign, within two seconds."""
    assert story["alive"] == 8
    assert max(story["seconds"]) < 2


def test_nothing_is_signed_twice_or_wrong(story):
    """As many signatures were made as were handed out, and each verifies."""
    assert story["made"] == story["signed"] > 0
    assert story["wrong"] == 0


def test_callers_see_that_the_daemon_is_silent_and_may_try_again(story):
    """While it is away: ``daemon-silent``; as it dies ``signature-uncertain``; as a new one comes, the token may be
    missing for a moment. All are retryable.
    """
    assert "daemon-silent" in story["errors"]
    assert set(story["errors"]) <= {"daemon-silent", "signature-uncertain", "device-failure", "token-removed"}
    assert story["not_retryable"] == []


def test_the_pin_is_given_once_a_restart(story):
    """Four restarts, four logins, however many threads; no try was wrong."""
    assert story["logins"] == len(story["seconds"])
    assert story["tries_wasted"] == []


def test_the_command_says_what_to_start(home, tmp_path: Path, monkeypatch):
    """Without a server: exit status 11 and the daemon's name, not a missing token."""
    monkeypatch.setenv("P11_KIT_SERVER_ADDRESS", f"unix:path={tmp_path}/nobody")
    client = library("pkcs11/p11-kit-client.so", "p11-kit-modules")
    command = [sys.executable, "-m", "dojang", "--module", client, "token", "show", "pkcs11:token=any"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 11
    assert "p11-kit server" in run.stderr
