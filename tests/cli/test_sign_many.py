"""Many files with one command: names from a list, results as they come, and a batch that is cut short goes on later."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret

MANY = 300


@pytest.fixture(scope="module")
def token(make_token, softhsm_module: str, tmp_path_factory):
    """A token with an RSA key, and the key's public half in a file."""
    made = make_token()
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(made.uri, Secret(made.pin), search=search) as opened:
        opened.generate_key_pair("rsa-2048", label="sign")
    return made


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A folder of many files, with a list of their names beside it."""
    folder = tmp_path / "letters"
    folder.mkdir()
    for number in range(MANY):
        (folder / f"{number:03}").write_text(f"letter {number}")
    (tmp_path / "list").write_text("".join(f"{folder}/{number:03}\n" for number in range(MANY)))
    return folder


@pytest.fixture
def sign(run_dojang, token):
    """Runs ``dojang sign FORM`` with the key on the token."""

    def run(form: str, *words: object, **named):
        key = ["--key", f"{token.uri};object=sign", "--pin-source", token.pin_source]
        return run_dojang("sign", form, *key, *words, **named)

    return run


def _signed(folder: Path) -> list[str]:
    """The files with a signature; every signature is whole and nothing else is left."""
    outputs = [path for path in folder.iterdir() if path.suffix]
    assert {path.suffix for path in outputs} <= {".sig"}
    assert {path.stat().st_size for path in outputs} <= {256}
    return sorted(path.stem for path in outputs)


def test_a_list_of_files_gives_one_document(sign, letters: Path) -> None:
    """One document with a row for each file, in the order of the list."""
    done = sign("raw", "--files-from", letters.parent / "list", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["ok"], document["command"]) == (0, True, "sign raw")
    data = document["data"]
    assert [row["file"] for row in data["results"]] == [f"{letters}/{number:03}" for number in range(MANY)]
    row = {"file": f"{letters}/007", "ok": True, "output": f"{letters}/007.sig"}
    assert data["results"][7] == {**row, "format": "raw", "algorithm": "rsa-sha256"}
    assert (data["signed"], data["failed"], data["left_out"]) == (MANY, 0, 0)
    assert len(_signed(letters)) == MANY


def test_names_with_anything_in_them(sign, tmp_path: Path) -> None:
    """Names end with a newline or NUL, come from a file or standard input, and hold bytes that are no letters."""
    names = [b"two\nlines", b"\xff\xfe", "도장".encode(), b"-", b"@at"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    (tmp_path / "list").write_bytes(b"\0".join(bytes(tmp_path) + b"/" + name for name in names) + b"\0\0")
    done = sign("raw", "--files-from", tmp_path / "list", "--null", "--quiet")
    assert (done.returncode, len(done.stdout.split("/@at")[0].split(".sig"))) == (0, 5), done.stderr
    assert all((tmp_path / os.fsdecode(name + b".sig")).stat().st_size == 256 for name in names)
    piped = sign("raw", "--files-from", "-", "--quiet", input=f"{tmp_path}/도장\n\n{tmp_path}/@at")
    assert piped.stdout == f"{tmp_path}/도장.sig\n{tmp_path}/@at.sig\n"


def test_a_list_that_is_none(sign, tmp_path: Path) -> None:
    """No such list, an empty one, and a file that is no list."""
    assert sign("raw", "--files-from", tmp_path / "absent").returncode == 3
    (tmp_path / "empty").write_text("\n\n")
    done = sign("raw", "--files-from", tmp_path / "empty", "--json")
    assert (done.returncode, json.loads(done.stdout)["data"]["results"]) == (0, [])
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    assert sign("raw", "--files-from", tmp_path / "zeros").returncode == 3
    assert sign("raw").returncode == 2


def test_a_file_that_would_be_replaced_by_a_signature(sign, letters: Path) -> None:
    """Nothing is signed that the same command writes: neither order would leave two signatures that are right."""
    (letters / "000.sig").write_text("precious")
    for names in (("000", "000.sig"), ("000.sig", "000")):
        done = sign("raw", *(letters / name for name in names))
        assert done.returncode == 2
        assert "000.sig" in done.stderr
    assert (letters / "000.sig").read_text() == "precious"
    assert not (letters / "000.sig.sig").exists()


def test_some_fail(sign, letters: Path) -> None:
    """Exit status 15: each failure is in its row, the rest is signed, and mended files are signed by the next run."""
    (letters / "050").rename(letters.parent / "050")
    (letters / "100.sig").mkdir()
    done = sign("raw", "--files-from", letters.parent / "list", "--json")
    document = json.loads(done.stdout)
    error = document["error"]
    assert (done.returncode, document["ok"], error["code"], error["exit"]) == (15, False, "batch-incomplete", 15)
    assert error["details"] == {"failed": 2, "total": MANY}
    failed = {Path(row["file"]).name: row["error"]["code"] for row in document["data"]["results"] if not row["ok"]}
    assert failed == {"050": "file-unreadable", "100": "file-unwritable"}
    (letters / "100.sig").rmdir()
    assert len(_signed(letters)) == MANY - 2
    (letters.parent / "050").rename(letters / "050")
    done = sign("raw", "--files-from", letters.parent / "list", "--skip-signed", "--json")
    data = json.loads(done.stdout)["data"]
    assert (done.returncode, data["signed"], data["left_out"]) == (0, 2, MANY - 2)
    done = sign("raw", "--files-from", letters.parent / "list", "--skip-signed")
    assert (done.returncode, done.stdout, str(MANY) in done.stderr) == (0, "", True)


@pytest.fixture
def start(token, letters: Path, home, softhsm_module: str):
    """Starts ``dojang sign raw`` over all letters, and returns once some are signed."""

    def go(**named) -> subprocess.Popen[str]:
        words = ["--key", f"{token.uri};object=sign", "--pin-source", token.pin_source, "--json"]
        command = [sys.executable, "-m", "dojang", "sign", "raw", *words, "--files-from", str(letters.parent / "list")]
        environment = {**os.environ, "DOJANG_MODULE": softhsm_module}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        child = subprocess.Popen(command, text=True, env=environment, **pipes, **named)
        while len(list(letters.glob("*.sig"))) < 20:
            assert child.poll() is None
            time.sleep(0.001)
        return child

    return go


def test_interrupted(start, sign, letters: Path) -> None:
    """Ctrl-C: exit status 130, how many are signed, whole signatures only; the next run signs the rest."""
    child = start()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    document = json.loads(out)
    assert (child.returncode, document["error"]["code"]) == (130, "interrupted")
    signed = [Path(row["file"]).name for row in document["data"]["results"]]
    assert _signed(letters) == signed
    assert 20 <= len(signed) < MANY
    assert str(len(signed)) in err
    assert "--skip-signed" in err
    done = sign("raw", "--files-from", letters.parent / "list", "--skip-signed", "--quiet")
    assert len(done.stdout.splitlines()) == MANY - len(signed)


def test_in_the_background_nothing_interrupts(start, letters: Path) -> None:
    """What a shell starts in the background is told to ignore Ctrl-C, and does."""
    child = start(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    child.send_signal(signal.SIGINT)
    out, _err = child.communicate(timeout=60)
    assert (child.returncode, json.loads(out)["data"]["signed"]) == (0, MANY)


def test_a_token_that_goes_in_the_middle(make_token, run_dojang, softhsm_dir: Path, letters: Path) -> None:
    """The batch ends with the token's own error, says how many are signed, and goes on when the token is back."""
    made = make_token()
    address, pin = f"{made.uri};object=sign", ["--pin-source", made.pin_source]
    assert run_dojang("key", "generate", address, "--algorithm", "rsa-2048", *pin).returncode == 0
    words = ["sign", "raw", "--key", address, *pin, "--files-from", letters.parent / "list", "--json"]
    (folder,) = [
        path for path in (softhsm_dir / "tokens").iterdir() if path.name.replace("-", "").endswith(made.serial)
    ]

    def pull_out() -> None:
        while len(list(letters.glob("*.sig"))) < 20:
            time.sleep(0.001)
        folder.rename(softhsm_dir / "pulled-out")

    pulling = threading.Thread(target=pull_out)
    pulling.start()
    done = run_dojang(*words)
    pulling.join()
    document = json.loads(done.stdout)
    assert document["error"]["exit"] == done.returncode
    assert done.returncode in (3, 6, 11)
    signed = [Path(row["file"]).name for row in document["data"]["results"]]
    assert _signed(letters) == signed
    assert 20 <= len(signed) < MANY
    assert str(len(signed)) in done.stderr
    (softhsm_dir / "pulled-out").rename(folder)
    data = json.loads(run_dojang(*words, "--skip-signed").stdout)["data"]
    assert (data["signed"], data["left_out"]) == (MANY - len(signed), len(signed))
    assert len(_signed(letters)) == MANY


def test_cms_over_many_files(run_dojang, make_token, letters: Path, tmp_path: Path) -> None:
    """Each file has a CMS signature of its own, which openssl verifies."""
    made = make_token()
    pin = ["--pin-source", made.pin_source, "--ca-pin-source", made.pin_source]
    assert (
        run_dojang(
            "ca", "init", "--alias", "many", "--key", f"{made.uri};object=root", "--name", "CN=Many", *pin
        ).returncode
        == 0
    )
    issue = ["cert", "issue", "--to", made.uri, "--label", "sign", "--subject", "CN=Signer", "--ca", "many", *pin]
    assert run_dojang(*issue).returncode == 0
    assert run_dojang("ca", "show", "many", "-o", tmp_path / "many.pem").returncode == 0
    sign = [
        "sign",
        "cms",
        "--key",
        f"{made.uri};object=sign",
        *pin[:2],
        "--detached",
        "--files-from",
        tmp_path / "list",
    ]
    done = run_dojang(*sign, "--json")
    assert json.loads(done.stdout)["data"]["signed"] == MANY, done.stderr
    for name in ("000", "150", "299"):
        words = ["-binary", "-inform", "DER", "-in", f"{letters}/{name}.p7s", "-content", f"{letters}/{name}"]
        words += ["-CAfile", tmp_path / "many.pem", "-purpose", "any", "-out", os.devnull]
        assert subprocess.run(["openssl", "cms", "-verify", *words], capture_output=True).returncode == 0
