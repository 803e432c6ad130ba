"""The old ciphers: what the standards compute and what OpenSSL computes, with and without its legacy provider."""

import os
import subprocess
import sys

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2, SEED
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from dojang.npki import rc2, seed

# RFC 4269 appendix B: key, plain text, cipher text
SEED_VECTORS = [
    ("00000000000000000000000000000000", "000102030405060708090a0b0c0d0e0f", "5ebac6e0054e166819aff1cc6d346cdb"),
    ("000102030405060708090a0b0c0d0e0f", "00000000000000000000000000000000", "c11f22f20140505084483597e4370f43"),
    ("4706480851e61be85d74bfb3fd956185", "83a2f8a288641fb9a4e9a5cc2f131c7d", "ee54d13ebcae706d226bc3142cd40d4a"),
    ("28dbc3bc49ffd87dcfa509b11d422be7", "b41e6be2eba84a148e2eed84593c5ec7", "9b9b7bfcd1813cb95d0b3618f40f5122"),
]
ZERO = bytes(16)
OWN = [(seed._encrypt, seed._decrypt), (seed.encrypt_cbc, seed.decrypt_cbc)]


@pytest.mark.parametrize(("key", "plain", "hidden"), [tuple(map(bytes.fromhex, vector)) for vector in SEED_VECTORS])
@pytest.mark.parametrize(("encrypt", "decrypt"), OWN, ids=["own", "chosen"])
def test_seed_computes_what_its_standard_prints(encrypt, decrypt, key, plain, hidden):
    """The four vectors of RFC 4269, by our own code and by whichever is chosen."""
    assert encrypt(key, ZERO, plain) == hidden
    assert decrypt(key, ZERO, hidden) == plain


@pytest.mark.parametrize("blocks", [1, 2, 75])
def test_our_seed_and_openssls_are_one(blocks):
    """Chained blocks under random keys, both ways."""
    for _ in range(20):
        key, iv, plain = os.urandom(16), os.urandom(16), os.urandom(16 * blocks)
        context = Cipher(SEED(key), modes.CBC(iv)).encryptor()
        hidden = context.update(plain) + context.finalize()
        assert seed._encrypt(key, iv, plain) == hidden
        assert seed._decrypt(key, iv, hidden) == plain


def test_seed_works_without_the_legacy_provider():
    """As where ``CRYPTOGRAPHY_OPENSSL_NO_LEGACY`` is set: the library refuses, ours steps in."""
    program = (
        "from dojang.npki.seed import _by_library, encrypt_cbc, decrypt_cbc\n"
        "key, iv, plain = bytes(16), bytes(16), bytes(range(16))\n"
        "assert _by_library(key, iv, plain, encrypting=True) is None\n"
        "hidden = encrypt_cbc(key, iv, plain)\n"
        "assert hidden.hex() == '5ebac6e0054e166819aff1cc6d346cdb'\n"
        "assert decrypt_cbc(key, iv, hidden) == plain\n"
    )
    environment = os.environ | {"CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


# RFC 2268 section 5: key, effective bits, cipher text, plain text
@pytest.mark.parametrize(
    ("key", "bits", "plain", "hidden"),
    [
        ("0000000000000000", 63, "0000000000000000", "ebb773f993278eff"),
        ("ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"),
        ("3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"),
        ("88", 64, "0000000000000000", "61a8a244adacccf0"),
        ("88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"),
        ("88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"),
        ("88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"),
    ],
)
def test_rc2_computes_what_its_standard_prints(key, bits, plain, hidden):
    """With every length of key and of its effect that RFC 2268 shows."""
    key, plain, hidden = map(bytes.fromhex, (key, plain, hidden))
    assert rc2.decrypt_cbc(key, bits, bytes(8), hidden) == plain


def test_our_rc2_and_openssls_are_one():
    """Chained blocks with 128 bits, which cryptography knows too."""
    for _ in range(20):
        key, iv, plain = os.urandom(16), os.urandom(8), os.urandom(80)
        context = Cipher(RC2(key), modes.CBC(iv)).encryptor()
        hidden = context.update(plain) + context.finalize()
        assert rc2.decrypt_cbc(key, 128, iv, hidden) == plain
