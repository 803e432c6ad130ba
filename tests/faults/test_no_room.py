"""A disk that is full, and one that may not be written: told as such, nothing half-made, the original as it was."""

import pytest


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("no_room", mounts=True)


@pytest.mark.parametrize("disk", ["full", "read_only"])
def test_what_cannot_be_written_is_told(story, disk):
    """Copy, move, export, backup and restore each end with 9 ``file-unwritable``, and leave nothing on the disk."""
    assert story[disk] == ["9 file-unwritable"] * 6
    assert story[f"seen_{disk}"] == []


def test_the_original_is_as_it_was(story):
    """Byte for byte, and the journal has nothing open."""
    assert story["kept"]
    assert story["findings"] == []


def test_with_room_the_same_commands_succeed(story):
    """The move finds the copy there, and so does the restore."""
    assert story["well"] == ["0", "0", "3 not-found", "3 not-found", "3 not-found", "0"]
    assert any(name.endswith("signPri.key") for name in story["seen_well"])
