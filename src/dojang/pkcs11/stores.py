"""Modules that keep every object in a file of its own: where those files are, and which of them are no object."""

import os
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple

from dojang.pkcs11 import softhsm

_NUMBER = 8
_BOOL, _ULONG, _BYTES = 1, 2, 3
_LARGEST_OBJECT = 1 << 24


class _Attribute(NamedTuple):
    """One attribute in a file: ``end`` lies behind the data's where it was cut off; ``kind`` 0 is not known."""

    type: int
    kind: int
    start: int
    end: int


def _attributes(data: bytes) -> Iterator[_Attribute]:
    """What follows the generation number: type, kind and value, whose bytes have their length before them.

    It ends at a kind that is not known, which may belong to a newer version.
    """
    at = _NUMBER
    while _NUMBER <= at < len(data):
        attribute, kind = (int.from_bytes(data[at + skip : at + skip + _NUMBER], "big") for skip in (0, _NUMBER))
        at += 2 * _NUMBER
        start = at + (_NUMBER if kind == _BYTES else 0)
        if start > len(data):
            yield _Attribute(attribute, kind, start, start + 1)
            return
        if kind == _BYTES:
            end = start + int.from_bytes(data[at:start], "big")
        elif kind in (_BOOL, _ULONG):
            end = start + (1 if kind == _BOOL else _NUMBER)
        else:
            yield _Attribute(attribute, 0, start, len(data))
            return
        yield _Attribute(attribute, kind, start, end)
        at = end


def _ends_inside_an_attribute(data: bytes) -> bool:
    """Whether the last attribute is not whole. False in doubt."""
    return any(attribute.end > len(data) for attribute in _attributes(data))


def _says_nothing_of(data: bytes, types: Container[int]) -> bool:
    """Whether every one of these attributes is still without content. True in doubt."""
    return not any(
        attribute.type in types and any(data[attribute.start : attribute.end])
        for attribute in _attributes(data)
        if attribute.kind
    )


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
    blank: Callable[[bytes, Container[int]], bool]
    source: str


STORES = (
    Store(
        ("libsofthsm2", "softhsm2"),
        softhsm.token_folder,
        ".object",
        ("token.object",),
        _ends_inside_an_attribute,
        _says_nothing_of,
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


def is_being_made(store: Store, folder: Path, types: Container[int], since: float) -> bool:
    """Whether an object file that was touched after ``since`` has no content yet in any of these attributes."""
    for path in folder.glob(f"*{store.suffix}"):
        try:
            state = path.stat()
            if path.name in store.not_objects or state.st_mtime <= since or state.st_size > _LARGEST_OBJECT:
                continue
            if store.blank(path.read_bytes(), types):
                return True
        except OSError:
            continue  # gone meanwhile
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
