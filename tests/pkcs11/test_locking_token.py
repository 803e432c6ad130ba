"""On a token that really locks: wrong PINs cost one try, the last try is not spent unasked, the SO unblocks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def story():
    command = [sys.executable, "-m", "dojang.testing", "opencryptoki", sys.executable, HERE / "locking_token_story.py"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stderr
    return {line["step"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_a_wrong_pin_in_eight_threads_costs_one_try(story):
    """The token's own counter shows one wrong try; the other seven threads never reached it."""
    assert story["eight threads"]["result"] == "pin-incorrect," + ",".join(["pin-known-wrong"] * 7)
    assert "user-pin-count-low" in story["eight threads"]["flags"]
    assert "user-pin-final-try" not in story["eight threads"]["flags"]


def test_a_remembered_failure_does_not_touch_the_token(story):
    assert story["again"]["result"] == "pin-known-wrong"
    assert story["again"]["flags"] == story["eight threads"]["flags"]


def test_the_right_pin_clears_the_count(story):
    assert story["right"]["result"] == "ok"
    assert "user-pin-count-low" not in story["right"]["flags"]


def test_a_wrong_pin_source_in_three_processes_costs_one_try(story):
    """One process tries; the other two wait for it and then know."""
    assert story["three processes"]["result"] == "7 pin-incorrect,7 pin-known-wrong,7 pin-known-wrong"
    assert story["three processes"]["flags"] == ["user-pin-count-low"]
    assert story["right after processes"]["flags"] == []


def test_a_wrong_pin_source_in_a_batch_of_a_thousand_costs_one_try(story):
    """The first file ends the batch, and the batch run again does not reach the token at all."""
    assert story["batch"]["result"] == "7 pin-incorrect"
    assert story["batch again"]["result"] == "7 pin-known-wrong"
    assert story["batch again"]["flags"] == ["user-pin-count-low"]
    assert story["signatures of the batch"]["result"] == "0"
    assert story["right after batch"]["flags"] == []


def test_a_wrong_pin_source_for_the_agent_costs_one_try(story):
    """The agent does not start, and started again it does not reach the token."""
    assert story["daemon"]["result"] == "7 pin-incorrect"
    assert story["daemon again"]["result"] == "7 pin-known-wrong"
    assert story["daemon again"]["flags"] == ["user-pin-count-low"]
    assert story["right after daemon"]["flags"] == []


def test_the_last_try_is_never_spent_unasked(story):
    """Two wrong PINs, then nothing reaches the token, not even the right PIN, without being told to."""
    assert story["wrong 2"]["result"] == "pin-incorrect"
    for step in ("last try withheld", "right one withheld too"):
        assert story[step]["result"] == "pin-last-try"
        assert "user-pin-final-try" in story[step]["flags"]
        assert "user-pin-locked" not in story[step]["flags"]


def test_the_command_line_says_so_with_its_own_exit_status(story):
    assert story["command line"]["result"] == "8 pin-last-try"
    assert "user-pin-locked" not in story["command line"]["flags"]
    assert story["command line locked"]["result"] == "8 pin-locked"


def test_the_last_try_can_be_spent_on_purpose_and_then_the_pin_is_locked(story):
    assert story["last try on purpose"]["result"] == "pin-incorrect"
    assert "user-pin-locked" in story["last try on purpose"]["flags"]
    assert story["locked"]["result"] == "pin-locked"


def test_the_security_officer_unblocks_and_old_failures_are_forgotten(story):
    """The PIN that was wrong before is now the right one, and it is tried."""
    assert story["unblocked"]["result"] == "ok"
    assert "user-pin-locked" not in story["unblocked"]["flags"]


def test_a_token_without_the_combined_mechanism_signs_a_digest_hashed_on_the_host(story):
    """This token has no SHA256-RSA-PKCS: the signature is made all the same, and elliptic curves are refused."""
    assert story["signed"]["result"] == "combined mechanism False"
    assert story["no elliptic curves"]["result"] == "unsupported-mechanism"
