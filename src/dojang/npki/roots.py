"""Where NPKI folders are on this system: the places other programs use."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NPKI: Final = "NPKI"


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


def folder_named(path: Path, name: str) -> Path | None:
    """The folder ``name`` in ``path``, in whatever case and normal form it is written there."""
    from dojang.npki.folder import file_names
    from dojang.npki.names import comparable

    found = file_names(path).get(comparable(name))
    return path / found if found is not None and (path / found).is_dir() else None
