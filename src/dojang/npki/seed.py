"""SEED (RFC 4269) in CBC: by cryptography, or in Python where its OpenSSL runs without the legacy provider."""

from collections.abc import Callable
from functools import cache

BLOCK = 16

# Section 2.2: each S-box is x^e in GF(2)[x]/(x^8+x^6+x^5+x+1), times a matrix (rows as bytes), plus a constant.
_POLYNOMIAL = 0x163
_EXPONENTS = (247, 251)
_MATRICES = (
    (0b10001010, 0b11111110, 0b10000101, 0b01000010, 0b01000101, 0b00100001, 0b10001000, 0b00010100),
    (0b01000101, 0b10000101, 0b11111110, 0b00100001, 0b10001010, 0b10001000, 0b01000010, 0b00010100),
)
_CONSTANTS = (169, 56)
_MASKS = (0xFC, 0xF3, 0xCF, 0x3F)
_GOLDEN_RATIO = 0x9E3779B9
_WORD = 0xFFFFFFFF

_Boxes = tuple[tuple[int, ...], ...]
_RoundKeys = list[tuple[int, int]]


def encrypt_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Whole blocks, encrypted."""
    return _by_library(key, iv, data, encrypting=True) or _encrypt(key, iv, data)


def decrypt_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Whole blocks, decrypted; whatever padding they end in is still there."""
    return _by_library(key, iv, data, encrypting=False) or _decrypt(key, iv, data)


def _by_library(key: bytes, iv: bytes, data: bytes, *, encrypting: bool) -> bytes | None:
    if not _library_has_it():
        return None
    from cryptography.hazmat.decrepit.ciphers.algorithms import SEED
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    cipher = Cipher(SEED(key), modes.CBC(iv))
    context = cipher.encryptor() if encrypting else cipher.decryptor()
    return context.update(data) + context.finalize()


@cache
def _library_has_it() -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.decrepit.ciphers.algorithms import SEED
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    try:
        Cipher(SEED(bytes(BLOCK)), modes.CBC(bytes(BLOCK))).encryptor()
    except UnsupportedAlgorithm:
        return False
    return True


def _encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    keys, made, before = _round_keys(key), bytearray(), int.from_bytes(iv)
    for start in range(0, len(data), BLOCK):
        before = _block(int.from_bytes(data[start : start + BLOCK]) ^ before, keys)
        made += before.to_bytes(BLOCK)
    return bytes(made)


def _decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    keys, made, before = _round_keys(key)[::-1], bytearray(), int.from_bytes(iv)
    for start in range(0, len(data), BLOCK):
        block = int.from_bytes(data[start : start + BLOCK])
        made += (_block(block, keys) ^ before).to_bytes(BLOCK)
        before = block
    return bytes(made)


def _block(block: int, keys: _RoundKeys) -> int:
    """Section 2.1: sixteen Feistel rounds; decrypting is the same with the round keys in reverse."""
    mix = _mixer()
    left, right = block >> 64, block & (1 << 64) - 1
    for first, second in keys:
        c, d = right >> 32 ^ first, right & _WORD ^ second
        d = mix(c ^ d)
        c = mix(c + d & _WORD)
        d = mix(c + d & _WORD)
        left, right = right, left ^ (c + d & _WORD) << 32 ^ d
    return right << 64 | left


def _round_keys(key: bytes) -> _RoundKeys:
    """Section 2.4."""
    mix, keys = _mixer(), []
    left, right = int.from_bytes(key[:8]), int.from_bytes(key[8:])
    for number in range(16):
        constant = (_GOLDEN_RATIO << number | _GOLDEN_RATIO >> 32 - number) & _WORD
        a, b, c, d = left >> 32, left & _WORD, right >> 32, right & _WORD
        keys.append((mix(a + c - constant & _WORD), mix(b - d + constant & _WORD)))
        if number % 2 == 0:
            left = left >> 8 | (left & 0xFF) << 56
        else:
            right = (right << 8 | right >> 56) & (1 << 64) - 1
    return keys


@cache
def _mixer() -> Callable[[int], int]:
    """The function G of section 2.2, with its four extended S-boxes computed once."""
    zero, one, two, three = _extended_boxes()

    def mix(word: int) -> int:
        return zero[word & 0xFF] ^ one[word >> 8 & 0xFF] ^ two[word >> 16 & 0xFF] ^ three[word >> 24]

    return mix


def _extended_boxes() -> _Boxes:
    boxes = [_box(*parts) for parts in zip(_EXPONENTS, _MATRICES, _CONSTANTS, strict=True)]
    return tuple(
        tuple(
            sum((boxes[place % 2][value] & _MASKS[(place + octet) % 4]) << 8 * octet for octet in range(4))
            for value in range(256)
        )
        for place in range(4)
    )


def _box(exponent: int, matrix: tuple[int, ...], constant: int) -> list[int]:
    return [_times(matrix, _power(value, exponent)) ^ constant for value in range(256)]


def _times(matrix: tuple[int, ...], value: int) -> int:
    """The matrix times a vector of bits, the highest bit of each first."""
    made = 0
    for row in matrix:
        made = made << 1 | (row & value).bit_count() & 1
    return made


def _power(value: int, exponent: int) -> int:
    made = 1
    while exponent:
        if exponent & 1:
            made = _product(made, value)
        value, exponent = _product(value, value), exponent >> 1
    return made


def _product(one: int, other: int) -> int:
    made = 0
    while other:
        if other & 1:
            made ^= one
        one <<= 1
        if one & 0x100:
            one ^= _POLYNOMIAL
        other >>= 1
    return made
