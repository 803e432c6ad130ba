"""A location on a removable disk, where no disk is needed to see it; tests/faults/test_removable.py has real ones."""

from pathlib import Path
from types import FunctionType

import pytest

from dojang.errors import DiskNotFound
from dojang.locations.address import DiskAddress, RemovableAddress, parse_address
from dojang.locations.disk import TRAITS, DiskLocation
from dojang.locations.registry import kind_at, open_location
from dojang.locations.removable import RemovableLocation, address_of
from dojang.npki.disks import Disk


def test_every_use_of_it_is_checked() -> None:
    """No verb of a disk location is left that would not notice a disk that has gone."""
    verbs = [name for name, member in vars(DiskLocation).items() if isinstance(member, FunctionType)]
    public = [name for name in verbs if not name.startswith("_")]
    assert len(public) > 15
    assert [name for name in public if getattr(RemovableLocation, name) is getattr(DiskLocation, name)] == []


def test_it_is_a_disk_that_can_be_watched() -> None:
    """What it states of itself; all else is as on any disk."""
    kind = kind_at("removable:STICK")
    assert kind is not None
    assert kind.traits.watchable
    assert (kind.traits.key_leaves, kind.traits.copyable, kind.traits.opened_by, kind.traits.holds_r) == (
        TRAITS.key_leaves,
        TRAITS.copyable,
        TRAITS.opened_by,
        TRAITS.holds_r,
    )


def test_a_disk_that_is_not_there_is_not_made() -> None:
    """Opening says so, with the exit status of an absent token; trying again later may succeed."""
    with pytest.raises(DiskNotFound, match="no such stick") as caught, open_location("removable:no such stick"):
        pass
    assert (caught.value.exit_status, caught.value.retryable) == (6, True)


@pytest.mark.parametrize("label", ["a/b", ".", "..", "홍 길동", "a\nb", "%2F", "#?&"])
def test_whatever_a_disk_is_called_its_address_finds_it(label: str) -> None:
    """A label that no address can bear gives way to the UUID, and without one to where the disk is mounted."""
    for uuid in ("1234-ABCD", ""):
        disk = Disk(Path("/media/hong/stick"), True, label, uuid)
        address = parse_address(address_of(disk, [disk]))
        if isinstance(address, RemovableAddress):
            assert disk.is_called(address.name)
        else:
            assert address == DiskAddress("/media/hong/stick/NPKI")
