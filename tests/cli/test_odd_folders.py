"""NPKI folders as they come to people's hands: ended, not begun, exchanged, cut off, locked in ways nobody opens."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.contract.credentials import SmallAuthority

from dojang.locations.disk import DiskLocation
from dojang.npki.keyfile import KeyFileForm
from dojang.secret import Secret

PASSWORD = Secret("correct horse 1!")
Told = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def authority() -> SmallAuthority:
    return SmallAuthority()


@pytest.fixture
def root(home: Path) -> Path:
    return home.parent / "NPKI"


@pytest.fixture
def told(run_dojang, tmp_path: Path) -> Told:
    """What dojang says with ``--json``, asked with the right password."""
    source = tmp_path / "password"
    source.write_bytes(PASSWORD.reveal())
    source.chmod(0o600)

    def run(*words: object) -> dict[str, Any]:
        done = run_dojang(*words, "--json", "--password-source", f"file:{source}")
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def signed(told: Told, tmp_path: Path) -> Callable[[str], str]:
    """How a signature by the credential of that name ends: ``ok``, or the error's code."""
    letter = tmp_path / "letter"
    letter.write_text("letter")

    def sign(name: str) -> str:
        said = told("sign", "cms", "--detached", "--key", f"npki:?cn={name}", letter, "-o", tmp_path / f"{name}.p7s")
        return "ok" if said["ok"] else said["error"]["code"]

    return sign


def put(root: Path, authority: SmallAuthority, name: str, *, days: int = 0, algorithm: str = "ec-p256") -> Path:
    """One credential whose certificate began a day before ``days`` from now; its folder."""
    location = DiskLocation(root, lambda path, new: PASSWORD, KeyFileForm("pbes2-seed"))
    key_id = name.encode()
    key = location.generate(algorithm, key_id=key_id, label=name)
    location.install(key_id=key_id, label=name, certificate_der=authority.certify(key, name, days=days))
    return next(root.glob(f"*/USER/cn={name},*"))


def test_what_has_ended_or_not_begun_says_so(root, authority, told, signed) -> None:
    """As its state, and as the reason why nothing is signed with it."""
    for name, days in (("now", 0), ("ended", -500), ("later", 30)):
        put(root, authority, name, days=days)
    found = told("cert", "list", "npki:")["data"]["credentials"]
    assert {one["label"]: one["state"] for one in found} == {
        "now": "valid",
        "ended": "expired",
        "later": "not-yet-valid",
    }
    assert [signed(name) for name in ("now", "ended", "later")] == [
        "ok",
        "certificate-unusable",
        "certificate-unusable",
    ]


@pytest.mark.parametrize("exchanged", ["signPri.key", "signCert.der"])
def test_an_exchanged_file_is_noticed(root, authority, signed, exchanged: str) -> None:
    """Whichever of the two came from elsewhere; the other credential is as good as before."""
    hong, kim = put(root, authority, "Hong"), put(root, authority, "Kim")
    shutil.copy(kim / exchanged, hong / exchanged)
    if exchanged == "signCert.der":  # then the folder is Kim's, and so is his own
        shutil.rmtree(kim)
        assert signed("Kim") == "key-mismatch"
    else:
        assert [signed("Hong"), signed("Kim")] == ["key-mismatch", "ok"]


def test_a_file_that_is_cut_off_is_an_error_and_nothing_more(root, authority, told, signed) -> None:
    """A key that is cut off anywhere is damaged; a certificate that is hides its folder and no other."""
    hong = put(root, authority, "Hong")
    put(root, authority, "Kim")
    whole = (hong / "signPri.key").read_bytes()
    for length in (0, 1, 5, len(whole) // 2, len(whole) - 1):
        (hong / "signPri.key").write_bytes(whole[:length])
        assert signed("Hong") == "password-incorrect", length
    (hong / "signCert.der").write_bytes((hong / "signCert.der").read_bytes()[:-1])
    assert [one["label"] for one in told("cert", "list", "npki:")["data"]["credentials"]] == ["Kim"]


def test_a_cipher_that_nobody_opens_is_named(root, authority, signed, told, tmp_path) -> None:
    """ARIA, as OpenSSL writes it: no password is asked, and the error says what it is."""
    hong = put(root, authority, "Hong")
    key = DiskLocation(root, lambda path, new: PASSWORD).private_key(b"Hong")
    plain = tmp_path / "plain.pem"
    plain.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    words = f"openssl pkcs8 -topk8 -v2 aria-128-cbc -in {plain} -outform DER -passout pass:x -out".split()
    subprocess.run([*words, hong / "signPri.key"], check=True, capture_output=True)
    said = told("sign", "raw", "--key", "npki:?cn=Hong", plain, "-o", tmp_path / "out")
    assert (said["error"]["code"], said["error"]["exit"]) == ("unsupported-format", 10)
    assert "aria128-cbc" in said["error"]["message"]


def test_a_second_certificate_of_one_subject_is_told_what_to_do(root, authority, told, tmp_path) -> None:
    """The folder is named by the subject; so it is renewed, deleted or kept elsewhere, and both stay as they are."""
    hong = put(root, authority, "Hong")
    before = {path: path.read_bytes() for path in hong.iterdir()}
    other = put(tmp_path / "other", authority, "Hong")
    said = told("location", "copy", f"npki:{tmp_path}/other", "--to", "npki:")
    assert said["error"]["code"] == "already-exists"
    assert all(words in said["error"]["next"] for words in ("renew now", "cert delete", "npki:/path"))
    assert {path: path.read_bytes() for path in hong.iterdir()} == before
    assert other.is_dir()


def test_one_subject_from_two_authorities_is_told_apart(root, authority, told) -> None:
    """As other programs leave it: the name is ambiguous, both addresses are shown, each finds its own."""
    hong = put(root, authority, "Hong")
    shutil.copytree(hong, root / "yessign" / "USER" / hong.name)
    said = told("cert", "show", "npki:?cn=Hong")
    assert said["error"]["code"] == "ambiguous"
    for address in said["error"]["details"]["matches"].split(", "):
        assert told("cert", "show", address)["data"]["credential"]["subject"] == "CN=Hong,C=KR"
