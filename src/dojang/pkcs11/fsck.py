"""What killed processes left on a token: found by two looks some time apart, and removed only without any doubt.

Two things count as rubbish. Objects that cannot be read or that hold nothing, because whoever made them did not get to
the end; and, where a module's store is known, files that it never shows. An object that merely lacks something is never
rubbish. An object that somebody is making at this moment looks the same for a moment, so both looks must agree; a file,
and where files are known that of an object, must have been left alone for a while besides. SoftHSM itself adds to
an unfinished object what it lacks when somebody looks at it first, so the while begins anew then.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from dojang import errors
from dojang.errors import Phrase
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.objects import ABOUT_THE_SESSION, CLASS_NAMES
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.session import Session
from dojang.pkcs11.stores import Store, broken_files, is_being_made, store_of, token_folder
from dojang.pkcs11.structures import decode_ulong

APART: Final = 0.5
"""Seconds between the two looks. Making an object takes milliseconds."""
UNTOUCHED: Final = 60.0
"""Seconds for which a file must have been left alone."""

_NAMING: Final = (ck.CKA_LABEL, ck.CKA_ID, ck.CKA_SUBJECT, ck.CKA_APPLICATION, ck.CKA_OBJECT_ID)
_SUBSTANCE: Final = {
    ck.CKO_DATA: (ck.CKA_VALUE,),
    ck.CKO_CERTIFICATE: (ck.CKA_VALUE,),
    ck.CKO_PUBLIC_KEY: (ck.CKA_MODULUS, ck.CKA_EC_PARAMS, ck.CKA_EC_POINT),
    ck.CKO_PRIVATE_KEY: (ck.CKA_MODULUS, ck.CKA_EC_PARAMS),
    ck.CKO_SECRET_KEY: (ck.CKA_VALUE_LEN,),
}
_TELLING: Final = frozenset(_NAMING).union(*_SUBSTANCE.values())
_ABOUT_THE_OBJECT: Final = (ck.CKR_ATTRIBUTE_VALUE_INVALID, ck.CKR_KEY_SIZE_RANGE)
"""What SoftHSM answers for an object of a few bytes (seen, 2.6.1). Any other error may be the device's, not its."""

UNREADABLE, EMPTY, EMPTY_FILE, CUT_FILE = "unreadable", "empty", "empty-file", "cut-short-file"
WORDS: Final = {
    UNREADABLE: Phrase("an object of which nothing can be read"),
    EMPTY: Phrase("an object without name and content"),
    EMPTY_FILE: Phrase("an empty file in the token's folder"),
    CUT_FILE: Phrase("a file in the token's folder that ends in the middle"),
}
_BEING_WRITTEN: Final = Phrase("somebody may be writing it; look again in a minute")


class Rubbish(NamedTuple):
    """One leftover. ``doubt`` says why it is kept; without it, it may be removed.

    ``type`` is the kind of object where that is known, ``path`` the file where it is one, ``result`` what reading said.
    """

    kind: str
    type: str = ""
    path: str = ""
    result: str = ""
    doubt: str = ""
    handle: int = 0
    seen_at: float = 0.0

    @property
    def removable(self) -> bool:
        return not self.doubt


class Findings(NamedTuple):
    """What ``examine`` found, and in which state of the module; ``remove`` takes it."""

    rubbish: list[Rubbish]
    generation: int


class _Look(NamedTuple):
    generation: int
    objects: Mapping[int, Rubbish]
    files: Mapping[str, Rubbish]


def examine(
    token: OpenToken, *, log_in: bool = True, apart: float = APART, sleep: Callable[[float], object] = time.sleep
) -> Findings:
    """Everything that both of two looks take for rubbish; without ``log_in`` only what is public."""
    first = _look(token, log_in=log_in)
    if not first.objects and not first.files:
        return Findings([], first.generation)
    sleep(apart)
    second = _look(token, log_in=log_in)
    if second.generation != first.generation:
        raise _disturbed(token)
    both = [one for handle, one in second.objects.items() if first.objects.get(handle) == one]
    both += [one for path, one in second.files.items() if path in first.files and _same_file(first.files[path], one)]
    return Findings(both, second.generation)


def remove(token: OpenToken, findings: Findings, *, kept_in: Path) -> list[Rubbish]:
    """Remove what is beyond doubt, each after one more look; those that were removed.

    A file with something in it is copied into ``kept_in`` before: what is left of a key may still be wanted.
    """
    removed = [one for one in findings.rubbish if one.path and one.removable and _remove_file(one, kept_in)]
    objects = {one.handle: one for one in findings.rubbish if one.removable and not one.path}
    if objects:
        removed += token.logged_in(lambda session: _destroy(token, session, findings.generation, objects))
    return removed


def _look(token: OpenToken, *, log_in: bool) -> _Look:
    removable_slot = token.token.slot.removable

    def objects(session: Session) -> tuple[int, dict[int, Rubbish]]:
        handles = session.cryptoki.find_objects(session.handle, ())
        found = {handle: one for handle in handles if (one := _doubtful(session, handle)) is not None}
        healthy = len(handles) == 1 or len(found) < len(handles) or all(one.kind == EMPTY for one in found.values())
        session.cryptoki.session_state(session.handle)  # a device that has gone deaf raises here
        being_made = bool(found) and _is_being_made(token)
        hesitant = {handle: _hesitate(one, removable_slot, healthy, being_made) for handle, one in found.items()}
        return session.generation, hesitant

    generation, found = token.surely(objects) if log_in else token.publicly(objects)
    return _Look(generation, found, _broken_files(token))


def _hesitate(one: Rubbish, removable_slot: bool, healthy: bool, being_made: bool) -> Rubbish:
    if one.doubt:
        return one
    if removable_slot:
        return one._replace(doubt=Phrase("a card or its reader may answer so for a while"))
    if not healthy:
        return one._replace(doubt=Phrase("nothing on the token can be read"))
    if being_made:  # its maker may be held up for longer than the looks are apart
        return one._replace(doubt=_BEING_WRITTEN)
    return one


def _doubtful(session: Session, handle: int) -> Rubbish | None:
    """What is wrong with an object; ``None`` for a good one, and for every kind that is not known here."""
    try:
        head = session.read(handle, (ck.CKA_CLASS, ck.CKA_LABEL))
    except CryptokiError as error:
        return _unreadable(error, handle)
    if not head.get(ck.CKA_CLASS):
        return Rubbish(UNREADABLE, doubt=Phrase("it only does not say what it is"), handle=handle)
    object_class = decode_ulong(head[ck.CKA_CLASS])
    substance = _SUBSTANCE.get(object_class, ())
    try:
        values = session.read(handle, _NAMING + substance)
    except CryptokiError as error:
        if error.rv in ABOUT_THE_SESSION:
            raise
        return None  # something of it was read; what lacks the rest is not rubbish
    there = [values[kind] for kind in substance if kind in values]
    if not there or any(any(value) for value in there) or any(values.get(kind) for kind in _NAMING):
        return None
    return Rubbish(EMPTY, type=CLASS_NAMES[object_class], handle=handle)


def _unreadable(error: CryptokiError, handle: int) -> Rubbish | None:
    if error.rv in ABOUT_THE_SESSION:
        raise error
    if error.rv == ck.CKR_OBJECT_HANDLE_INVALID:
        return None  # somebody removed it
    doubt = "" if error.rv in _ABOUT_THE_OBJECT else Phrase("the device may be at fault, not the object")
    return Rubbish(UNREADABLE, result=str(error), doubt=doubt, handle=handle)


def _destroy(token: OpenToken, session: Session, generation: int, objects: Mapping[int, Rubbish]) -> list[Rubbish]:
    if session.generation != generation:
        raise _disturbed(token)
    destroyed = []
    for handle, one in objects.items():
        if _doubtful(session, handle) != one:
            continue  # it became something meanwhile
        try:
            session.cryptoki.destroy_object(session.handle, handle)
        except CryptokiError as error:
            if error.rv in ABOUT_THE_SESSION:
                raise
            continue
        session.handles.clear()
        destroyed.append(one)
    return destroyed


def _disturbed(token: OpenToken) -> errors.DeviceBusy:
    label = token.token.info.label
    return errors.DeviceBusy(token=label, function="C_FindObjects", result=Phrase("that the token changed meanwhile"))


def _broken_files(token: OpenToken) -> dict[str, Rubbish]:
    store, folder = _kept_in(token)
    if store is None or folder is None:
        return {}
    return {str(path): _file(path, state) for path, state in broken_files(store, folder)}


def _is_being_made(token: OpenToken) -> bool:
    store, folder = _kept_in(token)
    since = time.time() - UNTOUCHED
    return store is not None and folder is not None and is_being_made(store, folder, _TELLING, since)


def _kept_in(token: OpenToken) -> tuple[Store | None, Path | None]:
    store = store_of(token.token.module.path)
    return store, None if store is None else token_folder(store, token.token.info.serial)


def _file(path: Path, state: os.stat_result) -> Rubbish:
    age = time.time() - state.st_mtime
    doubt = "" if age >= UNTOUCHED else _BEING_WRITTEN
    kind = CUT_FILE if state.st_size else EMPTY_FILE
    return Rubbish(kind, path=str(path), doubt=doubt, seen_at=state.st_mtime)


def _same_file(first: Rubbish, second: Rubbish) -> bool:
    return (first.kind, first.seen_at) == (second.kind, second.seen_at)


def _remove_file(one: Rubbish, kept_in: Path) -> bool:
    """Remove the file unless somebody holds it or it is no longer what it was; its lock goes with it."""
    path = Path(one.path)
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = os.fstat(file.fileno())
            if state.st_mtime != one.seen_at or bool(state.st_size) != (one.kind == CUT_FILE):
                return False
            if state.st_size:
                _keep(path, kept_in)
            path.unlink()
    except OSError:
        return False  # locked, gone, or not ours to remove
    path.with_suffix(".lock").unlink(missing_ok=True)
    return True


def _keep(path: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / path.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as copy, path.open("rb") as original:
        shutil.copyfileobj(original, copy)
        copy.flush()
        os.fsync(descriptor)
