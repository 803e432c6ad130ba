"""Which of the folders below an NPKI root an address or an id names."""

from collections.abc import Iterable

from dojang.locations.address import DiskAddress, RemovableAddress
from dojang.npki.folder import KeyFolder, Place
from dojang.npki.names import comparable


def live_under(folders: Iterable[KeyFolder], key_id: bytes) -> KeyFolder | None:
    """The one in use under that id."""
    return next((folder for folder in folders if folder.place is Place.LIVE and folder.key_id == key_id), None)


def named_by(wanted: DiskAddress | RemovableAddress, folders: list[KeyFolder]) -> list[KeyFolder]:
    """The folders that an address names: by path any, by id the live one before others, by name live ones only."""
    live = [folder for folder in folders if folder.place is Place.LIVE]
    if wanted.folder is not None:
        exact = [folder for folder in folders if comparable(folder.name) == comparable(wanted.folder)]
        return exact or [folder for folder in live if comparable(folder.path.name) == comparable(wanted.folder)]
    if wanted.key_id is not None:
        same = [folder for folder in folders if folder.key_id == wanted.key_id]
        by_place = ([folder for folder in same if folder.place is place] for place in Place)
        return next((found for found in by_place if found), [])
    if wanted.common_name is not None:
        return _with_name(live, comparable(wanted.common_name))
    return live


def _with_name(folders: list[KeyFolder], name: str) -> list[KeyFolder]:
    """By the whole common name, else by what stands before the Latin name and the digits: ``홍길동()0004…``."""
    whole = [folder for folder in folders if comparable(folder.common_name) == name]
    return whole or [folder for folder in folders if comparable(folder.common_name).partition("(")[0] == name]


def may_name(wanted: DiskAddress | RemovableAddress, name: str) -> bool:
    """Whether an address may mean a folder of which nothing but its name is known."""
    if wanted.folder is not None:
        return comparable(wanted.folder) in (comparable(name), comparable(name.rpartition("/")[2]))
    if wanted.common_name is not None:
        return f"cn={comparable(wanted.common_name)}" in comparable(name)
    return not wanted.names_credential
