"""Certificate folders in a zip, as people send them to themselves.

A name in a zip is UTF-8 where its flag says so; else UTF-8 if it reads as that (macOS), and CP949 if not (Windows).
Nothing is unpacked by the names in it: what is there is read, and written where its certificate belongs.
"""

import io
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dojang.errors import FileMalformed, Phrase
from dojang.npki.contents import FOREIGN_FILES
from dojang.npki.files import read_file
from dojang.npki.keyfile import MAX_FILE_BYTES
from dojang.npki.names import comparable

MAX_ZIP_BYTES: Final = 32 << 20
_MAX_ENTRIES: Final = 20_000
_MAX_TOTAL_BYTES: Final = 32 << 20
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1
_NAMES: Final = {comparable(name): name for name in FOREIGN_FILES}

# What zipfile raises for one; RuntimeError covers ways of packing that are not there, OSError places beyond the end.
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OverflowError, OSError)


@dataclass(frozen=True, slots=True)
class ZippedFolder:
    """One folder with a certificate: its path in the zip, and its files under the names everybody knows."""

    name: str
    files: dict[str, bytes]


def read_zip(path: Path) -> list[ZippedFolder]:
    """Every certificate folder in a zip, in the order of names.

    ``FileMalformed`` for what is no zip, and for one with a name that leads out of it, a link, a file twice, or more
    in it than certificates take. ``FileUnreadable`` where there is no file, or too large a one.
    """
    data = read_file(path, at_most=MAX_ZIP_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _folders(path, archive)
    except _DAMAGE as error:
        raise _malformed(path, Phrase("it is damaged")) from error


def _folders(path: Path, archive: zipfile.ZipFile) -> list[ZippedFolder]:
    if len(archive.infolist()) > _MAX_ENTRIES:
        raise _malformed(path, Phrase("it holds more than anybody keeps in a file"))
    found: dict[str, dict[str, bytes]] = {}
    left = _MAX_TOTAL_BYTES
    for folder, name, info in _wanted(path, archive):
        with archive.open(info) as file:
            data = file.read(min(left, MAX_FILE_BYTES) + 1)
        left -= len(data)
        if len(data) > MAX_FILE_BYTES or left < 0:
            raise _malformed(path, Phrase("it holds more than anybody keeps in a file"))
        if name in found.setdefault(folder, {}):
            raise _malformed(path, Phrase("it holds one file twice"))
        found[folder][name] = data
    return [ZippedFolder(name, files) for name, files in sorted(found.items()) if FOREIGN_FILES[0] in files]


def _wanted(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[str, str, zipfile.ZipInfo]]:
    """The folder, the usual name and the entry of each file that belongs to a certificate; every name is looked at."""
    for info in archive.infolist():
        text = _name_of(path, info)
        *folders, name = text.rstrip("/").split("/")
        if text.startswith("/") or any(_leads_away(part) for part in (*folders, name)):
            raise _malformed(path, Phrase("a name in it leads somewhere else"))
        if stat.S_ISLNK(info.external_attr >> 16):
            raise _malformed(path, Phrase("there is a link in it"))
        usual = _NAMES.get(comparable(name))
        if usual is None or info.is_dir():
            continue
        if info.flag_bits & _ENCRYPTED_FLAG:
            raise _malformed(path, Phrase("it is locked with a password; unpack it first"))
        yield "/".join(folders), usual, info


def _name_of(path: Path, info: zipfile.ZipInfo) -> str:
    name = info.orig_filename
    if not info.flag_bits & _UTF8_FLAG:
        octets = name.encode("cp437")
        name = _decoded(octets, "utf-8") or _decoded(octets, "cp949") or ""
        if octets and not name:
            raise _malformed(path, Phrase("a name in it is no text"))
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _decoded(octets: bytes, encoding: str) -> str | None:
    try:
        return octets.decode(encoding)
    except UnicodeDecodeError:
        return None


def _leads_away(part: str) -> bool:
    """Up, nowhere, to a drive or a stream of Windows, or to where a terminal is written on."""
    hostile = any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs") for character in part)
    return part in ("", ".", "..") or ":" in part or hostile


def _malformed(path: Path, problem: Phrase) -> FileMalformed:
    return FileMalformed(path=str(path), expected=Phrase("a zip of certificate folders"), problem=problem)
