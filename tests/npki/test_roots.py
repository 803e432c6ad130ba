"""Where NPKI folders are looked for, on each system and on the disks that are plugged in."""

import unicodedata
from pathlib import Path

import pytest

from dojang.npki import roots
from dojang.npki.roots import Root, default_root, folder_named, mounted_disks, present_roots, usual_roots

HOME = Path("/home/hong")


@pytest.mark.parametrize(
    ("system", "environment", "expected"),
    [
        ("linux", {}, ["/home/hong/NPKI"]),
        ("linux", {"ANDROID_ROOT": "/system"}, ["/home/hong/NPKI", "/sdcard/NPKI"]),
        (
            "darwin",
            {},
            ["/home/hong/Library/Preferences/NPKI", "/home/hong/Documents/NPKI", "/home/hong/NPKI"],
        ),
        (
            "win32",
            {"ProgramFiles": "/Program Files", "ProgramFiles(x86)": "/Program Files (x86)"},
            ["/home/hong/AppData/LocalLow/NPKI", "/Program Files/NPKI", "/Program Files (x86)/NPKI"],
        ),
        ("win32", {}, ["/home/hong/AppData/LocalLow/NPKI"]),
    ],
)
def test_the_usual_places_of_each_system(system: str, environment: dict[str, str], expected: list[str]) -> None:
    """Where other programs look (facts on the formats, 1.2); a new folder goes to the first."""
    assert [path.as_posix() for path in usual_roots(system, HOME, environment)] == expected


def test_the_usual_place_here_is_the_one_meant(monkeypatch, tmp_path: Path) -> None:
    """By the home of whoever runs it; folders that are not there are not listed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / "NPKI"
    assert default_root() not in [root.path for root in present_roots()]
    (tmp_path / "NPKI").mkdir()
    assert Root(tmp_path / "NPKI", removable=False) in present_roots()


def mounts(tmp_path: Path) -> tuple[str, Path]:
    """Four disks as Linux shows them: the system's, a stick, a fixed one, a drive case that calls itself fixed."""
    block = tmp_path / "sys"
    for number, removable in (("8:0", "0"), ("8:16", "1"), ("8:32", "0"), ("8:48", "0")):
        disk = tmp_path / "devices" / number
        (disk / "part").mkdir(parents=True)
        (disk / "removable").write_text(f"{removable}\n")
        block.mkdir(exist_ok=True)
        major, minor = number.split(":")
        (block / f"{major}:{int(minor) + 1}").symlink_to(disk / "part")
    lines = [
        "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
        f"23 22 8:17 / {tmp_path}/mnt/my\\040stick rw - vfat /dev/sdb1 rw",
        f"24 22 8:33 / {tmp_path}/data rw shared:1 - ext4 /dev/sdc1 rw",
        "25 22 8:49 / /media/hong/USB rw - exfat /dev/sdd1 rw",
        "26 22 0:5 / /proc rw - proc proc rw",
        f"27 22 0:44 / {tmp_path}/run rw - tmpfs tmpfs rw",
        "broken line",
        "",
    ]
    return "\n".join(lines), block


def test_disks_are_known_by_their_mounts(tmp_path: Path) -> None:
    """What can be pulled out is told from what stays; what is no disk is left out."""
    assert mounted_disks(*mounts(tmp_path)) == [
        (tmp_path / "mnt/my stick", True),
        (tmp_path / "data", False),
        (Path("/media/hong/USB"), True),
    ]


def test_a_folder_on_a_stick_is_found(tmp_path: Path, monkeypatch) -> None:
    """In any case of its name."""
    text, block = mounts(tmp_path)
    (tmp_path / "mnt/my stick/npki").mkdir(parents=True)
    (tmp_path / "mountinfo").write_text(text)
    monkeypatch.setattr(roots, "_MOUNTINFO", tmp_path / "mountinfo")
    monkeypatch.setattr(mounted_disks, "__defaults__", (block,))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert present_roots("linux") == [Root(tmp_path / "mnt/my stick/npki", removable=True)]


def test_macs_mount_disks_as_volumes(tmp_path: Path, monkeypatch) -> None:
    """The system's own volume is a link there, and is left out."""
    (tmp_path / "USB/NPKI").mkdir(parents=True)
    (tmp_path / "Macintosh HD").symlink_to("/")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(roots, "_VOLUMES", tmp_path)
    assert present_roots("darwin") == [Root(tmp_path / "USB/NPKI", removable=True)]


def test_a_name_is_found_in_any_spelling(tmp_path: Path) -> None:
    """Case and normal form do not count; a file is no folder."""
    (tmp_path / unicodedata.normalize("NFD", "인증서")).mkdir()
    (tmp_path / "NPKI").write_text("x")
    assert folder_named(tmp_path, "인증서") is not None
    assert folder_named(tmp_path, "npki") is None
    assert folder_named(tmp_path / "none", "NPKI") is None
