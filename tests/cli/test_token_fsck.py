"""``dojang token fsck``: lists rubbish, and removes it for whoever names the token's serial."""

import json
import os
import time
from pathlib import Path
from uuid import uuid4

import pytest

from dojang.pkcs11.stores import STORES, token_folder


@pytest.fixture
def token(make_token):
    return make_token(f"fsck-{uuid4().hex[:8]}")


@pytest.fixture
def empty_file(token) -> Path:
    """What is left of an object whose maker was killed long ago."""
    path = token_folder(STORES[0], token.serial) / "killed.object"
    path.touch()
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    return path


def answer(done) -> dict:
    return json.loads(done.stdout)["data"]


def test_a_clean_token(run_dojang, token) -> None:
    """Nothing is found, nothing asked but the PIN."""
    done = run_dojang("token", "fsck", token.uri, "--pin-source", token.pin_source, "--json")
    assert (done.returncode, answer(done)["rubbish"], answer(done)["removed"]) == (0, [], 0)
    assert "no rubbish" in run_dojang("token", "fsck", token.uri, "--pin-source", token.pin_source).stdout


def test_rubbish_is_listed_and_the_command_that_removes_it_works(run_dojang, token, empty_file) -> None:
    """Listing and --plan change nothing; the line that is printed, run as it stands, removes it."""
    pin = ("--pin-source", token.pin_source)
    listed = run_dojang("token", "fsck", token.uri, *pin)
    assert str(empty_file) in listed.stdout
    command = listed.stdout.splitlines()[-1].partition(": dojang ")[2].replace("'", "").split()
    planned = run_dojang(*command, "--plan", *pin, "--json")
    assert (planned.returncode, len(answer(planned)["plan"])) == (0, 1)
    assert empty_file.exists()
    done = run_dojang(*command, *pin, "--json")
    assert (done.returncode, answer(done)["removed"]) == (0, 1)
    assert [(one["kind"], one["removed"]) for one in answer(done)["rubbish"]] == [("empty-file", True)]
    assert not empty_file.exists()


def test_removing_needs_the_serial(run_dojang, token, empty_file) -> None:
    """Another serial, or none where nobody can be asked, removes nothing."""
    words = ("token", "fsck", token.uri, "--remove", "--pin-source", token.pin_source)
    assert run_dojang(*words, "--serial", "0000").returncode == 9
    assert run_dojang(*words, "--no-input").returncode == 2
    assert empty_file.exists()


def test_what_is_young_is_kept_and_said_to_be(run_dojang, token, empty_file) -> None:
    """A file that somebody may be writing is shown with the reason why it stays."""
    os.utime(empty_file)
    words = ("token", "fsck", token.uri, "--remove", "--serial", token.serial, "--pin-source", token.pin_source)
    done = run_dojang(*words, "--json")
    (found,) = answer(done)["rubbish"]
    assert (done.returncode, found["removable"], bool(found["doubt"])) == (0, False, True)
    assert empty_file.exists()
    assert "kept: " in run_dojang(*words).stdout
