"""Modules that keep every object in a file of its own: where those files are, and which of them are no object."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dojang.pkcs11 import softhsm

_NUMBER = 8
_BOOL, _ULONG, _BYTES = 1, 2, 3
_LARGEST_OBJECT = 1 << 24
_SMALLEST = 3 * _NUMBER  # the generation, and type and kind of one attribute


def _ends_inside_an_attribute(data: bytes) -> bool:
    """A generation number, then attributes: type, kind and value, whose bytes have their length before them.

    False in doubt: a kind that is not known may belong to a newer version.
    """
    at = _NUMBER
    while _NUMBER <= at < len(data):
        kind = int.from_bytes(data[at + _NUMBER : at + 2 * _NUMBER], "big")
        if at + 2 * _NUMBER > len(data):
            return True
        at += 2 * _NUMBER
        if kind == _BYTES:
            if at + _NUMBER > len(data):
                return True
            at += _NUMBER + int.from_bytes(data[at : at + _NUMBER], "big")
        elif kind in (_BOOL, _ULONG):
            at += 1 if kind == _BOOL else _NUMBER
        else:
            return False
    return at > len(data) >= _NUMBER


class Store(NamedTuple):
    """How one kind of module keeps its objects, and where that is known from.

    ``modules`` are beginnings of file names. ``folder`` reads the module's configuration. A token's files are in the
    folder below whose name ends, without hyphens, in the token's serial.
    """

    modules: tuple[str, ...]
    folder: Callable[[], str | None]
    suffix: str
    not_objects: tuple[str, ...]
    cut_short: Callable[[bytes], bool]
    source: str


STORES = (
    Store(
        ("libsofthsm2", "softhsm2"),
        softhsm.token_folder,
        ".object",
        ("token.object",),
        _ends_inside_an_attribute,
        "softhsm2.conf(5); ObjectFile.cpp, which hides a file that it cannot read to its end (seen, 2.6.1)",
    ),
)


def store_of(module_path: str) -> Store | None:
    """The row for a module, or ``None`` where nothing is known of its files."""
    names = (Path(module_path).name, Path(module_path).resolve().name)
    return next((store for store in STORES if any(name.startswith(store.modules) for name in names)), None)


def token_folder(store: Store, serial: str) -> Path | None:
    """The one folder with the files of the token that has this serial."""
    folder = store.folder()
    if folder is None or not serial:
        return None
    try:
        found = [one for one in Path(folder).iterdir() if one.name.replace("-", "").endswith(serial)]
    except OSError:
        return None
    return found[0] if len(found) == 1 and found[0].is_dir() else None


def is_being_made(store: Store, folder: Path, since: float) -> bool:
    """Whether an object file has no room yet for an attribute and was touched after ``since``."""
    for path in folder.glob(f"*{store.suffix}"):
        try:
            state = path.stat()
        except OSError:
            continue  # gone meanwhile
        if path.name not in store.not_objects and state.st_size < _SMALLEST and state.st_mtime > since:
            return True
    return False


def broken_files(store: Store, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Object files that the module will never show: empty ones, and those that end in the middle."""
    for path in sorted(folder.glob(f"*{store.suffix}")):
        if path.name in store.not_objects or path.is_symlink() or not path.is_file():
            continue
        try:
            state = path.stat()
            if state.st_size == 0 or (state.st_size <= _LARGEST_OBJECT and store.cut_short(path.read_bytes())):
                yield path, state
        except OSError:
            continue  # gone meanwhile, or not ours to read
