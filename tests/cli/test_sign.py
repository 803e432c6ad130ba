"""``dojang sign`` and ``dojang verify``: what is signed here verifies here and by openssl."""

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from dojang.pkcs11 import ModuleSearch, open_token
from dojang.secret import Secret


def answer(done) -> dict:
    return json.loads(done.stdout)


def certify(private_key, name: str, *, days: int = 30) -> x509.Certificate:
    """A self-signed certificate, which is its own trust anchor; it ends in so many days."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, True, False, False, False, True, True, False, False)
    builder = (
        x509.CertificateBuilder(subject, subject, private_key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), critical=False)
    )
    return builder.sign(private_key, hashes.SHA256())


@pytest.fixture(scope="module")
def signer(make_token, softhsm_module, tmp_path_factory) -> dict:
    """A token with one certified key of each usual kind; the certificates and public keys as files."""
    token = make_token(f"sign-{uuid4().hex[:8]}")
    folder = tmp_path_factory.mktemp("signer")
    search = ModuleSearch(module=softhsm_module, discover=False)
    with open_token(token.uri, Secret(token.pin), search=search) as opened:
        for algorithm in ("rsa-2048", "ec-p256"):
            key = opened.generate_key_pair(algorithm, label=algorithm, key_id=algorithm.encode())
            certificate = certify(key, algorithm)
            opened.add_certificate(certificate.public_bytes(Encoding.DER), label=algorithm, key_id=algorithm.encode())
            (folder / f"{algorithm}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
            spki = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (folder / f"{algorithm}.pub").write_bytes(spki)
        late = opened.generate_key_pair("ec-p256", label="late", key_id=b"late")
        opened.add_certificate(certify(late, "late", days=-1).public_bytes(Encoding.DER), label="late", key_id=b"late")
    return {"token": token, "folder": folder}


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "계약서.txt"
    path.write_text("I owe you a coffee.")
    return path


@pytest.fixture
def sign(run_dojang, signer):
    """Runs ``dojang sign FORMAT`` with one of the token's keys."""

    def run(form: str, algorithm: str, *words: object, **named):
        token = signer["token"]
        key = ["--key", f"{token.uri};object={algorithm}", "--pin-source", token.pin_source]
        return run_dojang("sign", form, *key, *words, **named)

    return run


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_raw_is_read_by_openssl(sign, signer, document, algorithm: str) -> None:
    """A bare signature lies beside the file and openssl verifies it."""
    done = sign("raw", algorithm, document, "--json")
    assert done.returncode == 0, done.stderr
    data = answer(done)["data"]
    assert data == {"output": f"{document}.sig", "format": "raw", "algorithm": data["algorithm"]}
    public = signer["folder"] / f"{algorithm}.pub"
    words = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", data["output"], document]
    assert subprocess.run(words, capture_output=True, text=True).stdout.strip() == "Verified OK"


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ec-p256"])
def test_cms_is_read_by_openssl_and_by_us(sign, run_dojang, signer, document, algorithm: str) -> None:
    """A detached CMS signature verifies with openssl and with ``dojang verify``."""
    output = document.with_suffix(".p7s")
    done = sign("cms", algorithm, document, "--detached", "-o", output)
    assert done.returncode == 0, done.stderr
    anchor = signer["folder"] / f"{algorithm}.pem"
    words = ["-binary", "-inform", "DER", "-in", output, "-content", document, "-CAfile", anchor, "-purpose", "any"]
    checked = subprocess.run(["openssl", "cms", "-verify", *words], capture_output=True, text=True)
    assert checked.stdout == document.read_text()
    found = run_dojang("verify", output, "--content", document, "--trust", anchor, "--json")
    assert found.returncode == 0, found.stdout
    data = answer(found)["data"]
    assert data["valid"] is True
    assert data["signers"][0]["subject"] == f"CN={algorithm}"
    assert all(check["ok"] for check in data["checks"])


@pytest.mark.parametrize("language", ["en", "ko"])
def test_an_expired_certificate_signs_nothing(sign, document, language: str) -> None:
    """Signing with an expired certificate is refused in a sentence that says when it was valid."""
    done = sign("cms", "late", document, "--lang", language)
    assert done.returncode == 9
    assert "Traceback" not in done.stderr
    assert "UTC" in done.stderr
    assert not Path(f"{document}.p7s").exists()


def test_verify_without_anybody_to_trust(sign, run_dojang, document) -> None:
    """Where nobody was named, the advice is to name somebody, not to distrust the file."""
    sign("cms", "ec-p256", document, "--detached", "-o", document.with_suffix(".p7s"))
    done = run_dojang("verify", document.with_suffix(".p7s"), "--content", document)
    assert done.returncode == 13
    assert "--trust FILE" in done.stderr


def test_advice_about_the_form_of_a_signature(sign, document) -> None:
    """What suits another kind of key is to be left out."""
    done = sign("raw", "ec-p256", document, "--padding", "pss")
    assert (done.returncode, "Leave --padding out" in done.stderr) == (10, True)


def test_verify_says_no(sign, run_dojang, signer, document) -> None:
    """A changed file is exit status 13, with every check in the answer."""
    sign("cms", "ec-p256", document, "--detached", "-o", document.with_suffix(".p7s"))
    document.write_text("I owe you a car.")
    anchor = signer["folder"] / "ec-p256.pem"
    words = ["verify", document.with_suffix(".p7s"), "--content", document, "--trust", anchor]
    done = run_dojang(*words, "--json")
    error = answer(done)["error"]
    assert (done.returncode, error["code"]) == (13, "verification-failed")
    assert error["details"]["valid"] is False
    assert any(not check["ok"] for check in error["details"]["checks"])
    assert run_dojang(*words).returncode == 13


def test_verify_a_bare_signature(sign, run_dojang, signer, document) -> None:
    """With the signer's certificate a bare signature is checked, path and all."""
    sign("raw", "ec-p256", document)
    certificate = signer["folder"] / "ec-p256.pem"
    words = ["verify", f"{document}.sig", "--certificate", certificate, "--trust", certificate]
    assert run_dojang(*words, "--content", document).returncode == 0
    assert run_dojang(*words).returncode == 2
    document.write_text("changed")
    assert run_dojang(*words, "--content", document).returncode == 13


def test_several_files(sign, document, tmp_path) -> None:
    """Several files get a signature each; one output name for all is refused before the PIN is used."""
    other = tmp_path / "other"
    other.write_text("x")
    done = sign("raw", "ec-p256", document, other, "--json")
    assert [row["output"] for row in answer(done)["data"]["results"]] == [f"{document}.sig", f"{other}.sig"]
    assert sign("raw", "ec-p256", document, other, "-o", tmp_path / "one").returncode == 2


def test_through_pipes(sign, signer, document, tmp_path) -> None:
    """``-`` reads standard input and writes the signature to standard output, and nothing else goes there."""
    token, output = signer["token"], tmp_path / "piped.p7s"
    words = ["sign", "cms", "--key", f"{token.uri};object=rsa-2048", "--pin-source", token.pin_source, "--pem", "-"]
    with document.open() as source, output.open("w") as sink:
        subprocess.run([sys.executable, "-m", "dojang", *words], stdin=source, stdout=sink, check=True, timeout=60)
    assert output.read_text().startswith("-----BEGIN CMS-----")
    assert sign("raw", "ec-p256", document, "-o", "-", "--json").returncode == 2


def test_plan_signs_nothing(sign, document) -> None:
    """--plan writes no file."""
    assert sign("cms", "ec-p256", document, "--plan").returncode == 0
    assert not Path(f"{document}.p7s").exists()


def test_what_cannot_be_signed(sign, document, tmp_path) -> None:
    """No file, no key, no such mechanism, no room: each has its own exit status and leaves no file behind."""
    assert sign("raw", "ec-p256", tmp_path / "absent").returncode == 3
    assert sign("raw", "no-such-key", document).returncode == 3
    assert sign("raw", "ec-p256", document, "--padding", "pss").returncode == 10
    assert sign("raw", "ec-p256", document, "-o", "/dev/full").returncode == 9
    assert not Path(f"{document}.sig").exists()


def test_raw_with_a_token_loads_no_cryptography(signer, document, home, softhsm_module) -> None:
    """Signing by a token's key costs no import of cryptography, asn1crypto, sqlite3 or rich."""
    token = signer["token"]
    words = ["sign", "raw", "--key", f"{token.uri};object=ec-p256", str(document), "--pin-source", token.pin_source]
    tell = "atexit.register(lambda: print('\\n', *sys.modules))"
    code = f"import atexit, sys; {tell}; from dojang.__main__ import main; main()"
    env = {**os.environ, "DOJANG_MODULE": softhsm_module}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env, timeout=60)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "dojang.signing.raw" in loaded
    assert loaded & {"cryptography", "asn1crypto", "sqlite3", "rich", "asyncio", "locale"} == set()


def test_a_large_file_shows_a_bar_on_a_terminal(signer, home, softhsm_module, tmp_path) -> None:
    """While a large file is read, a bar is drawn on a terminal and removed at the end."""
    large, token = tmp_path / "large", signer["token"]
    with large.open("wb") as file:
        file.truncate(3 << 29)
    main, side = pty.openpty()
    words = ["sign", "raw", "--key", f"{token.uri};object=ec-p256", str(large), "--pin-source", token.pin_source]
    env = {**os.environ, "DOJANG_MODULE": softhsm_module}
    child = subprocess.Popen([sys.executable, "-m", "dojang", *words], stdout=subprocess.PIPE, stderr=side, env=env)
    os.close(side)
    screen = b""
    while True:
        try:
            screen += os.read(main, 65536)
        except OSError:
            break
    assert child.wait(timeout=60) == 0
    assert b"#" in screen
    assert screen.endswith(b"\r\x1b[K")
