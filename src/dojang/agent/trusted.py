"""Which modules an agent that runs loads for whoever asks: a library that is loaded can read every PIN it has."""

import os
import stat
from dataclasses import replace
from pathlib import Path

from dojang.errors import NotPermitted, Phrase
from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec, find_modules, for_address, is_proxy
from dojang.pkcs11.module import Module
from dojang.pkcs11.uri import Pkcs11Uri


def narrowed(search: ModuleSearch, uri: Pkcs11Uri) -> tuple[ModuleSearch, Pkcs11Uri]:
    """The search and the address without modules that any program of the user could have put there.

    ``NotPermitted`` where none is left.
    """
    specs = find_modules(for_address(search, uri))
    kept = tuple(spec for spec in specs if _is_trusted(spec))
    if specs and not kept:
        raise NotPermitted(
            problem=Phrase(
                "the module {module} is not one that only the administrator can change, and the agent runs already",
                module=specs[0].path,
            ),
            remedy=Phrase("End the agent with 'dojang agent stop', and start it with this key first."),
        )
    return ModuleSearch(None, kept, discover=False), replace(uri, module_path=None, module_name=None)


def _is_trusted(spec: ModuleSpec) -> bool:
    real = Path(os.path.realpath(spec.path))
    if any(os.path.realpath(module.path) == str(real) for module in Module.loaded()):
        return True
    # A proxy loads what the user's own configuration names.
    return not is_proxy(spec.path) and all(map(_only_root_changes, (real, *real.parents)))


def _only_root_changes(path: Path) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    others_write = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return state.st_uid == 0 and (
        not others_write or (stat.S_ISDIR(state.st_mode) and bool(state.st_mode & stat.S_ISVTX))
    )
