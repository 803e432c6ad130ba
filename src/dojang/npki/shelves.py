"""Where folders stand in an NPKI root and how they move: staged, placed under USER, retired, removed.

    <root>/.dojang/<key_id>/            staged: no other program looks there
    <root>/.dojang/<key_id>.leaving/    its successor is taking a place of its own
    <root>/<CA>/USER/<subject>/         live
    <root>/<CA>/RETIRED/<subject> <serial>/

Every move is one rename. What a killed run leaves carries the ``key_id`` in its name, so a later run finds it.
"""

import os
from pathlib import Path

from dojang.errors import AlreadyExists
from dojang.npki.certificates import seen_before
from dojang.npki.contents import files_that_go_along as read_files_that_go_along
from dojang.npki.files import (
    make_filled_folder,
    make_folder,
    move_folder,
    part_of,
    read_file,
    remove_folder,
    write_file,
)
from dojang.npki.folder import STAGING, KeyFolder, file_names
from dojang.npki.keyfile import MAX_FILE_BYTES
from dojang.npki.names import (
    RETIRED,
    USER,
    ca_folder_name,
    comparable,
    retired_folder_name,
    subject_folder_name,
)

_REMOVED, _LEAVING = ".removed", ".leaving"


def staged_path(root: Path, key_id: bytes) -> Path:
    """The staging folder of ``key_id``, which is never empty: that would be the folder of all of them."""
    return Path(_beside(root, key_id, ""))


def is_staged(root: Path, key_id: bytes) -> bool:
    """Whether there is a staging folder of ``key_id``, whatever is in it."""
    return os.path.exists(_beside(root, key_id, ""))


def stage(root: Path, key_id: bytes, files: dict[str, bytes]) -> Path:
    """Make the staging folder of ``key_id`` with ``files``, whole or not at all."""
    path = _beside(root, key_id, "")
    if os.path.exists(path):
        raise AlreadyExists(what=key_id.hex(), where=os.path.dirname(path))
    make_filled_folder(path, files)
    return Path(path)


def stage_copy(root: Path, folder: KeyFolder, files: dict[str, bytes]) -> Path:
    """Stage a copy of ``folder`` with ``files`` in place of its own, in whatever case those are written; the key file
    is copied as it is, byte for byte.
    """
    replaced = {comparable(name) for name in files}
    copied = {
        name: read_file(folder.path / name, at_most=MAX_FILE_BYTES)
        for known, name in file_names(folder.path).items()
        if known not in replaced and (folder.path / name).is_file()
    }
    return stage(root, folder.key_id, copied | files)


def files_that_go_along(folder: KeyFolder) -> dict[str, bytes]:
    """What a successor of ``folder`` takes with it: the km pair and CaPubs."""
    return read_files_that_go_along(folder.folder, file_names(folder.folder))


def add_files(path: Path, files: dict[str, bytes]) -> None:
    """Write ``files`` into a staging folder in their order; the last makes it complete."""
    for name, data in files.items():
        write_file(path / name, data)


def place_of(root: Path, certificate_der: bytes) -> Path:
    """The folder that belongs to a certificate; names already there in another spelling are kept."""
    issuer_der, subject_der = _names(certificate_der)
    return _below(_below(_below(root, ca_folder_name(issuer_der)), USER), subject_folder_name(subject_der))


def stands_in_place_of(folder: KeyFolder, certificate_der: bytes) -> bool:
    """Whether it is the folder that belongs to a certificate, without a look at its neighbours."""
    issuer_der, subject_der = _names(certificate_der)
    return comparable(folder.name) == comparable(
        f"{ca_folder_name(issuer_der)}/{USER}/{subject_folder_name(subject_der)}"
    )


def place(root: Path, staged: Path, certificate_der: bytes, target: Path | None = None) -> Path:
    """Move a staged folder to where its certificate belongs; ``AlreadyExists`` when another one is there.

    ``target`` is that place, where it is known.
    """
    target = target or place_of(root, certificate_der)
    if os.path.exists(target):
        raise subject_taken(target.name, str(root))
    move_folder(staged, target)
    return target


def subject_taken(name: str, where: object) -> AlreadyExists:
    """Another certificate for the same subject is there, and a folder is named by its subject."""
    return AlreadyExists(
        what=f"'{name}'",
        where=where,
        next_step="An NPKI folder keeps one certificate for each subject. Renew the one that is there "
        "(dojang renew now), delete it (dojang cert delete), or keep the other one in another folder: npki:/path.",
    )


def retire(root: Path, folder: KeyFolder) -> Path:
    """Move a live folder out of other programs' sight, beside ``USER``; it stays readable."""
    serial_number = folder.seen.certificate.serial_number
    above, own_name = os.path.split(folder.folder)
    shelf = _below(Path(os.path.dirname(above)), RETIRED)
    name = retired_folder_name(own_name, serial_number)
    target, count = f"{shelf}/{name}", 1
    while os.path.exists(target):
        count += 1
        target = f"{shelf}/{name} {count}"
    move_folder(folder.folder, target)
    return Path(target)


def mark_leaving(root: Path, key_id: bytes) -> None:
    """Say that the live folder under ``key_id`` goes, because its successor gets a place of its own."""
    make_folder(_beside(root, key_id, _LEAVING))


def forget_leaving(root: Path, key_id: bytes) -> None:
    """It has gone."""
    remove_folder(_beside(root, key_id, _LEAVING))


def is_leaving(root: Path, key_id: bytes) -> bool:
    """Whether a live folder under ``key_id`` may be one whose successor is live already: only all folders tell."""
    return os.path.exists(_beside(root, key_id, _LEAVING))


def remove(root: Path, path: Path, key_id: bytes) -> None:
    """Remove a folder: first out of sight in one step, then file by file."""
    doomed = _beside(root, key_id, _REMOVED)
    remove_folder(doomed)
    move_folder(path, doomed)
    remove_folder(doomed)


def clear_staging(root: Path, key_id: bytes) -> None:
    """Remove what is staged under ``key_id`` and what killed runs left of it."""
    path = staged_path(root, key_id)
    if path.exists():
        remove(root, path, key_id)
    for rest in (part_of(path), _beside(root, key_id, _REMOVED)):
        remove_folder(rest)


def _below(path: Path, name: str) -> Path:
    """The child of ``path`` called ``name`` in whatever case and normal form it has there."""
    try:
        if name in os.listdir(path):
            return path / name
    except OSError:
        return path / name
    return path / file_names(path).get(comparable(name), name)


def _beside(root: Path, key_id: bytes, ending: str) -> str:
    assert key_id
    return f"{root}/{STAGING}/{key_id.hex()}{ending}"


def _names(certificate_der: bytes) -> tuple[bytes, bytes]:
    certificate, tbs = seen_before(certificate_der)
    if tbs is not None:
        return tbs.issuer_der, tbs.subject_der
    return certificate.issuer.public_bytes(), certificate.subject.public_bytes()
