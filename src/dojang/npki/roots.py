"""Where NPKI folders are on this system: the places other programs use, and the disks that are plugged in now."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Final

NPKI: Final = "NPKI"

_SYS_BLOCK: Final = Path("/sys/dev/block")
_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_VOLUMES: Final = Path("/Volumes")
# Desktops mount what a person plugs in below these, also disks that call themselves fixed.
_PLUGGED_IN: Final = ("/media/", "/run/media/")
_NO_DISKS: Final = frozenset(("proc", "sysfs", "tmpfs", "devtmpfs", "cgroup2", "overlay", "squashfs", "autofs"))
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Root:
    """An NPKI folder that is there. ``removable``: it goes when its disk is pulled out, as far as the system says.

    Windows is not asked; there every drive but the system's counts as one that may go.
    """

    path: Path
    removable: bool


def usual_roots(
    system: str = sys.platform, home: Path | None = None, environment: Mapping[str, str] = os.environ
) -> list[Path]:
    """Where NPKI folders usually are for one person, first where a new one goes (KCAC.TS.UI 6.1); there or not."""
    own = Path.home() if home is None else home
    if system == "win32":
        programs = [environment[name] for name in ("ProgramFiles", "ProgramFiles(x86)") if name in environment]
        return [own / "AppData" / "LocalLow" / NPKI, *dict.fromkeys(Path(folder) / NPKI for folder in programs)]
    if system == "darwin":
        return [own / "Library" / "Preferences" / NPKI, own / "Documents" / NPKI, own / NPKI]
    return [own / NPKI, *([Path("/sdcard") / NPKI] if "ANDROID_ROOT" in environment else [])]


def default_root() -> Path:
    """The NPKI folder that is meant when none is named."""
    return usual_roots()[0]


def present_roots(system: str = sys.platform) -> list[Root]:
    """The NPKI folders that are there now: the usual ones, then one at the root of each disk besides the system's."""
    usual = [Root(path, removable=False) for path in usual_roots(system) if path.is_dir()]
    known = {root.path for root in usual}
    return usual + [root for root in _roots_on_disks(system) if root.path not in known]


def folder_named(path: Path, name: str) -> Path | None:
    """The folder ``name`` in ``path``, in whatever case and normal form it is written there."""
    from dojang.npki.folder import file_names
    from dojang.npki.names import comparable

    found = file_names(path).get(comparable(name))
    return path / found if found is not None and (path / found).is_dir() else None


def _roots_on_disks(system: str) -> Iterator[Root]:
    for mount, removable in _disks(system):
        if found := folder_named(mount, NPKI):
            yield Root(found, removable)


def _disks(system: str) -> list[tuple[Path, bool]]:
    if system == "win32":
        system_drive = os.environ.get("SYSTEMDRIVE", "C:")[:1].upper()
        return [(Path(f"{letter}:/"), letter != system_drive) for letter in ascii_uppercase]
    if system == "darwin":
        return [(volume, True) for volume in sorted(_VOLUMES.glob("*")) if not volume.is_symlink()]
    try:
        return mounted_disks(_MOUNTINFO.read_text("utf-8", "surrogateescape"))
    except OSError:
        return []


def mounted_disks(mountinfo: str, sys_block: Path = _SYS_BLOCK) -> list[tuple[Path, bool]]:
    """The mount points of disks in the text of ``/proc/self/mountinfo``, and whether each can be pulled out."""
    disks = {}
    for line in mountinfo.splitlines():
        fields, _, source = line.partition(" - ")
        words, kind = fields.split(" "), source.split(" ")[0]
        if len(words) < 5 or kind in _NO_DISKS or words[4] == "/":
            continue
        mount = _OCTAL.sub(lambda found: chr(int(found[1], 8)), words[4])
        plugged = mount.startswith(_PLUGGED_IN)
        if plugged or (sys_block / words[2]).exists():
            disks[Path(mount)] = plugged or _is_removable(sys_block / words[2])
    return list(disks.items())


def _is_removable(device: Path) -> bool:
    """What the disk says of itself; a partition stands one folder below its disk."""
    real = device.resolve()
    for folder in (real, real.parent):
        try:
            return (folder / "removable").read_text().strip() == "1"
        except OSError:
            continue
    return False
