"""Tests of stamp with real tokens: only fixtures that come with ``dojang[testing]``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from stamp import NoSuchToken, stamp

from dojang.testing import KEY_KINDS

PROGRAM = Path(__file__).parent.parent / "stamp.py"
KEY_ON_CARD = b"\x01"  # OpenSC numbers the keys of a PIV card; this is the one for authentication
QUICK_TO_MAKE = [kind for kind in KEY_KINDS if kind not in ("rsa-3072", "rsa-4096")]


@pytest.fixture
def letter(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("To whom it may concern\n")
    return path


def verify(public_key, signature: bytes, data: bytes) -> None:
    if isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(signature, data, padding.PKCS1v15(), SHA256())
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, data, ec.ECDSA(SHA256()))
    else:
        public_key.verify(signature, data)


def run(token, pin: str, letter: Path) -> subprocess.CompletedProcess[str]:
    """The program as a user runs it, with the key of a card."""
    words = [sys.executable, PROGRAM, token.module, token.label, KEY_ON_CARD.hex(), letter]
    return subprocess.run(words, env={**os.environ, "STAMP_PIN": pin}, capture_output=True, text=True)


@pytest.mark.parametrize("dojang_key", QUICK_TO_MAKE, indirect=True)
def test_every_kind_of_key(dojang_key, letter):
    token = dojang_key.token
    made = stamp(letter, module=str(token.module), token=token.label, key_id=dojang_key.key_id, pin=token.pin)
    verify(dojang_key.public_key(), made.read_bytes(), letter.read_bytes())


def test_the_signer_is_certified(dojang_credential, dojang_authority, letter):
    token, key_id = dojang_credential.token, dojang_credential.key_id
    made = stamp(letter, module=str(token.module), token=token.label, key_id=key_id, pin=token.pin)
    verify(dojang_credential.certificate().public_key(), made.read_bytes(), letter.read_bytes())
    trust = ["-CAfile", dojang_authority.certificate_file]
    subprocess.run(["openssl", "verify", *trust, dojang_credential.certificate_file], check=True)


def test_a_pin_locks(dojang_locking_token, letter):
    token = dojang_locking_token
    for tries_left in (2, 1):
        assert "That PIN is wrong" in run(token, "000000", letter).stderr
        assert token.tries_left == tries_left
    for pin in ("000000", token.pin):
        assert "Ask your administrator" in run(token, pin, letter).stderr
        assert token.locked


def test_a_token_that_is_pulled_out(dojang_vanishing_token, letter):
    token = dojang_vanishing_token
    assert run(token, token.pin, letter).returncode == 0
    token.remove()
    assert "Plug in the token" in run(token, token.pin, letter).stderr
    token.insert()
    assert run(token, token.pin, letter).returncode == 0


def test_a_program_that_stays_sees_it_come_back(dojang_vanishing_token, letter):
    token = dojang_vanishing_token
    order = {"module": str(token.module), "token": token.label, "key_id": KEY_ON_CARD, "pin": token.pin}
    stamp(letter, **order)
    token.remove()
    with pytest.raises(NoSuchToken):
        stamp(letter, **order)
    token.insert()
    assert stamp(letter, **order).stat().st_size == 256
