"""Memory sticks, real file systems that come and go: never written when they are not there, and no step loses a key."""

import pytest


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("removable", mounts=True)


def test_a_stick_that_is_absent_is_said_to_be(story):
    """Exit status 6, as for a token; nothing is made."""
    assert story["absent"] == ["6 disk-not-found", "6 disk-not-found"]


def test_a_stick_is_found_by_label_and_by_uuid(story):
    """In any case; the NPKI folder is made on it, and openssl verifies what its key signs."""
    assert story["issued"] == "0"
    assert story["listed"] == ["CN=Hong,C=KR valid"]
    assert story["folder"] == ["NPKI", "lost+found"]
    assert story["signs"]


def test_two_sticks_of_one_name_are_told_apart(story):
    """The error prints both UUIDs as addresses, and each opens its own."""
    assert story["twins"] == "4 ambiguous"
    assert sorted(story["matches"].split(", ")) == ["removable:0A1B-2C3D", "removable:FFFF-0001"]
    assert story["by_uuid"] == [["CN=Hong,C=KR valid"], []]


def test_a_stick_that_may_not_be_written_can_be_used(story):
    """Nothing is issued to it; what is on it lists and signs."""
    assert story["read_only"] == "9 file-unwritable"
    assert story["listed_read_only"] == ["CN=Hong,C=KR valid"]
    assert story["signs_read_only"]


def test_a_full_stick_keeps_what_it_has(story):
    """Nothing half-written stays, and once there is room the same command issues."""
    assert story["full"] == "9 file-unwritable"
    assert story["signs_full"]
    assert story["rest"] == []
    assert story["freed"] == "0"
    assert story["both"] == ["CN=Hong,C=KR valid", "CN=Kim,C=KR valid"]


@pytest.mark.parametrize("work", ["renewed", "copied"])
def test_a_stick_that_is_pulled_at_any_step_loses_nothing(story, work):
    """Broken (renewal) or only unmounted (copy) before each thing that lasts: it is said, the folder below stays empty,
    and with the stick back the same command leaves one live pair that signs, and no rubbish.
    """
    told = story[work]
    assert len(told["ends"]) > 15
    assert set(told["ends"]) == {"6 disk-removed"}
    assert told["astray"] == []
    assert set(told["again"]) == {"0"}
    assert all(told["good"])
    assert told["rest"] == []
    assert told["last"] == "0"
