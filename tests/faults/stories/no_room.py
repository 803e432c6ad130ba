"""Credentials brought to a disk that is full or may not be written, and to one that is well. In a mount namespace."""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from service import tell
from sticks import Stick, prepare

from dojang.cli.run import run
from dojang.npki import keyfile

PASSWORD = "correct horse 1!"


def dojang(*words: object) -> dict:
    """One command in this process: how it ended, as ``9 file-unwritable``, and its data."""
    arguments = [str(word) for word in (*words, "--json", "--no-input", "--password-source", f"file:{password}")]
    said, told = (io.TextIOWrapper(io.BytesIO()) for _ in range(2))
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        status = run(arguments)
    said.seek(0)
    document = json.loads(said.read())
    assert status != 1, document
    return {"end": f"{status} {document.get('error', {}).get('code', '')}".strip(), **document.get("data", {})}


def seen() -> list[str]:
    """Everything on the stick that is of any size, but what fills it."""
    files = (path for path in stick.mount.rglob("*") if path.is_file() and path.name != "filling")
    return sorted(str(path.relative_to(stick.mount)) for path in files)


def all_verbs() -> list[str]:
    """How each verb ends that writes to the stick."""
    there = f"npki:{stick.mount}/NPKI"
    return [
        dojang("location", "copy", address, "--to", there)["end"],
        dojang("location", "move", address, "--to", there)["end"],
        dojang("location", "copy", address, "--to", f"pem:{stick.mount}/hong.pem")["end"],
        dojang("location", "export", address, "--to", stick.mount / "hong.p12")["end"],
        dojang("location", "backup", address, "--to", stick.mount / "backup.p12")["end"],
        dojang("location", "restore", backup, "--to", there)["end"],
    ]


prepare()
keyfile.SEAL_ITERATIONS = 2048
home = Path(tempfile.mkdtemp())
os.environ |= {"HOME": str(home), "DOJANG_HOME": str(home / "dojang")}
password, backup = home / "password", home / "backup.p12"
password.write_text(PASSWORD)
password.chmod(0o600)
sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.lifecycle.test_copy import self_signed  # noqa: E402

from dojang.lifecycle.drill import put_in  # noqa: E402
from dojang.locations.registry import open_location  # noqa: E402
from dojang.secret import Secret  # noqa: E402

address = f"npki:{home}/NPKI"
with open_location(address, passwords=lambda path, new: Secret(PASSWORD)) as location:
    put_in(self_signed(), location, "Hong")
dojang("location", "backup", address, "--to", backup)
before = {path: path.read_bytes() for path in (home / "NPKI").rglob("*") if path.is_file()}

stick = Stick("ROOM", "0A1B-2C3D", megabytes=1)
stick.plug()
with contextlib.suppress(OSError), (stick.mount / "filling").open("wb", buffering=0) as file:
    while True:
        file.write(bytes(1024))
tell(full=all_verbs(), seen_full=seen())
(stick.mount / "filling").unlink()
stick.pull()
stick.plug("ro")
tell(read_only=all_verbs(), seen_read_only=seen())
stick.pull()
tell(kept={path: path.read_bytes() for path in (home / "NPKI").rglob("*") if path.is_file()} == before)
tell(findings=[one["code"] for one in dojang("doctor").get("findings", []) if one["code"] == "operation-incomplete"])
stick.plug()
tell(well=all_verbs(), seen_well=seen())
stick.pull()
shutil.rmtree(home)
