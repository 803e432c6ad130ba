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

    config, state = _folder_names(os.environ if environment is None else environment)
    return Path(config), Path(state)


def _folder_names(env: "Mapping[str, str]") -> tuple[str, str]:
    if env.get("DOJANG_HOME"):
        together = _absolute(env["DOJANG_HOME"])
        return together, f"{together}{os.sep}state"
    home = os.path.expanduser("~")  # noqa: PTH111
    if sys.platform == "win32":
        local = f"{env.get('LOCALAPPDATA') or f'{home}{os.sep}AppData{os.sep}Local'}{os.sep}dojang"
        return local, f"{local}{os.sep}state"
    config = _absolute(env.get("XDG_CONFIG_HOME") or f"{home}/.config")
    state = _absolute(env.get("XDG_STATE_HOME") or f"{home}/.local/state")
    return f"{config}/dojang", f"{state}/dojang"


def _absolute(path: str) -> str:
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)  # noqa: PTH117, PTH118, PTH109


def has_configuration(environment: "Mapping[str, str] | None" = None) -> bool:
    """Whether there is a configuration to read, or somebody says that there is."""
    env = os.environ if environment is None else environment
    return bool(env.get("DOJANG_CONFIG")) or os.path.exists(f"{_folder_names(env)[0]}{os.sep}config.toml")  # noqa: PTH110


def pin_guard_path(state_dir: "Path | None" = None) -> "Path":
    """The file in which wrong PINs are remembered (as keyed hashes); shared by the library and the command line."""
    return (folders()[1] if state_dir is None else state_dir) / "pin-guard"


def agent_socket_path(environment: "Mapping[str, str] | None" = None) -> str:
    """The socket of the resident agent, in a folder that nobody else may enter.

    ``DOJANG_AGENT_SOCK``, else under ``DOJANG_HOME``, else in ``XDG_RUNTIME_DIR``, else with the rest of the state.
    """
    env = os.environ if environment is None else environment
    if env.get("DOJANG_AGENT_SOCK"):
        return _absolute(env["DOJANG_AGENT_SOCK"])
    if env.get("XDG_RUNTIME_DIR") and not env.get("DOJANG_HOME"):
        return env["XDG_RUNTIME_DIR"] + "/dojang/agent.sock"
    return f"{_folder_names(env)[1]}/agent/agent.sock"
