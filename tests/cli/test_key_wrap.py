"""``dojang key import``, ``wrap`` and ``unwrap``: files of every form, two HSMs, and what is refused."""

import json
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dojang.npki.keyfile import SCHEMES, seal_pkcs8
from dojang.npki.pkcs8 import Pkcs8
from dojang.secret import Secret
from dojang.testing.softhsm import softhsm

PASSWORD = "correct horse 1!"
R = Secret(b"\x5a" * 20)
KEYS = {"ec": ec.generate_private_key(ec.SECP256R1()), "rsa": rsa.generate_private_key(65537, 2048)}


@pytest.fixture(scope="module")
def token(make_token):
    return make_token(f"wrap-{uuid4().hex[:8]}")


@pytest.fixture
def password(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    return f"file:{file}"


@pytest.fixture
def key(run_dojang, token, password):
    """Runs ``dojang key …`` with the token's PIN and the files' password, and gives status and answer."""

    def run(*words: object) -> tuple[int, dict]:
        done = run_dojang("key", *words, "--pin-source", token.pin_source, "--password-source", password, "--json")
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def openssl(*words: object, folder: Path) -> None:
    subprocess.run(["openssl", *map(str, words)], cwd=folder, check=True, capture_output=True)


def plain(kind: str) -> bytes:
    return KEYS[kind].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def npki(scheme: str) -> bytes:
    return seal_pkcs8(Pkcs8.from_key(KEYS["rsa"], R).der, Secret(PASSWORD), scheme=scheme)


def test_an_imported_key_signs_and_openssl_verifies(key, run_dojang, token, tmp_path: Path) -> None:
    """With the address that was printed; the same import again says that there is nothing to do."""
    (tmp_path / "key.pem").write_bytes(plain("ec"))
    where = f"{token.uri};object=signs"
    address = key("import", where, tmp_path / "key.pem")[1]["data"]["key"]["address"]
    (tmp_path / "letter").write_text("letter")
    words = ("sign", "raw", "--key", address, tmp_path / "letter", "-o", tmp_path / "sig")
    assert run_dojang(*words, "--pin-source", token.pin_source).returncode == 0
    openssl("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem", folder=tmp_path)
    openssl("dgst", "-sha256", "-verify", "public.pem", "-signature", "sig", "letter", folder=tmp_path)
    status, again = key("import", where, tmp_path / "key.pem")
    assert (status, again["data"]["already"]) == (0, True)
    (tmp_path / "key.pem").write_bytes(plain("rsa"))
    assert key("import", where, tmp_path / "key.pem")[0] == 9


def test_other_programs_list_what_was_imported(key, token, tmp_path: Path) -> None:
    """pkcs11-tool sees key pair and R, the key sensitive and for signing alone."""
    (tmp_path / "signPri.key").write_bytes(npki(SCHEMES[1]))
    assert key("import", f"{token.uri};object=npki", tmp_path / "signPri.key")[0] == 0
    command = ["pkcs11-tool", "--module", token.module, "--token-label", token.label, "--login", "--pin", token.pin]
    shown = subprocess.run([*command, "--list-objects"], capture_output=True, text=True, check=True).stdout
    private = shown.partition("Private Key Object; RSA")[2].partition("Object;")[0]
    assert "label:      npki" in private
    assert "Usage:      sign\n" in private
    assert "Access:     sensitive\n" in private
    words = ["--read-object", "--type", "data", "--label", "R", "--output-file", str(tmp_path / "r")]
    subprocess.run([*command, *words], check=True, capture_output=True)
    assert (tmp_path / "r").read_bytes() == R.reveal()


def test_a_file_without_a_usable_key_is_refused(key, token, tmp_path: Path) -> None:
    """No key at all is 10; a wrong password is 7, and counted; nothing is on the token afterwards."""
    (tmp_path / "file").write_bytes(b"no key at all")
    assert key("import", f"{token.uri};object=refused", tmp_path / "file")[0] == 10
    sealed = seal_pkcs8(Pkcs8.from_key(KEYS["ec"]).der, Secret("another one"), scheme=SCHEMES[0])
    (tmp_path / "file").write_bytes(sealed)
    status, said = key("import", f"{token.uri};object=refused", tmp_path / "file")
    assert (status, said["error"]["code"]) == (7, "password-incorrect")
    for _ in range(4):
        key("import", f"{token.uri};object=refused", tmp_path / "file")
    assert key("import", f"{token.uri};object=refused", tmp_path / "file")[1]["error"]["code"] == "password-withheld"
    assert key("show", f"{token.uri};object=refused")[0] == 3
    assert key("import", f"npki:{tmp_path}", tmp_path / "file")[0] == 2


def test_a_plan_imports_nothing(key, token, tmp_path: Path) -> None:
    """--plan names the steps."""
    (tmp_path / "key.pem").write_bytes(plain("ec"))
    assert len(key("import", f"{token.uri};object=imagined", tmp_path / "key.pem", "--plan")[1]["data"]["plan"]) == 2
    assert key("show", f"{token.uri};object=imagined")[0] == 3


@pytest.fixture(scope="module")
def kek(dojang_at, token, tmp_path_factory) -> str:
    """A wrapping key on the token, made by the token itself; its check value."""
    home = tmp_path_factory.mktemp("home")
    words = ("key", "generate", token.uri, "--algorithm", "aes-256", "--label", "backup", "--json")
    done = dojang_at(home)(*words, "--pin-source", token.pin_source)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)["data"]["check"]


def test_a_wrapping_key_is_listed_with_its_check_value(key, token, kek: str) -> None:
    """It is a key like others: shown, refused a second time, deleted with the serial; it signs nothing."""
    (listed,) = [one for one in key("list", token.uri)[1]["data"]["keys"] if one["label"] == "backup"]
    assert (listed["algorithm"], listed["check"]) == ("aes", kek)
    assert key("show", listed["address"])[1]["data"]["key"]["attributes"] == {"sensitive": True, "extractable": False}
    assert key("generate", token.uri, "--algorithm", "aes-256", "--label", "backup")[0] == 9
    assert key("generate", token.uri, "--algorithm", "aes-256", "--label", "x", "--backup-under", "backup")[0] == 2
    spare = key("generate", token.uri, "--algorithm", "aes-256", "--label", "spare")[1]["data"]["key"]["address"]
    assert key("delete", spare, "--yes", token.serial)[1]["data"]["destroyed"] == 1


def test_a_key_for_a_backup_says_what_that_costs(run_dojang, token, kek: str) -> None:
    """A warning, in the answer too; the key itself is extractable and still sensitive."""
    words = ("key", "generate", token.uri, "--label", "leaves", "--backup-under", "backup", "--json")
    done = run_dojang(*words, "--pin-source", token.pin_source)
    data = json.loads(done.stdout)["data"]
    assert data["backup"] == {"under": "backup", "check": kek, "only_trusted": False}
    assert (data["key"]["attributes"]["sensitive"], data["key"]["attributes"]["extractable"]) == (True, True)
    assert "Warning" in done.stderr


def test_wrap_writes_a_file_for_its_owner_alone_and_never_over_another(key, token, kek: str, tmp_path: Path) -> None:
    """0600; a second time only with --replace; a plan writes nothing."""
    address = key("generate", token.uri, "--label", f"w-{uuid4().hex[:6]}", "--backup-under", "backup")[1]["data"][
        "key"
    ]["address"]
    file = tmp_path / "key.wrapped"
    words = ("wrap", address, "--under", "backup", "-o", file)
    assert key(*words, "--plan")[1]["data"]["plan"]
    assert not file.exists()
    status, done = key(*words)
    assert (status, done["data"]["check"], done["data"]["certificate"], done["data"]["r"]) == (0, kek, False, False)
    assert file.stat().st_mode & 0o777 == 0o600
    assert key(*words)[0] == 9
    assert key(*words, "--replace")[0] == 0


@pytest.fixture
def far(tmp_path: Path):
    """A SoftHSM2 with a token folder of its own, as another machine would have it."""
    with softhsm() as hsm:
        yield hsm.token(f"far-{uuid4().hex[:6]}")


def test_a_credential_goes_to_an_hsm_that_has_never_seen_the_first(
    key, run_dojang, token, far, kek: str, tmp_path: Path
) -> None:
    """Custodians bring the wrapping key, a file brings the credential; over there it signs."""
    folder = tmp_path / "custodians"
    folder.mkdir()
    label = f"carried-{uuid4().hex[:6]}"
    split = ("custody", "split", token.uri, "--label", label, "--shares", 3, "--threshold", 2, "--into", folder)
    check = key(*split)[1]["data"]["check"]
    near = {"DOJANG_PIN_SOURCE": token.pin_source}
    founded = ("ca", "init", "--alias", "office", "--key", f"{token.uri};object={label}-root", "--name", "CN=Office CA")
    assert run_dojang(*founded, env=near).returncode == 0
    issue = (
        "cert",
        "issue",
        "--to",
        token.uri,
        "--subject",
        f"CN={label}",
        "--label",
        f"{label} cert",
        "--ca",
        "office",
    )
    issued = run_dojang(*issue, "--profile", "tls-client", "--backup-under", label, "--json", env=near)
    assert issued.returncode == 0, issued.stdout
    address = json.loads(issued.stdout)["data"]["credential"]["address"]
    file = tmp_path / "credential.wrapped"
    assert key("wrap", address, "--under", label, "-o", file)[1]["data"]["certificate"] is True

    away = {**far.environment, "DOJANG_PIN_SOURCE": far.pin_source}

    def elsewhere(*words: object) -> dict:
        done = run_dojang(*words, "--json", env=away)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["data"]

    shares = [word for share in sorted(folder.iterdir())[1:] for word in ("--share", share)]
    assert elsewhere("key", "custody", "join", far.uri, "--check", check, *shares)["check"] == check
    done = elsewhere("key", "unwrap", file, "--to", far.uri, "--under", "backup")
    assert done["credential"]["subject"] == f"CN={label}"
    assert {one["name"] for one in done["checks"]} == {"opened-again", "attributes", "signature"}
    (tmp_path / "letter").write_text("letter")
    elsewhere(
        "sign", "cms", "--detached", "--key", done["credential"]["address"], tmp_path / "letter", "-o", tmp_path / "s"
    )
    words = "cms -verify -binary -inform DER -in s -content letter -noverify"
    openssl(*words.split(), folder=tmp_path)
    assert elsewhere("key", "unwrap", file, "--to", far.uri, "--under", "backup")["already"] is True


def test_a_wrapping_key_named_by_address_is_found_by_its_label_on_the_other_hsm(
    run_dojang, token, make_token, tmp_path: Path
) -> None:
    """For the drill of a backup, and for the successor of what came back there."""
    spare, label = make_token(f"spare-{uuid4().hex[:8]}"), f"named-{uuid4().hex[:6]}"

    def dojang(*words: object) -> dict:
        pins = {"DOJANG_PIN_SOURCE": token.pin_source}
        done = run_dojang(*words, "--json", env=pins)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["data"]

    second, under = f"{spare.uri}?pin-source={spare.pin_source}", ("--under", f"{token.uri};object={label}")
    folder, file = tmp_path / "shares", tmp_path / "backup.key"
    dojang("key", "custody", "split", token.uri, "--label", label, "--shares", 2, "--threshold", 2, "--into", folder)
    shares = [word for share in folder.iterdir() for word in ("--share", share)]
    dojang("key", "custody", "join", second, "--label", label, *shares)
    dojang("ca", "init", "--alias", label, "--key", f"{token.uri};object={label}-root", "--name", f"CN={label} CA")
    order = ("--to", token.uri, "--subject", f"CN={label}", "--label", f"{label} cert", "--ca", label)
    issued = dojang("cert", "issue", *order, "--profile", "tls-client", "--backup-under", under[1])
    backup = ("location", "backup", issued["credential"]["address"], "--to", file, *under, "--drill-to", spare.uri)
    asked = run_dojang(*backup, "--no-input", "--json", env={"DOJANG_PIN_SOURCE": token.pin_source})
    assert json.loads(asked.stdout)["error"]["code"] == "input-required"  # one token's PIN is never tried on another
    assert "--drill-pin-source" in asked.stdout
    assert "pin-count-low" not in {one["code"] for one in dojang("doctor", spare.uri)["findings"]}
    dojang(*backup, "--drill-pin-source", spare.pin_source)
    dojang("location", "backup", "--drill-only", file, "--under", label, "--drill-to", second)
    dojang("location", "restore", file, "--to", second, "--under", label)
    there = f"{spare.uri};object={label}%20cert?pin-source={spare.pin_source}"
    renewed = dojang("renew", "now", there, "--again", "--ca-pin-source", token.pin_source)["credential"]["address"]
    successor = f"{renewed}?pin-source={spare.pin_source}"
    assert dojang("key", "wrap", successor, "--under", label, "-o", tmp_path / "next.key")["under"] == label


def test_a_damaged_file_or_another_wrapping_key_is_said_plainly(key, token, kek: str, tmp_path: Path) -> None:
    """Each refusal has a code and advice of its own, and nothing is made."""
    address = key("generate", token.uri, "--label", f"d-{uuid4().hex[:6]}", "--backup-under", "backup")[1]["data"][
        "key"
    ]["address"]
    file = tmp_path / "key.wrapped"
    assert key("wrap", address, "--under", "backup", "-o", file)[0] == 0
    assert key("generate", token.uri, "--algorithm", "aes-256", "--label", "another")[0] == 0
    unwrap = ("unwrap", file, "--to", token.uri, "--label", "copy")
    status, said = key(*unwrap, "--under", "another")
    assert (status, said["error"]["code"], said["error"]["details"]["check"]) == (9, "wrapping-key-mismatch", kek)
    assert key(*unwrap, "--under", "absent")[0] == 3
    file.write_text(file.read_text().replace('"label": "d-', '"label": "e-'))
    status, said = key(*unwrap, "--under", "backup")
    assert (status, said["error"]["code"]) == (10, "file-malformed")
    file.write_bytes(file.read_bytes()[:200])
    assert key(*unwrap, "--under", "backup")[0] == 10
    file.unlink()
    assert key(*unwrap, "--under", "backup")[0] == 3
    assert key("show", f"{token.uri};object=copy")[0] == 3
