"""One certificate folder (``signCert.der``, ``signPri.key``) and how an NPKI root is searched for them."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from dojang.errors import FileUnreadable
from dojang.npki.certificates import load_certificate
from dojang.npki.contents import CERTIFICATE, KEY, RECORD, FolderRecord, public_key_hash
from dojang.npki.files import read_file
from dojang.npki.keyfile import MAX_FILE_BYTES
from dojang.npki.names import RETIRED, USER, comparable

STAGING = ".dojang"
_STAGED_NAME = re.compile("[0-9a-f]+")


class Place(Enum):
    """Where in the root a folder stands."""

    LIVE = "live"
    STAGED = "staged"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """A folder with a certificate in it. ``name`` is its path below the root: ``yessign/USER/cn=…``."""

    path: Path
    name: str
    place: Place
    certificate_der: bytes
    common_name: str
    key_id: bytes
    key_path: Path | None
    replaces: str | None


def scan(root: Path) -> Iterator[KeyFolder]:
    """Every certificate folder below ``root``: live, then staged, then retired ones. The unreadable is left out."""
    authorities = [entry for entry in _folders(root) if not entry.name.startswith(".")]
    for authority in authorities:
        yield from _below(root, authority, USER, Place.LIVE)
    for staged in _folders(root / STAGING):
        if _STAGED_NAME.fullmatch(staged.name) and (folder := read_folder(root, Path(staged.path), Place.STAGED)):
            yield folder
    for authority in authorities:
        yield from _below(root, authority, RETIRED, Place.RETIRED)


def settled(folders: list[KeyFolder]) -> list[KeyFolder]:
    """The folders as they count in the middle of a switch, so that a name always finds one pair.

    A staged folder whose predecessor has left its place is the live one already; a live folder whose successor is
    live too is retired already.
    """
    live = [folder for folder in folders if folder.place is Place.LIVE]
    names = {comparable(folder.name) for folder in live}
    counted = []
    for folder in folders:
        if folder.place is Place.STAGED and folder.replaces and comparable(folder.replaces) not in names:
            counted.append(replace(folder, place=Place.LIVE, name=folder.replaces))
        elif folder.place is Place.LIVE and any(succeeds(other, folder) for other in live):
            counted.append(replace(folder, place=Place.RETIRED))
        else:
            counted.append(folder)
    return counted


def succeeds(new: KeyFolder, old: KeyFolder) -> bool:
    """Whether ``new`` is live at a place of its own while what it replaces is still there."""
    return new.path != old.path and new.replaces is not None and comparable(new.replaces) == comparable(old.name)


def read_folder(root: Path, path: Path, place: Place) -> KeyFolder | None:
    """The certificate folder at ``path``, or ``None`` when no certificate can be read there."""
    try:
        names = file_names(path)
        certificate_der = read_file(path / names[comparable(CERTIFICATE)], at_most=MAX_FILE_BYTES)
        common_name, public_key = _certificate_facts(certificate_der)
    except (FileUnreadable, KeyError, ValueError):
        return None
    record = _record(path, names)
    if record and record.public_key != public_key:
        record = None
    key_name = names.get(comparable(KEY))
    return KeyFolder(
        path=path,
        name=path.relative_to(root).as_posix(),
        place=place,
        certificate_der=certificate_der,
        common_name=common_name,
        key_id=record.key_id if record else public_key,
        key_path=path / key_name if key_name else None,
        replaces=record.replaces if record else None,
    )


def file_names(path: Path) -> dict[str, str]:
    """The names in a folder by their comparable form; empty when it is not there."""
    try:
        with os.scandir(path) as entries:
            return {comparable(entry.name): entry.name for entry in sorted(entries, key=lambda entry: entry.name)}
    except OSError:
        return {}


def path_in(path: Path, name: str) -> Path | None:
    """The file ``name`` in a folder, in whatever case it is written there; ``None`` when it is not there."""
    found = file_names(path).get(comparable(name))
    return path / found if found else None


def _record(path: Path, names: dict[str, str]) -> FolderRecord | None:
    try:
        return FolderRecord.from_json(read_file(path / names[comparable(RECORD)], at_most=MAX_FILE_BYTES))
    except (FileUnreadable, KeyError):
        return None


def _below(root: Path, authority: "os.DirEntry[str]", wanted: str, place: Place) -> Iterator[KeyFolder]:
    for shelf in _folders(authority.path):
        if comparable(shelf.name) == comparable(wanted):
            for entry in _folders(shelf.path):
                if folder := read_folder(root, Path(entry.path), place):
                    yield folder


def _folders(path: str | Path) -> "list[os.DirEntry[str]]":
    """The folders in ``path``; none when it is not there any more."""
    try:
        with os.scandir(path) as entries:
            return sorted((entry for entry in entries if entry.is_dir()), key=lambda entry: comparable(entry.name))
    except OSError:
        return []


def _certificate_facts(certificate_der: bytes) -> tuple[str, bytes]:
    """The subject's common name and the public key's hash; ``ValueError`` when it is not a certificate."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    certificate = load_certificate(certificate_der)
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    common_name = str(names[-1].value) if names else ""
    try:
        return common_name, public_key_hash(certificate.public_key())
    except UnsupportedAlgorithm:
        return common_name, hashlib.sha1(certificate_der, usedforsecurity=False).digest()
