"""The NPKI folder on a disk that comes and goes, found by the disk's label or UUID wherever it is mounted.

The root of the disk is held open while a location is in use, and every path leads through it: to this disk or nowhere.
So nothing is ever written into the empty folder that stays when a disk is pulled out, or onto another disk.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import Ambiguous, DiskNotFound, DiskRemoved, DojangError, FileUnreadable, Phrase
from dojang.locations import disk as on_disk
from dojang.locations.address import DiskAddress, RemovableAddress
from dojang.locations.base import Access, StoredCredential
from dojang.locations.claims import Claim, ClaimBoard
from dojang.locations.disk import DiskLocation
from dojang.npki.disks import Disk, is_mounted, mounted_disks
from dojang.npki.names import comparable
from dojang.npki.roots import NPKI, folder_named

if TYPE_CHECKING:
    from dojang.locations.address import Address

KIND: Final = "removable"
TRAITS: Final = replace(on_disk.TRAITS, watchable=True)

_DESCRIPTORS: Final = "/proc/self/fd"


class HeldDisk:
    """The root of a mounted disk, open until this is closed."""

    def __init__(self, disk: Disk, descriptor: int | None) -> None:
        """``descriptor`` is of the disk's root; there is none where paths cannot lead through one."""
        self._disk = disk
        self._descriptor = descriptor
        self.root = disk.mount if descriptor is None else Path(_DESCRIPTORS) / str(descriptor)

    @classmethod
    @contextmanager
    def hold(cls, disk: Disk) -> "Iterator[HeldDisk]":
        """``DiskRemoved`` when it has just gone, or another took its place."""
        if sys.platform != "linux":
            yield cls(disk, None)
            return
        try:
            descriptor = os.open(disk.mount, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise DiskRemoved(name=disk.name) from error
        try:
            held = cls(disk, descriptor)
            if _mount_id(descriptor) != disk.mount_id:
                raise DiskRemoved(name=disk.name)
            yield held
        finally:
            os.close(descriptor)

    def shown(self, path: object) -> str:
        """A path below it as people see it."""
        return str(path).replace(f"{self.root}{os.sep}", f"{self._disk.mount}{os.sep}")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Around all that touches the disk. Whatever fails, or seems to have nothing to do, because the disk has gone
        is ``DiskRemoved``.
        """
        self._check()
        try:
            yield
        except DojangError as error:
            self._check(error)
            _show_paths(error, self.shown)
            raise
        except OSError as error:
            self._check(error)
            raise FileUnreadable(path=self._disk.mount, problem=error.strerror or str(error)) from error
        self._check()

    def _check(self, cause: Exception | None = None) -> None:
        if not self._is_there():
            raise DiskRemoved(name=self._disk.name) from cause

    def _is_there(self) -> bool:
        try:
            self.root.stat()
        except OSError:
            return False
        return is_mounted(self._disk) if self._descriptor is not None else self.root.is_mount()


class RemovableLocation(DiskLocation):
    """A disk location that is there only while its disk is; every use of it is checked before and after."""

    kind = KIND
    traits = TRAITS

    def __init__(self, held: HeldDisk, address: RemovableAddress, access: Access) -> None:
        """``address`` is the disk's."""
        root = folder_named(held.root, NPKI) or held.root / NPKI
        super().__init__(root, access.passwords, access.key_files, access.tries, address=address, shown=held.shown)
        self._held = held

    def credentials(self) -> Iterator[StoredCredential]:
        with self._held.in_use():
            return iter(list(super().credentials()))

    def claim_board(self) -> ClaimBoard:
        return _HeldBoard(super().claim_board(), self._held)


class _HeldBoard:
    """Claims on the disk, as careful as the location."""

    def __init__(self, board: ClaimBoard, held: HeldDisk) -> None:
        self._board, self._held = board, held

    def take(self, claim: Claim) -> Claim | None:
        with self._held.in_use():
            return self._board.take(claim)

    def stands(self, name: str, claim_id: str) -> bool:
        with self._held.in_use():
            return self._board.stands(name, claim_id)

    def drop(self, name: str, claim_id: str) -> None:
        with self._held.in_use():
            self._board.drop(name, claim_id)


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: RemovableLocation, *arguments: Any, **named: Any) -> Any:
        with self._held.in_use():
            return method(self, *arguments, **named)

    return call


# Every verb of a location on a disk, also those that it is yet to learn.
for _name, _member in vars(DiskLocation).items():
    if isinstance(_member, FunctionType) and not _name.startswith("_") and _name not in vars(RemovableLocation):
        setattr(RemovableLocation, _name, _checked(_member))


@contextmanager
def open_at(address: "Address", access: Access) -> Iterator[RemovableLocation]:
    """The NPKI folder on the one mounted disk of that name; it need not exist yet, but the disk has to be there.

    ``DiskNotFound`` without it, ``Ambiguous`` for two of one name.
    """
    assert isinstance(address, RemovableAddress)
    disks = mounted_disks()
    found = [one for one in disks if one.is_called(address.name)]
    if not found:
        raise DiskNotFound(name=address.name)
    if len(found) > 1:
        raise Ambiguous(what=f"'{address.location()}'", matches=", ".join(address_of(one, disks) for one in found))
    with HeldDisk.hold(found[0]) as held:
        yield RemovableLocation(held, RemovableAddress(_name_among(found[0], disks)), access)


def address_of(disk: Disk, disks: list[Disk]) -> str:
    """What finds it and no other: its name, else its UUID, else where it is mounted."""
    name = _name_among(disk, disks)
    if RemovableAddress.can_name(name) and sum(one.is_called(name) for one in disks) == 1:
        return RemovableAddress(name).to_text()
    return DiskAddress(str(disk.mount / NPKI)).to_text()


def _name_among(disk: Disk, disks: list[Disk]) -> str:
    alone = sum(comparable(one.name) == comparable(disk.name) for one in disks) == 1
    fit = alone and RemovableAddress.can_name(disk.name)
    return disk.name if fit or not disk.uuid else disk.uuid


def _mount_id(descriptor: int) -> str:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return value.strip()
    return ""


def _show_paths(error: DojangError, shown: Callable[[object], str]) -> None:
    """An error tells the path that people know."""
    error.facts = {name: _shown_fact(value, shown) for name, value in error.facts.items()}
    error.args = (error.message(),)


def _shown_fact(value: object, shown: Callable[[object], str]) -> object:
    if isinstance(value, Phrase):
        return Phrase(value.template, **{name: _shown_fact(one, shown) for name, one in value.facts.items()})
    return shown(value) if isinstance(value, (str, Path)) else value
