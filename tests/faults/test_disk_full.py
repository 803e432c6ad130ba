"""A disk that is really full, under the token and under dojang's own records: nothing half-made, and it goes on."""

import pytest


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("disk_full", mounts=True)


def test_nothing_is_begun_without_room_for_the_records(story):
    """``cert issue`` ends with 9 ``state-unreadable``; once there is room, the same command issues one certificate."""
    assert story["before"] == ["0", "0"]
    assert story["issue_full"] == "9 state-unreadable"
    assert story["issue_freed"] == "0"
    assert story["credentials"] == ["CN=first valid", "CN=second valid"]
    assert story["keys"] == ["first", "root", "second"]
    assert set(story["findings"]) <= {"key-without-certificate"}  # the authority's own: that is not on the token


def test_signing_needs_no_room(story):
    """What is on the token goes on signing, in a new process that logs in and in one that is logged in."""
    assert story["sign_full"] == story["sign_freed"] == "0"
    assert story["signs_full"]


def test_a_token_without_room_says_so_and_keeps_nothing_half_made(story):
    """Exit status 9 ``token-full`` for keys made, brought and unwrapped, wrapping keys, certificates and data, no new
    object, and a key as soon as there is room.
    """
    assert story["made_full"] == ["9 token-full"] * 8
    assert story["half_made"] == 0
    assert story["unreadable"] == []
    assert story["made_freed"]
    assert story["unwrapped_freed"]


def test_it_goes_on_within_seconds(story):
    assert story["seconds"] < 20
