"""RC2 (RFC 2268) in CBC, decrypting only: old PKCS#12 files hide their certificates under 40 bits of it.

In Python, because cryptography knows RC2 with 128 bits alone.
"""

import struct

BLOCK = 8

# Section 2: PITABLE, a permutation made from the digits of pi.
_PI = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89d c67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32 bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc 1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303 f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a 961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039 997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9 d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2e c5f3db47e5a59c770aa62068fe7fc1ad"
)
_MIXES_BEFORE_MASHING = (5, 11)  # section 3.3: after the fifth and the eleventh mixing round counted from the start


def decrypt_cbc(key: bytes, effective_bits: int, iv: bytes, data: bytes) -> bytes:
    """Whole blocks, decrypted; whatever padding they end in is still there."""
    words, made, before = _expanded(key, effective_bits), bytearray(), int.from_bytes(iv)
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        made += (_decrypted(block, words) ^ before).to_bytes(BLOCK)
        before = int.from_bytes(block)
    return bytes(made)


def _expanded(key: bytes, effective_bits: int) -> tuple[int, ...]:
    """Section 2: 64 words from the key."""
    octets, size = bytearray(key), (effective_bits + 7) // 8
    for place in range(len(key), 128):
        octets.append(_PI[octets[place - 1] + octets[place - len(key)] & 0xFF])
    octets[128 - size] = _PI[octets[128 - size] & 0xFF >> (8 * size - effective_bits)]
    for place in range(127 - size, -1, -1):
        octets[place] = _PI[octets[place + 1] ^ octets[place + size]]
    return struct.unpack("<64H", octets)


def _decrypted(block: bytes, words: tuple[int, ...]) -> int:
    """Section 4: sixteen mixing rounds backwards, with two mashing rounds among them."""
    r = list(struct.unpack("<4H", block))
    for mixing in range(15, -1, -1):
        for place, turn in ((3, 5), (2, 3), (1, 2), (0, 1)):
            one, two, three = r[place - 1], r[place - 2], r[place - 3]
            turned = (r[place] >> turn | r[place] << 16 - turn) & 0xFFFF
            r[place] = turned - words[4 * mixing + place] - (one & two) - (~one & three) & 0xFFFF
        if mixing in _MIXES_BEFORE_MASHING:
            for place in (3, 2, 1, 0):
                r[place] = r[place] - words[r[place - 1] & 63] & 0xFFFF
    return int.from_bytes(struct.pack("<4H", *r))
