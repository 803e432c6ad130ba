"""Whether a module that shows what other processes did only when it is begun anew has anything new to show.

Beginning anew costs time, and leaks memory in some modules (opencryptoki 4 kB, tpm2-pkcs11 2.5 kB each, seen). A module
without a row here is begun anew whenever somebody wants to know.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from dojang.pkcs11 import softhsm


class Sign(NamedTuple):
    """``state`` is equal at two moments if modules whose file's name begins with one of ``modules`` show the same."""

    modules: tuple[str, ...]
    state: Callable[[], object]
    source: str


def _always() -> object:
    return None


def _softhsm_tokens() -> object:
    folder = softhsm.token_folder()
    return _stamps(Path(folder).glob("*/token.object")) if folder else None


def _tpm_store() -> object:
    named = os.environ.get("TPM2_PKCS11_STORE")
    folders = [named] if named else ["/etc/tpm2_pkcs11", "~/.tpm2_pkcs11", "."]
    return _stamps(path for folder in folders for path in Path(folder).expanduser().glob("*.sqlite3*"))


def _stamps(paths: Iterable[Path]) -> object:
    stamps = []
    try:
        for path in paths:
            state = path.stat()
            stamps.append((str(path), state.st_mtime_ns, state.st_size))
    except OSError:  # it changes at this moment
        return object()
    return sorted(stamps)


SIGNS: Final = (
    Sign(
        ("libsofthsm2", "softhsm2"),
        _softhsm_tokens,
        "Each token is a folder with a token.object, which every change of label or PIN writes (seen, 2.6.1).",
    ),
    Sign(
        ("libtpm2_pkcs11",), _tpm_store, "Its tokens are rows of a database in TPM2_PKCS11_STORE (its INITIALIZING.md)."
    ),
    Sign(
        ("libopencryptoki", "PKCS11_API"),
        _always,
        "All processes share the memory that its tokens are described in: what others do shows at once (seen, 3.8.1).",
    ),
    Sign(("libsoftokn3", "softokn3"), _always, "It has the same two tokens for as long as it runs (seen, 3.87)."),
)


def sign_of(module_path: str) -> Callable[[], object] | None:
    """What to compare before a module is begun anew; ``None`` where nothing tells."""
    name = module_path.rpartition("/")[2]
    return next((sign.state for sign in SIGNS if name.startswith(sign.modules)), None)
