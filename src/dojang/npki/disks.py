"""Disks that are mounted now: what each is called, and whether it can be pulled out.

The system is asked for nothing that would need the disk itself, so one that hangs keeps nobody waiting.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from dojang.npki.names import comparable

# Desktops mount what a person plugs in below these, also disks that call themselves fixed.
_PLUGGED_IN: Final = ("/media/", "/run/media/")
_NO_DISKS: Final = frozenset(("proc", "sysfs", "tmpfs", "devtmpfs", "cgroup2", "overlay", "squashfs", "autofs"))
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_ESCAPED: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where Linux tells of its disks; macOS has them all in ``volumes``."""

    mountinfo: Path = Path("/proc/self/mountinfo")
    sys_block: Path = Path("/sys/dev/block")
    udev: Path = Path("/run/udev/data")
    dev_disk: Path = Path("/dev/disk")
    volumes: Path = Path("/Volumes")


SOURCES: Final = Sources()


@dataclass(frozen=True, slots=True)
class Disk:
    """One file system and where it is mounted. ``device`` and ``mount_id`` are Linux's numbers for the two.

    Windows is not asked what can be pulled out; there every drive but the system's may go.
    """

    mount: Path
    removable: bool
    label: str = ""
    uuid: str = ""
    device: str = field(default="", compare=False)
    mount_id: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """What people call it: by its label, else by the folder that the system made for it."""
        return self.label or self.mount.name

    def is_called(self, name: str) -> bool:
        """Whether that is its name or its UUID; case does not count."""
        return comparable(name) in {comparable(one) for one in (self.name, self.uuid) if one}


def mounted_disks(system: str = sys.platform, sources: Sources = SOURCES) -> list[Disk]:
    """Every disk that is mounted now, but the one that the system runs from."""
    if system == "win32":
        own = os.environ.get("SYSTEMDRIVE", "C:")[:1].upper()
        drives = [(letter, Path(f"{letter}:/")) for letter in ascii_uppercase]
        return [Disk(drive, letter != own, label=letter) for letter, drive in drives if letter == own or drive.exists()]
    if system == "darwin":
        return [Disk(one, True) for one in sorted(sources.volumes.glob("*")) if not one.is_symlink()]
    try:
        text = sources.mountinfo.read_text("utf-8", "surrogateescape")
    except OSError:
        return []
    disks = {disk.mount: disk for disk in _in_mountinfo(text, sources)}  # what is mounted over another hides it
    each_once: dict[str, Disk] = {}
    for disk in disks.values():
        known = disk.device if (sources.sys_block / disk.device).exists() else disk.mount_id
        each_once.setdefault(known, disk)
    return list(each_once.values())


def is_mounted(disk: Disk, sources: Sources = SOURCES) -> bool:
    """Whether this very mount is still there, and the device below it; only Linux can say."""
    try:
        text = sources.mountinfo.read_text("utf-8", "surrogateescape")
    except OSError:
        return False
    return any(one.mount_id == disk.mount_id for one in _in_mountinfo(text, sources))


def _in_mountinfo(text: str, sources: Sources) -> Iterator[Disk]:
    """proc(5): the id of the mount, its parent's, the device, what of it is mounted, where; after `` - `` the kind."""
    for line in text.splitlines():
        fields, _, source = line.partition(" - ")
        words, kind = fields.split(" "), source.split(" ")[0]
        if len(words) < 5 or kind in _NO_DISKS or words[4] == "/" or (words[3] != "/" and kind != "btrfs"):
            continue
        mount = _OCTAL.sub(lambda found: chr(int(found[1], 8)), words[4])
        block = sources.sys_block / words[2]
        plugged, known = mount.startswith(_PLUGGED_IN), block.exists()
        if plugged or known:
            label, uuid = _names_of(words[2], sources) if known else ("", "")
            removable = plugged or _is_removable(block)
            yield Disk(Path(mount), removable, label, uuid, device=words[2], mount_id=words[0])


def _is_removable(block: Path) -> bool:
    """What the disk says of itself; a partition stands one folder below its disk. A hard disk on USB says that it
    stays, but can be unplugged all the same.
    """
    real = block.resolve()
    if "/usb" in str(real):
        return True
    for folder in (real, real.parent):
        try:
            return (folder / "removable").read_text().strip() == "1"
        except OSError:
            continue
    return False


def _names_of(device: str, sources: Sources) -> tuple[str, str]:
    """Label and UUID from udev's records, which know two disks of one label apart; else by the links in ``/dev``."""
    try:
        lines = (sources.udev / f"b{device}").read_bytes().splitlines()
    except OSError:
        return _linked(sources.dev_disk / "by-label", device), _linked(sources.dev_disk / "by-uuid", device)
    said = dict(line[2:].split(b"=", 1) for line in lines if line.startswith(b"E:") and b"=" in line)
    return _unescaped(said.get(b"ID_FS_LABEL_ENC", b"")), _unescaped(said.get(b"ID_FS_UUID_ENC", b""))


def _linked(folder: Path, device: str) -> str:
    try:
        for link in sorted(folder.iterdir()):
            number = link.stat().st_rdev
            if f"{os.major(number)}:{os.minor(number)}" == device:
                return _unescaped(os.fsencode(link.name))
    except OSError:
        return ""
    return ""


def _unescaped(name: bytes) -> str:
    return _ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), name).decode("utf-8", "replace")
