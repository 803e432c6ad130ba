"""SoftHSM2's own files, read beside the module: which configuration counts and what lies in its token folder."""

import os
import re

_SMALLEST_OBJECT = 4096  # bytes: whole blocks are what runs out


def configuration_files() -> list[str]:
    """Where SoftHSM2 looks for its configuration, in its order; the first that can be read counts."""
    named = os.environ.get("SOFTHSM2_CONF")
    places = ["~/.config/softhsm2/softhsm2.conf", "/etc/softhsm/softhsm2.conf", "/etc/softhsm2.conf"]
    return [named] if named else [os.path.expanduser(place) for place in places]


def token_folder(configuration: str | None = None) -> str | None:
    """The folder that a configuration file (or the one that counts) names for tokens; ``None`` where none does."""
    readable = (place for place in configuration_files() if os.access(place, os.R_OK))
    chosen = configuration or next(readable, None)
    if chosen is None:
        return None
    try:
        with open(chosen, encoding="utf-8", errors="replace") as file:
            text = file.read(65536)
    except OSError:
        return None
    found = re.search(r"^\s*directories\.tokendir\s*=\s*(\S.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else None


def disk_is_full() -> bool:
    """Whether not even one more object would fit into the token folder; it answers CKR_GENERAL_ERROR then (2.6.1)."""
    folder = token_folder()
    try:
        left = os.statvfs(folder) if folder else None
    except (OSError, AttributeError):  # Windows has no statvfs
        return False
    return left is not None and left.f_bavail * left.f_frsize < _SMALLEST_OBJECT


def tokens_on_disk() -> frozenset[str]:
    """The folders of the tokens that lie in the token folder, whether the module shows them or not."""
    folder = token_folder()
    try:
        names = os.listdir(folder) if folder else []
    except OSError:
        return frozenset()
    return frozenset(name for name in names if os.path.exists(f"{folder}/{name}/token.object"))
