"""When an authority asks for a one-time password, the codes of a security key that is plugged in are offered."""

import signal
from collections.abc import Callable, Iterator
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Any

import pexpect
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.authority.factors import devices
from tests.authority.factors.conftest import applicant_in
from tests.authority.factors.serving import bank_server
from tests.cli.conftest import terminal
from tests.otp.oath.conftest import SEED

from dojang.secret import Secret

__all__ = ["terminal"]  # used as a fixture

HOTP_SHA1 = 0x11


@pytest.fixture
def prove(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Passing factors for a key at an authority that takes the first code of the seed, and no other."""
    monkeypatch.setattr(devices, "RIGHT", Secret("755224"))
    key, code = tmp_path / "key.pem", tmp_path / "code"
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with bank_server(tmp_path / "bank") as server:
        (server.counter.authority.folder / "profiles" / "otp.toml").write_text(
            'like = "personal"\n[factors]\nall = ["otp"]\n'
        )
        applicant = applicant_in(server.counter)
        devices.seat(server.counter, applicant)
        reference, secret = server.hand_out("CN=Hong,C=KR", "otp", applicant=applicant)
        code.touch(0o600)
        code.write_bytes(secret)
        words = ["cert", "prove", "--key", str(key), "--ca", server.url, "--reference", reference]
        yield [*words, "--code-source", f"file:{code}"]


def test_the_code_of_a_plugged_in_device_is_offered(
    key: Any, prove: list[str], terminal: Callable[..., pexpect.spawn]
) -> None:
    """By the name of its seed; whoever takes it has nothing to type. Of a counter one code is used up, not more."""
    key.oath.put("Bank:hong", SEED, kind=HOTP_SHA1)
    child = terminal(*prove, no_proxy="127.0.0.1")
    child.expect("Bank:hong")
    child.expect("oath:12345678/Bank:hong")
    child.expect("another device, whose code is typed")
    child.expect("Whose code")
    child.sendline("1")
    child.expect("Passed: one-time password")
    child.expect_exact(pexpect.EOF)
    assert "755224" not in (child.before or "")
    assert key.oath.calculations == [b"Bank:hong"]


def test_a_touch_is_asked_for_when_its_code_is_taken(
    key: Any, prove: list[str], terminal: Callable[..., pexpect.spawn]
) -> None:
    """And not for the offer."""
    key.oath.put("Bank:hong", SEED, kind=HOTP_SHA1, touch=True)
    child = terminal(*prove, no_proxy="127.0.0.1")
    child.expect("Whose code")
    assert "Touch" not in (child.before or "")
    child.sendline("1")
    child.expect("Touch the device now")
    key.finger.touch()
    child.expect("Passed: one-time password")


def test_a_device_behind_a_password_is_offered(
    key: Any, prove: list[str], terminal: Callable[..., pexpect.spawn]
) -> None:
    """Its password is asked for once, when it is chosen; then which of its seeds."""
    key.oath.put("Bank:hong", SEED, kind=HOTP_SHA1)
    key.oath.put("other", SEED, kind=HOTP_SHA1)
    key.oath.access_key = pbkdf2_hmac("sha1", b"geheim", key.oath.salt, 1000, 16)
    child = terminal(*prove, no_proxy="127.0.0.1")
    child.expect("behind a password +oath:12345678")
    child.expect("Whose code")
    child.sendline("1")
    child.expect("Password for oath:12345678")
    child.sendline("geheim")
    child.expect("oath:12345678/Bank:hong")
    child.expect("Whose code")
    child.sendline("1")
    child.expect("Passed: one-time password")
    assert key.oath.calculations == [b"Bank:hong"]


def test_another_code_can_be_typed(key: Any, prove: list[str], terminal: Callable[..., pexpect.spawn]) -> None:
    """Nothing is computed then."""
    key.oath.put("Bank:hong", SEED, kind=HOTP_SHA1)
    child = terminal(*prove, no_proxy="127.0.0.1")
    child.expect("Whose code")
    child.sendline("2")
    child.expect("The code for one-time password")
    child.sendline("755224")
    child.expect("Passed: one-time password")
    assert key.oath.calculations == []


def test_an_interrupted_question_ends_it(key: Any, prove: list[str], terminal: Callable[..., pexpect.spawn]) -> None:
    """With the status of every interrupted run."""
    key.oath.put("Bank:hong", SEED, kind=HOTP_SHA1)
    child = terminal(*prove, no_proxy="127.0.0.1")
    child.expect("Whose code")
    child.kill(signal.SIGINT)
    child.expect_exact(pexpect.EOF)
    child.close()
    assert (child.exitstatus, child.signalstatus) in ((130, None), (None, signal.SIGINT))
    assert key.oath.calculations == []
