"""The scripts a newcomer runs first."""

import os
import subprocess
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parent.parent


def quickstart(folder: Path) -> str:
    environment = {**os.environ, "DOJANG_QUICKSTART_HOME": str(folder), "LC_ALL": "C.UTF-8"}
    run = subprocess.run(["scripts/quickstart"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_quickstart_twice(softhsm_dir):
    """The first run issues, signs, verifies and renews; the second takes under ten seconds and makes nothing again."""
    folder = softhsm_dir / "quick start"
    first = quickstart(folder)
    for line in ("Issued.", "Signed README.md", "The signature is good.", "Renewed.", "dojang doctor"):
        assert line in first
    serials = {path.name for path in (folder / "softhsm/tokens").iterdir()}
    started = monotonic()
    second = quickstart(folder)
    assert monotonic() - started < 10
    assert "Issued." not in second
    assert second.count("already") == 5
    assert "The signature is good." in second
    assert {path.name for path in (folder / "softhsm/tokens").iterdir()} == serials


def test_no_secret_lies_open(softhsm_dir):
    """What quickstart leaves behind is for its owner alone."""
    folder = softhsm_dir / "quick private"
    quickstart(folder)
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_tokens_can_be_brought_up_twice(softhsm_dir):
    """softhsm/up leaves a token that is there as it is, and keeps odd paths whole."""
    folder = softhsm_dir / "it's a folder & more"
    first = subprocess.run(["softhsm/up", folder, "Hong Kim"], cwd=ROOT, capture_output=True, text=True, check=True)
    pin = (folder / "Hong Kim.pin").read_text()
    second = subprocess.run(["softhsm/up", folder, "Hong Kim"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert first.stdout == second.stdout
    assert "there already" in second.stderr
    assert (folder / "Hong Kim.pin").read_text() == pin
    shown = subprocess.run(["sh", "-c", f'{first.stdout}\ncat "$SOFTHSM2_CONF"'], capture_output=True, text=True)
    assert f"directories.tokendir = {folder}/tokens" in shown.stdout


def test_a_token_by_name_for_a_command():
    """scripts/tokens NAME COMMAND: the command has the token, and nothing of it is kept."""
    command = ["scripts/tokens", "nss", "sh", "-c", 'dojang token show "$DOJANG_TOKEN" --quiet; echo "$DOJANG_HOME"']
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown[0].startswith("pkcs11:token=")
    assert not Path(shown[1]).exists()


def test_tokens_that_are_kept(softhsm_dir):
    """eval "$(scripts/tokens)" makes three SoftHSM2 tokens the first time and names them again the next."""
    environment = {**os.environ, "XDG_DATA_HOME": str(softhsm_dir / "kept")}
    command = ["sh", "-c", 'eval "$(scripts/tokens)" && dojang token list --quiet']
    environment["PATH"] = f"{ROOT}/.venv/bin:{environment['PATH']}"
    first, second = (
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert sorted(line.split(";")[0] for line in first.splitlines()) == [
        f"pkcs11:token={one}" for one in ("CA", "Hong", "Kim")
    ]
    assert first == second
