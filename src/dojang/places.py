"""Where dojang keeps its own files: two folders, agreed on by everybody who reads or writes one of them."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def folders(environment: Mapping[str, str] | None = None) -> tuple[Path, Path]:
    """The folders of the configuration and of the state, absolute; neither need exist.

    ``DOJANG_HOME`` puts both under one folder; otherwise the platform's own places (XDG Base Directory on Linux).
    """
    env = os.environ if environment is None else environment
    if env.get("DOJANG_HOME"):
        together = Path(env["DOJANG_HOME"]).absolute()
        return together, together / "state"
    if sys.platform == "win32":
        local = Path(env.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "dojang"
        return local, local / "state"
    config = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    state = Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return config.absolute() / "dojang", state.absolute() / "dojang"


def pin_guard_path(state_dir: Path | None = None) -> Path:
    """The file in which wrong PINs are remembered (as keyed hashes); shared by the library and the command line."""
    return (folders()[1] if state_dir is None else state_dir) / "pin-guard"
