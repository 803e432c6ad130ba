"""The block ciphers that key files and PKCS#12 files are encrypted with, all in CBC with PKCS#7 padding."""

from typing import TYPE_CHECKING, NamedTuple

from dojang.npki import rc2, seed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm

# What stays in Python takes 6 µs a byte, so it is not asked for more than a second of it.
MAX_SLOW_BYTES = 128 << 10


class CipherKind(NamedTuple):
    """A cipher, the length of its key, and for RC2 how many bits of the key count."""

    name: str
    key_bytes: int
    block: int = 16
    effective_bits: int = 0


AES_128, AES_192, AES_256 = (CipherKind(f"aes{bits}-cbc", bits // 8) for bits in (128, 192, 256))
SEED = CipherKind("seed-cbc", 16, seed.BLOCK)
TRIPLE_DES = CipherKind("3des-cbc", 24, 8)
DOUBLE_DES = CipherKind("3des-cbc", 16, 8)
RC2_40, RC2_128 = CipherKind("rc2-cbc", 5, rc2.BLOCK, 40), CipherKind("rc2-cbc", 16, rc2.BLOCK, 128)


def encrypt(kind: CipherKind, key: bytes, iv: bytes, plain: bytes) -> bytes:
    """``plain``, padded and encrypted."""
    fill = kind.block - len(plain) % kind.block
    padded = plain + bytes([fill]) * fill
    if kind is SEED:
        return seed.encrypt_cbc(key, iv, padded)
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    context = Cipher(_algorithm(kind, key), modes.CBC(iv)).encryptor()
    return context.update(padded) + context.finalize()


def decrypt(kind: CipherKind, key: bytes, iv: bytes, hidden: bytes) -> bytes:
    """What ``encrypt`` was given; ``ValueError`` for anything that it does not make."""
    if not hidden or len(hidden) % kind.block or len(iv) != kind.block or len(key) != kind.key_bytes:
        raise ValueError("not whole blocks")
    padded = _decrypted(kind, key, iv, hidden)
    fill = padded[-1]
    if not 1 <= fill <= kind.block or padded[-fill:] != bytes([fill]) * fill:
        raise ValueError("not padded")
    return padded[:-fill]


def _decrypted(kind: CipherKind, key: bytes, iv: bytes, hidden: bytes) -> bytes:
    if kind is SEED:
        return seed.decrypt_cbc(key, iv, hidden)
    if kind.effective_bits:
        if len(hidden) > MAX_SLOW_BYTES:
            raise ValueError("too much")
        return rc2.decrypt_cbc(key, kind.effective_bits, iv, hidden)
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    context = Cipher(_algorithm(kind, key), modes.CBC(iv)).decryptor()
    return context.update(hidden) + context.finalize()


def _algorithm(kind: CipherKind, key: bytes) -> "BlockCipherAlgorithm":
    if kind.block == 16:
        from cryptography.hazmat.primitives.ciphers.algorithms import AES

        return AES(key)
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES

    return TripleDES(key if kind is TRIPLE_DES else key + key[:8])
