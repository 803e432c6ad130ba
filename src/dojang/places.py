"""Where dojang keeps its own files: two folders, agreed on by everybody who reads or writes one of them.

Whoever asks for the agent's socket asks for nothing else, so ``pathlib`` is loaded only where folders are wanted.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def folders(environment: "Mapping[str, str] | None" = None) -> "tuple[Path, Path]":
    """The folders of the configuration and of the state, absolute; neither need exist.

    ``DOJANG_HOME`` puts both under one folder; otherwise the platform's own places (XDG Base Directory on Linux).
    """
    from pathlib import Path

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


def pin_guard_path(state_dir: "Path | None" = None) -> "Path":
    """The file in which wrong PINs are remembered (as keyed hashes); shared by the library and the command line."""
    return (folders()[1] if state_dir is None else state_dir) / "pin-guard"


def agent_socket_path(environment: "Mapping[str, str] | None" = None) -> str:
    """The socket of the resident agent, in a folder that nobody else may enter.

    ``DOJANG_AGENT_SOCK``, else under ``DOJANG_HOME``, else in ``XDG_RUNTIME_DIR``, else with the rest of the state.
    """
    env = os.environ if environment is None else environment
    if env.get("DOJANG_AGENT_SOCK"):
        return os.path.abspath(env["DOJANG_AGENT_SOCK"])  # noqa: PTH100
    if env.get("XDG_RUNTIME_DIR") and not env.get("DOJANG_HOME"):
        return env["XDG_RUNTIME_DIR"] + "/dojang/agent.sock"
    return str(folders(env)[1] / "agent" / "agent.sock")
