"""Zips of certificate folders: names in every encoding that occurs, nothing outside, nothing too large."""

import os
import stat
import struct
import subprocess
import unicodedata
import zipfile
from pathlib import Path

import pytest
from tests.npki.test_pkcs12 import KM, SIGN

from dojang.errors import FileMalformed, FileUnreadable
from dojang.npki.keyfile import seal_pkcs8
from dojang.npki.zips import read_zip
from dojang.secret import Secret

FOLDER = "NPKI/yessign/USER/cn=홍길동()0004,ou=KMB,o=yessign,c=kr"
FILES = {
    "signCert.der": SIGN.certificate_der,
    "signPri.key": seal_pkcs8(SIGN.pkcs8.der, Secret("correct horse 1!"), 100),
    "kmCert.der": KM.certificate_der,
    "kmPri.key": seal_pkcs8(KM.pkcs8.der, Secret("correct horse 1!"), 100, scheme="pbes2-seed"),
    "CaPubs": b"whatever another program keeps",
}


class OldInfo(zipfile.ZipInfo):
    """Writes its name as octets of ``encoding``; Python itself would set the flag for anything beyond ASCII."""

    encoding = "cp949"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(self.encoding), self.flag_bits


def zipped(path: Path, entries: dict[str, bytes], encoding: str = "cp949") -> Path:
    """A zip whose names are octets of ``encoding``, without the flag that says UTF-8."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            info = OldInfo("x")
            info.filename, info.encoding = name, encoding
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def whole(folder: str = FOLDER) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in FILES.items()}


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_names_of_windows_and_of_macs_are_read(tmp_path: Path, encoding: str) -> None:
    """CP949 and UTF-8, neither of them flagged; what comes out is NFC."""
    form = "NFD" if encoding == "utf-8" else "NFC"
    entries = whole(unicodedata.normalize(form, FOLDER))
    (found,) = read_zip(zipped(tmp_path / "a.zip", entries, encoding))
    assert found.name == FOLDER
    assert found.files == FILES


def test_a_name_with_the_flag_is_utf8(tmp_path: Path) -> None:
    """As Python and most programs of today write it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in whole().items():
            archive.writestr(name, data)
    (found,) = read_zip(tmp_path / "a.zip")
    assert (found.name, found.files) == (FOLDER, FILES)


def test_a_zip_of_another_program_is_read(tmp_path: Path) -> None:
    """bsdtar or zip or Python's own command; here the module run as a program over a folder on disk."""
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for name, data in FILES.items():
        (folder / name.upper()).write_bytes(data)
    command = ["python3", "-m", "zipfile", "-c", tmp_path / "a.zip", tmp_path / "NPKI"]
    subprocess.run(command, check=True)
    (found,) = read_zip(tmp_path / "a.zip")
    assert (found.name, found.files) == (FOLDER, FILES)


def test_backslashes_separate_folders(tmp_path: Path) -> None:
    """Some programs of Windows write them; other files and folders without a certificate are left out."""
    entries = {name.replace("/", "\\"): data for name, data in whole().items()} | {
        "NPKI/readme.txt": b"x",
        "NPKI/SignKorea/USER/cn=Kim/signPri.key": b"x",
    }
    (found,) = read_zip(zipped(tmp_path / "a.zip", entries))
    assert found.name == FOLDER


def test_files_at_the_top_are_a_folder(tmp_path: Path) -> None:
    """A zip of one folder's files, and of two folders."""
    (found,) = read_zip(zipped(tmp_path / "a.zip", FILES))
    assert (found.name, found.files) == ("", FILES)
    both = whole("b") | whole("a")
    assert [one.name for one in read_zip(zipped(tmp_path / "b.zip", both))] == ["a", "b"]


@pytest.mark.parametrize(
    "name",
    [
        "../signCert.der",
        "a/../../signCert.der",
        "/etc/signCert.der",
        "C:/signCert.der",
        "a//signCert.der",
        "./signCert.der",
        "a\\..\\signCert.der",
        "a:b/signCert.der",
        "a\nb/signCert.der",
        "a\u202eb/signCert.der",
        "../../readme.txt",
    ],
)
def test_a_name_that_leads_elsewhere_spoils_the_zip(tmp_path: Path, name: str) -> None:
    """Whatever file it is for; nothing of the zip is used."""
    encoding = "utf-8" if "\u202e" in name else "cp949"
    with pytest.raises(FileMalformed, match="leads somewhere else"):
        read_zip(zipped(tmp_path / "a.zip", whole() | {name: b"x"}, encoding))


def test_a_link_spoils_the_zip(tmp_path: Path) -> None:
    """It could name any file."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("a/signCert.der")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(FileMalformed, match="link"):
        read_zip(tmp_path / "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_twice_spoils_the_zip(tmp_path: Path) -> None:
    """Two programs could take different ones; another case is the same name."""
    with pytest.raises(FileMalformed, match="twice"):
        read_zip(zipped(tmp_path / "a.zip", whole() | {f"{FOLDER}/SIGNCERT.DER": b"x"}))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """One file too large, many that are too large together, too many names, and a length that lies."""
    large = zipped(tmp_path / "a.zip", {"a/signCert.der": bytes(1 << 24)})
    many = zipped(tmp_path / "b.zip", {f"{number}/signCert.der": bytes(1 << 20) for number in range(40)})
    names = zipped(tmp_path / "c.zip", {str(number): b"" for number in range(20_001)})
    for path in (large, many, names):
        with pytest.raises(FileMalformed, match="more than anybody"):
            read_zip(path)
    data = large.read_bytes()
    lying = data.replace(struct.pack("<I", 1 << 24), struct.pack("<I", 10))
    (tmp_path / "d.zip").write_bytes(lying)
    with pytest.raises(FileMalformed):
        read_zip(tmp_path / "d.zip")


def test_what_is_no_zip_is_said_to_be_so(tmp_path: Path) -> None:
    """Nonsense, a zip cut off, a file that is too large, nothing at all."""
    path = zipped(tmp_path / "a.zip", whole())
    for number, data in enumerate((b"", b"PK\3\4", path.read_bytes()[:-30], path.read_bytes()[50:])):
        (tmp_path / f"{number}").write_bytes(data)
        with pytest.raises(FileMalformed):
            read_zip(tmp_path / f"{number}")
    os.truncate(path, 65 << 20)
    with pytest.raises(FileUnreadable, match="larger"):
        read_zip(path)
    with pytest.raises(FileUnreadable):
        read_zip(tmp_path / "none")


def test_a_zip_with_a_password_is_named(tmp_path: Path) -> None:
    """It is to be unpacked first."""
    data = bytearray(zipped(tmp_path / "a.zip", FILES).read_bytes())
    at = 0
    while (at := data.find(b"PK\1\2", at)) >= 0:
        data[at + 8] |= 1
        at += 4
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(FileMalformed, match="password"):
        read_zip(tmp_path / "b.zip")
