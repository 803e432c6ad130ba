"""SIGKILL at random moments of making objects: what was complete stays and works, the rest is found and removed."""

import pytest


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("killed")


def test_nothing_that_was_complete_is_lost(story):
    """After fifty kills and the clearing up: every key signs, every certificate and data object is as it was stored."""
    assert story["complete"] > 0
    assert story["lost"] == []


def test_what_was_cut_short_is_listed_and_removed(story):
    """``token fsck --remove`` removes all that ``token fsck`` lists, and then there is nothing more to list."""
    assert story["found"]["status"] == story["removed"]["status"] == story["again"]["status"] == 0
    assert len(story["found"]["rubbish"]) > 0
    assert all(one["removed"] for one in story["removed"]["rubbish"])
    assert len(story["removed"]["rubbish"]) == len(story["found"]["rubbish"])
    assert story["again"]["rubbish"] == []


def test_every_object_that_is_left_can_be_read(story):
    assert story["unreadable"] == []
