"""Which disks are mounted, what they are called and which can be pulled out, as each system tells."""

import os
from pathlib import Path

import pytest

from dojang.npki.disks import Disk, Sources, is_mounted, mounted_disks


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Five disks as Linux shows them: the system's, a stick, a fixed one, one on USB that calls itself fixed, and one
    that a desktop mounted.
    """
    found = Sources(tmp_path / "mountinfo", tmp_path / "sys", tmp_path / "udev", tmp_path / "dev", tmp_path / "Volumes")
    for folder in (found.sys_block, found.udev, found.dev_disk, found.volumes):
        folder.mkdir()
    for number, removable, bus in (
        ("8:0", "0", "ata1"),
        ("8:16", "1", "usb1"),
        ("8:32", "0", "ata2"),
        ("8:48", "0", "usb2"),
        ("8:64", "0", "ata3"),
    ):
        disk = tmp_path / "devices" / bus / number
        (disk / "part").mkdir(parents=True)
        (disk / "removable").write_text(f"{removable}\n")
        major, minor = number.split(":")
        (found.sys_block / f"{major}:{int(minor) + 1}").symlink_to(disk / "part")
    lines = [
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
        "23 22 8:17 / /mnt/my\\040stick rw - vfat /dev/sdb1 rw",
        "24 22 8:33 / /data rw shared:1 - ext4 /dev/sdc1 rw",
        "25 22 8:49 / /mnt/case rw - exfat /dev/sdd1 rw",
        "26 22 8:65 / /run/media/hong/USB rw - exfat /dev/sde1 rw",
        "27 22 8:65 / /srv/again rw - exfat /dev/sde1 rw",
        "28 22 8:33 /inner /srv/bound rw - ext4 /dev/sdc1 rw",
        "29 22 0:5 / /proc rw - proc proc rw",
        "30 22 0:44 / /run rw - tmpfs tmpfs rw",
        "31 22 0:45 / /media/hong/share rw - fuse.sshfs host: rw",
        "broken line",
        "",
    ]
    found.mountinfo.write_text("\n".join(lines))
    (found.udev / "b8:17").write_text(
        "S:disk/by-uuid/1A2B-3C4D\nE:ID_FS_LABEL=__ STICK\n"
        "E:ID_FS_LABEL_ENC=\\xed\\x95\\x9c\\xea\\xb8\\x80\\x20STICK\nE:ID_FS_UUID_ENC=1A2B-3C4D\nbroken\n"
    )
    return found


def test_disks_are_known_by_their_mounts(sources: Sources) -> None:
    """Each once; what can be pulled out is told from what stays; the system's disk and what is none are left out."""
    assert {one.mount: one.removable for one in mounted_disks("linux", sources)} == {
        Path("/mnt/my stick"): True,
        Path("/data"): False,
        Path("/mnt/case"): True,
        Path("/run/media/hong/USB"): True,
        Path("/media/hong/share"): True,
    }


def test_a_disk_is_called_by_its_label_or_uuid(sources: Sources) -> None:
    """As udev has them, in any case; without either by the folder that the desktop made for it."""
    disks = mounted_disks("linux", sources)

    def called(name: str) -> list[Path]:
        return [one.mount for one in disks if one.is_called(name)]

    assert called("한글 stick") == called("1a2b-3c4d") == [Path("/mnt/my stick")]
    assert called("USB") == [Path("/run/media/hong/USB")]
    assert called("") == called("my stick") == []
    assert disks[0].name == "한글 STICK"


def test_without_udevs_records_the_links_tell(sources: Sources, tmp_path: Path) -> None:
    """As in a container or on a small system; device numbers are compared, so any device will do."""
    number = Path("/dev/null").stat().st_rdev
    for kind, name in (("by-label", "MY\\x20KEYS"), ("by-uuid", "AAAA-BBBB")):
        (sources.dev_disk / kind).mkdir()
        (sources.dev_disk / kind / name).symlink_to("/dev/null")
    device = f"{os.major(number)}:{os.minor(number)}"
    (sources.sys_block / device).symlink_to(tmp_path / "devices/usb1/8:16/part")
    sources.mountinfo.write_text(f"40 22 {device} / /mnt/keys rw - vfat /dev/x rw\n")
    (disk,) = mounted_disks("linux", sources)
    assert (disk.label, disk.uuid, disk.removable) == ("MY KEYS", "AAAA-BBBB", True)


def test_a_mount_is_known_again(sources: Sources) -> None:
    """Another one at the same place is not the same; a device that is gone takes its mounts with it."""
    stick = mounted_disks("linux", sources)[0]
    assert is_mounted(stick, sources)
    text = sources.mountinfo.read_text()
    sources.mountinfo.write_text(text.replace("23 22 8:17", "99 22 8:17"))
    assert not is_mounted(stick, sources)
    sources.mountinfo.write_text(text)
    (sources.sys_block / "8:17").unlink()
    assert not is_mounted(stick, sources)
    sources.mountinfo.unlink()
    assert not is_mounted(stick, sources)
    assert mounted_disks("linux", sources) == []


def test_macs_mount_disks_as_volumes(sources: Sources) -> None:
    """The system's own volume is a link there, and is left out."""
    (sources.volumes / "KEYS").mkdir()
    (sources.volumes / "Macintosh HD").symlink_to("/")
    assert mounted_disks("darwin", sources) == [Disk(sources.volumes / "KEYS", removable=True)]
    assert mounted_disks("darwin", sources)[0].is_called("keys")
