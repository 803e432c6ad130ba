"""One certificate folder (``signCert.der``, ``signPri.key``) and how an NPKI root is searched for them."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from dojang.der import MalformedDer
from dojang.errors import FileUnreadable
from dojang.npki.certificates import load_seen, seen_before
from dojang.npki.contents import CERTIFICATE, KEY, RECORD, FolderRecord, public_key_hash
from dojang.npki.files import read_file
from dojang.npki.keyfile import MAX_FILE_BYTES
from dojang.npki.names import RETIRED, USER, comparable
from dojang.tbs import Glance, common_name_in

STAGING = ".dojang"
_CERTIFICATE, _KEY, _RECORD = comparable(CERTIFICATE), comparable(KEY), comparable(RECORD)
_AT_ONCE = 256
_USUAL_BYTES = 1 << 13  # of a certificate
_STAGED_NAME = re.compile("[0-9a-f]+")


class Place(Enum):
    """Where in the root a folder stands."""

    LIVE = "live"
    STAGED = "staged"
    RETIRED = "retired"


class KeyFolder(NamedTuple):
    """A folder with a certificate in it. ``name`` is its path below the root: ``yessign/USER/cn=…``.

    Thousands are made for one list, and a tuple in a quarter of a dataclass's time. ``seen`` is the certificate.
    """

    folder: str
    name: str
    place: Place
    certificate_der: bytes
    common_name: str
    key_id: bytes
    key_name: str | None
    replaces: str | None
    seen: Glance

    @property
    def path(self) -> Path:
        """Where it is. Text becomes a path when somebody wants one: thousands are only listed."""
        return Path(self.folder)

    @property
    def key_path(self) -> Path | None:
        """The file with its key."""
        return Path(f"{self.folder}/{self.key_name}") if self.key_name else None


def scan(root: Path, left_out: list[str] | None = None) -> Iterator[KeyFolder]:
    """Every certificate folder below ``root``: live, then staged, then retired ones. The unreadable is left out.

    ``left_out`` gets the names of live folders in which there is something, and no certificate that can be read.
    """
    authorities = [entry for entry in _folders(root) if not entry.name.startswith(".")]
    for authority in authorities:
        yield from _below(authority, USER, Place.LIVE, left_out)
    for staged in _folders(root / STAGING):
        name = f"{STAGING}/{staged.name}"
        if _STAGED_NAME.fullmatch(staged.name) and (folder := _folder_at(staged.path, name, Place.STAGED)):
            yield folder
    for authority in authorities:
        yield from _below(authority, RETIRED, Place.RETIRED)


def settled(folders: list[KeyFolder]) -> list[KeyFolder]:
    """The folders as they count in the middle of a switch, so that a name always finds one pair.

    A staged folder whose predecessor has left its place is the live one already; a live folder whose successor is
    live too is retired already.
    """
    live = [folder for folder in folders if folder.place is Place.LIVE]
    successors = [folder for folder in live if folder.replaces]
    if not any(folder.replaces for folder in folders):  # nothing is under way, and there may be thousands
        return folders
    names = {comparable(folder.name) for folder in live}
    counted = []
    for folder in folders:
        if folder.place is Place.STAGED and folder.replaces and comparable(folder.replaces) not in names:
            counted.append(folder._replace(place=Place.LIVE, name=folder.replaces))
        elif folder.place is Place.LIVE and any(succeeds(other, folder) for other in successors):
            counted.append(folder._replace(place=Place.RETIRED))
        else:
            counted.append(folder)
    return counted


def succeeds(new: KeyFolder, old: KeyFolder) -> bool:
    """Whether ``new`` is live at a place of its own while what it replaces is still there."""
    return new.folder != old.folder and new.replaces is not None and comparable(new.replaces) == comparable(old.name)


def exact_folder(root: Path, name: str) -> KeyFolder | None:
    """The live or retired folder whose path below ``root`` is written exactly so; ``None`` for anything else.

    It is read without a look at its neighbours, of which there may be thousands.
    """
    parts = name.split("/")
    if (
        os.name == "nt"
        or len(parts) != 3
        or any(part in ("", ".", "..") or "\0" in part for part in parts)
        or parts[0][0] == "."
    ):
        return None
    place = {USER: Place.LIVE, RETIRED: Place.RETIRED}.get(parts[1])
    return None if place is None else _folder_at(f"{root}/{name}", name, place)


def staged_folder(root: Path, key_id: bytes) -> KeyFolder | None:
    """What is staged under ``key_id``, or ``None`` when no certificate can be read there."""
    name = f"{STAGING}/{key_id.hex()}"
    return _folder_at(f"{root}/{name}", name, Place.STAGED)


def _folder_at(path: str, name: str, place: Place) -> KeyFolder | None:
    names = file_names(path)
    certificate_der = _certificate_in(path, names)
    facts = _remembered_facts if len(certificate_der) <= _USUAL_BYTES else _facts_of
    return _folder(path, name, place, names, certificate_der, *facts(certificate_der))


def _facts_of(certificate_der: bytes) -> tuple[Glance | None, str | None, bytes | None]:
    seen = _seen(certificate_der, seen_before)
    return seen, _common_name(seen), _key_hash(seen, certificate_der)


_remembered_facts = lru_cache(maxsize=64)(_facts_of)  # whoever moves a folder reads it again and again


def _read_each(
    folders: Sequence[tuple[str, str]], place: Place, left_out: list[str] | None = None
) -> Iterator[KeyFolder]:
    """The certificate folders among these, each a path and its name below the root.

    Each step is taken for many before the next: its code and its data stay close to the processor, and thousands are
    read in two thirds of the time that one after the other takes.
    """
    for start in range(0, len(folders), _AT_ONCE):
        some = folders[start : start + _AT_ONCE]
        names = [file_names(path) for path, _ in some]
        ders = [_certificate_in(path, listed) for (path, _), listed in zip(some, names, strict=True)]
        seen = [_seen(der) for der in ders]
        common_names = [_common_name(one) for one in seen]
        hashes = [_key_hash(one, der) for one, der in zip(seen, ders, strict=True)]
        for (path, name), listed, *facts in zip(some, names, ders, seen, common_names, hashes, strict=True):
            if (folder := _folder(path, name, place, listed, *facts)) is not None:
                yield folder
            elif left_out is not None and not listed.keys().isdisjoint((_CERTIFICATE, _KEY)):
                left_out.append(name)


def _folder(
    path: str,
    name: str,
    place: Place,
    names: dict[str, str],
    certificate_der: bytes,
    seen: Glance | None,
    common_name: str | None,
    public_key: bytes | None,
) -> KeyFolder | None:
    if seen is None or common_name is None or public_key is None:
        return None
    record = _record(path, names)
    if record and record.public_key != public_key:
        record = None
    return KeyFolder(
        folder=path,
        name=name,
        place=place,
        certificate_der=certificate_der,
        common_name=common_name,
        key_id=record.key_id if record else public_key,
        key_name=names.get(_KEY),
        replaces=record.replaces if record else None,
        seen=seen,
    )


def file_names(path: Path | str) -> dict[str, str]:
    """The names in a folder by their comparable form; empty when it is not there."""
    try:
        return {comparable(name): name for name in sorted(os.listdir(path))}
    except OSError:
        return {}


def path_in(path: Path | str, name: str) -> Path | None:
    """The file ``name`` in a folder, in whatever case it is written there; ``None`` when it is not there."""
    found = file_names(path).get(comparable(name))
    return Path(f"{path}/{found}") if found else None


def _record(path: str, names: dict[str, str]) -> FolderRecord | None:
    if _RECORD not in names:
        return None
    try:
        return FolderRecord.from_json(read_file(f"{path}/{names[_RECORD]}", at_most=MAX_FILE_BYTES))
    except FileUnreadable:
        return None


def _below(
    authority: "os.DirEntry[str]", wanted: str, place: Place, left_out: list[str] | None = None
) -> Iterator[KeyFolder]:
    for shelf in _folders(authority.path):
        if comparable(shelf.name) == comparable(wanted):
            above = f"{authority.name}/{shelf.name}"
            yield from _read_each(
                [(entry.path, f"{above}/{entry.name}") for entry in _folders(shelf.path)], place, left_out
            )


def _folders(path: str | Path) -> "list[os.DirEntry[str]]":
    """The folders in ``path``; none when it is not there any more."""
    try:
        with os.scandir(path) as entries:
            return sorted(filter(_is_folder, entries), key=attrgetter("name"))
    except OSError:
        return []


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself hides none of its neighbours
        return False


def _certificate_in(path: str, names: dict[str, str]) -> bytes:
    """The certificate's file; empty when there is none that can be read."""
    try:
        return read_file(f"{path}/{names[_CERTIFICATE]}", at_most=MAX_FILE_BYTES)
    except (FileUnreadable, KeyError):
        return b""


def _seen(certificate_der: bytes, load: Callable[[bytes], Glance] = load_seen) -> Glance | None:
    try:
        return load(certificate_der)
    except ValueError:
        return None


def _common_name(seen: Glance | None) -> str | None:
    """The subject's common name, empty where there is none; ``None`` when it cannot be read."""
    if seen is None:
        return None
    if seen.tbs is not None:
        with suppress(MalformedDer):
            return common_name_in(seen.tbs.subject_der)
    from cryptography import x509

    try:
        names = seen.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    except ValueError:
        return None
    return str(names[-1].value) if names else ""


def _key_hash(seen: Glance | None, certificate_der: bytes) -> bytes | None:
    """``public_key_hash``, or for a kind of key that nobody here knows something that is as much its own."""
    if seen is None:
        return None
    if seen.tbs is not None and seen.tbs.rsa_key:  # DER, so nobody would write it otherwise
        return hashlib.sha1(seen.tbs.rsa_key, usedforsecurity=False).digest()
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return public_key_hash(seen.certificate.public_key())
    except UnsupportedAlgorithm:
        return hashlib.sha1(certificate_der, usedforsecurity=False).digest()
    except ValueError:
        return None
