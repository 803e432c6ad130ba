"""Keys and credentials for tests: every kind, certified by an authority that others can check."""

import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_der_x509_certificate

from dojang.pkcs11 import KEY_ALGORITHMS
from dojang.testing.authority import throw_away_authority
from dojang.testing.keysmith import KEY_KINDS, Keysmith
from dojang.testing.setup import BringUpFailed
from dojang.testing.softhsm import softhsm
from dojang.x509.keys import algorithm_of


@pytest.fixture(scope="module")
def hsm():
    with softhsm() as one:
        yield one


@pytest.fixture(scope="module")
def smith(hsm):
    with Keysmith(hsm.environment, hsm.folder) as one:
        yield one


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    with throw_away_authority(tmp_path_factory.mktemp("authority")) as one:
        yield one


def openssl_verifies(credential, *words: object) -> str:
    """What ``openssl verify`` says of a certificate against the root; empty when it is content."""
    command = ["openssl", "verify", "-CAfile", credential.authority.certificate_file, *words]
    run = subprocess.run([*command, credential.certificate_file], capture_output=True, text=True)
    assert run.returncode == 0 or "verification failed" in run.stderr, run.stderr
    return run.stderr


def test_every_kind_is_one_that_dojang_makes():
    """The kinds of key are those of the library."""
    assert KEY_KINDS == KEY_ALGORITHMS


@pytest.mark.parametrize("algorithm", [kind for kind in KEY_KINDS if kind != "rsa-4096"])
def test_a_key_is_what_it_says(hsm, smith, algorithm):
    """Public key, label and CKA_ID are those of the private key on the token; it never was outside."""
    key = smith.key(hsm.token(), algorithm, label="My key")
    assert algorithm_of(key.public_key()) == key.algorithm == algorithm
    tool = [
        "pkcs11-tool",
        "--module",
        key.token.module,
        "--token-label",
        key.token.label,
        "--login",
        "--pin",
        "env:PIN",
    ]
    environment = os.environ | key.token.environment | {"PIN": key.token.pin}
    shown = subprocess.run([*tool, "-O", "-y", "privkey"], env=environment, capture_output=True, text=True).stdout
    assert re.search(r"label: +My key\n +ID: +" + key.key_id.hex(), shown), shown
    assert "never extractable" in shown
    assert "local" in shown


def test_a_kind_that_is_none_is_named(hsm, smith):
    """The error says which kinds there are; what the token refuses is said in its words."""
    with pytest.raises(BringUpFailed, match="ec-p256"):
        smith.key(hsm.token(), "rsa-1")
    with pytest.raises(BringUpFailed, match="No token matches"), softhsm() as other:
        smith.key(other.token())


def test_a_credential_is_certified(hsm, smith, authority):
    """OpenSSL verifies the certificate up to the root, and it lies on the token beside its key."""
    credential = smith.credential(hsm.token(), authority, "ed25519", subject="CN=홍길동,C=KR")
    assert openssl_verifies(credential) == ""
    assert credential.certificate().public_key() == credential.public_key()
    assert "홍길동" in credential.certificate().subject.rfc4514_string()
    tool = ["pkcs11-tool", "--module", credential.token.module, "--token-label", credential.token.label]
    words = ["--read-object", "--type", "cert", "--id", credential.key_id.hex()]
    environment = os.environ | credential.token.environment
    read = subprocess.run([*tool, *words], env=environment, capture_output=True, check=True).stdout
    assert load_der_x509_certificate(read) == credential.certificate()


def test_a_certificate_may_have_expired(hsm, smith, authority):
    """One issued two years ago has expired, and everybody sees it."""
    credential = smith.credential(hsm.token(), authority, at=datetime.now(UTC) - timedelta(days=730))
    assert "certificate has expired" in openssl_verifies(credential)


def test_a_certificate_may_be_revoked(hsm, smith, authority, tmp_path):
    """Once revoked it stands on the list that OpenSSL reads; others do not."""
    one, other = smith.credential(hsm.token(), authority), smith.credential(hsm.token(), authority)
    crl = authority.revoke(one.certificate_der)
    pem = tmp_path / "crl.pem"
    subprocess.run(["openssl", "crl", "-inform", "DER", "-in", crl, "-out", pem], check=True)
    assert "certificate revoked" in openssl_verifies(one, "-crl_check", "-CRLfile", pem)
    assert openssl_verifies(other, "-crl_check", "-CRLfile", pem) == ""


def test_its_process_ends_with_ours(tmp_path):
    """When whoever makes keys is killed, the process that made them ends."""
    program = """
from dojang.testing.keysmith import Keysmith
from dojang.testing.softhsm import softhsm
with softhsm() as hsm, Keysmith(hsm.environment, hsm.folder) as smith:
    smith.key(hsm.token())
    print(smith._process.pid, flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True) as child:
        worker = Path("/proc") / child.stdout.readline().strip()
        assert b"keysmith" in (worker / "cmdline").read_bytes()
        child.kill()
    deadline = time.monotonic() + 10
    while worker.exists() and "Z" not in (worker / "stat").read_text().rpartition(")")[2].split()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
