"""Yubico's own program and dojang read and write the same device, each in a process of its own."""

import re
from datetime import UTC, datetime

from tests.otp.oath.conftest import SEED

from dojang.otp.base import NewSeed
from dojang.otp.parameters import OtpParameters
from dojang.secret import Secret

BASE32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def test_ykman_takes_the_emulated_key_for_a_yubikey(key, ykman):
    """It tells its serial number, adds, renames, locks, lists, computes and resets."""
    assert f"Serial number: {key.serial}" in ykman("info")
    ykman("oath", "accounts", "add", "-o", "HOTP", "-c", "3", "h", BASE32)
    ykman("oath", "accounts", "rename", "--force", "h", "Bank:hong")
    assert "969429" in ykman("oath", "accounts", "code", "hong")
    ykman("oath", "access", "change", "--new-password", "secret")
    assert "Wrong password" in ykman("oath", "accounts", "list", "--password", "guess", status=1)
    assert ykman("oath", "accounts", "list", "--password", "secret") == "Bank:hong\n"
    assert key.oath.wrong_passwords == 1
    ykman("oath", "reset", "--force")
    assert not key.oath.accounts
    assert key.oath.access_key is None


def test_what_dojang_adds_ykman_reads(key, device, ykman):
    """Names with issuer and period, and the codes of both are the same."""
    added = device.add(NewSeed("은행:홍길동", OtpParameters(), Secret(SEED)))
    device.add(NewSeed("slow", OtpParameters(period=60, digits=8, hash_name="sha256"), Secret(SEED)))
    assert set(ykman("oath", "accounts", "list", "--period").splitlines()) == {"은행:홍길동, 30", "60/slow, 60"}
    before = device.code(added, datetime.now(UTC)).code
    theirs = re.search(r"홍길동\s+(\d{6})", ykman("oath", "accounts", "code"))
    assert theirs is not None
    assert theirs[1] in (before, device.code(added, datetime.now(UTC)).code)


def test_what_ykman_adds_dojang_reads(key, device, ykman):
    """Kind, hash, digits, period and touch are known without asking for a code, and deleting is seen by both."""
    ykman("oath", "accounts", "add", "-a", "SHA512", "-d", "8", "-P", "60", "-i", "Bank", "hong", BASE32)
    ykman("oath", "accounts", "add", "--touch", "t", BASE32)
    first, second = device.seeds()
    assert first.parameters == OtpParameters("totp", "sha512", 8, 60, issuer="Bank", account="hong")
    assert (first.name, first.touch, first.address) == ("Bank:hong", False, "oath:12345678/60%2FBank:hong")
    assert (second.name, second.touch) == ("t", True)
    assert not key.oath.calculations
    device.delete(first)
    assert ykman("oath", "accounts", "list") == "t\n"
    ykman("oath", "accounts", "delete", "--force", "t")
    assert list(device.seeds()) == []
