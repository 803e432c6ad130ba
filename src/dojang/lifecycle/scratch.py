"""A private folder for the length of one operation: what is in it is encrypted, and is wiped when it is over."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Final

from dojang.errors import AlreadyExists, DojangError, FileChanged, FileUnreadable, FileUnwritable, NotFound
from dojang.ledger import Event, Fact, Operation
from dojang.lifecycle.workplace import Workplace
from dojang.npki.files import read_file, remove_folder, write_file

MADE: Final = "made"
_LARGEST_FILE: Final = 32 << 20
_SUFFIX: Final = ".drill"


def folder_for(file: Path, place: Workplace) -> Path:
    """A scratch folder for ``file`` that nobody has: beside it, or among dojang's own state where that is read-only."""
    beside = file.parent if os.access(file.parent, os.W_OK) else place.ledger.path.parent
    return beside / f".{file.name}.{token_hex(4)}{_SUFFIX}"


@contextlib.contextmanager
def scratch(verb: str, folder: Path, place: Workplace, facts: dict[str, Fact]) -> Iterator[Operation]:
    """A journalled operation that owns ``folder``; when it ends without being finished, the folder is wiped.

    One at a time for the file that ``facts`` names; what a killed run for it left is seen to first.
    """
    from dojang.lifecycle.recover import recover

    subject = f"scratch:{facts['file']}"
    recover(place, subject_key=subject)
    known: dict[str, Fact] = {"address": str(facts["file"]), "folder": str(folder), **facts}
    with place.ledger.begin(verb, subject, known) as operation:
        _make(folder, operation)
        try:
            yield operation
        except BaseException:
            with contextlib.suppress(DojangError):
                give_back(place, operation, "failed")
            raise


def _make(folder: Path, operation: Operation) -> None:
    """A folder of our own, for us alone: what somebody else has put there is neither used nor wiped."""
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        operation.undo("failed")
        raise FileUnwritable(path=str(folder), problem=error.strerror or str(error)) from error


def finish_backup(operation: Operation) -> None:
    """After the drill: the file gets its name, everything else goes, and the ledger says so.

    ``AlreadyExists`` where another has the name by now that is not to be replaced.
    """
    facts = operation.record.facts
    folder, file = Path(str(facts["folder"])), Path(str(facts["file"]))
    if not _is_drilled(file, operation):
        _give_name(folder / MADE, file, operation)
    wipe(folder)
    operation.finish("backed-up", *_events(operation))


def _is_drilled(file: Path, operation: Operation) -> bool:
    """Whether this very file passed the drill. What a killed run had begun to wipe is not it any more."""
    with contextlib.suppress(FileUnreadable):
        return digest_of(file) == operation.record.facts["sha256"]
    return False


def _give_name(made: Path, file: Path, operation: Operation) -> None:
    if not _is_drilled(made, operation):
        raise NotFound(what="The new backup", where=str(file.parent), command="dojang location backup --help")
    refuse_present(file, bool(operation.record.facts.get("replace")))
    write_file(file, read_whole(made))
    if not _is_drilled(file, operation):
        raise FileChanged(path=str(file))


def refuse_present(file: Path, replace: bool) -> None:
    """Before a password is asked, and again before a name is given: a folder, a file that is not to be replaced."""
    if file.is_dir() or not file.parent.is_dir():
        raise FileUnwritable(path=str(file), problem="there is no place for a file of that name")
    if file.exists() and not replace:
        raise AlreadyExists(
            what=f"'{file.name}'", where=str(file.parent), next_step="Choose another name, or add --replace."
        )


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(read_whole(file)).hexdigest()


def read_whole(file: Path) -> bytes:
    """A file of a backup's size at most. ``FileUnreadable``."""
    return read_file(file, at_most=_LARGEST_FILE)


def _events(operation: Operation) -> list[Event]:
    facts = operation.record.facts
    written: dict[str, Fact] = {"file": facts["file"], "sha256": facts["sha256"]}
    columns = [_list(facts[name]) for name in ("addresses", "fingerprints", "locations")]
    return [
        Event("backed-up", address, fingerprint, {"location": where, **written})
        for address, fingerprint, where in zip(*columns, strict=True)
    ]


def _list(fact: Fact) -> list[str]:
    assert isinstance(fact, list)
    return fact


def give_back(place: Workplace, operation: Operation, reason: str) -> None:
    """Wipe the folder, and remove what a drill put on a second HSM; nothing that the operation made is left."""
    facts = operation.record.facts
    wipe(Path(str(facts["folder"])))
    if "second" in facts:
        clear_second(place, str(facts["second"]), str(facts["second_label"]))
    operation.undo(reason)


def clear_second(place: Workplace, address: str, label: str) -> None:
    """Remove what a drill put on a second HSM; what a killed run was unwrapping there is seen to first."""
    from dojang.lifecycle.recover import recover

    with place.open_target(address) as location:
        recover(place, location)
        for one in location.credentials():
            if one.label == label:
                location.delete(one.key_id)


def wipe(folder: Path) -> None:
    """Overwrite what is in the folder, then remove it; nothing there is not an error, and no link is followed."""
    if folder.is_symlink():
        folder.unlink()
    for path in (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()):
        try:
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileUnwritable(path=str(path), problem=error.strerror or str(error)) from error
    remove_folder(folder)
