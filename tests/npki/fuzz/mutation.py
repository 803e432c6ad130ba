"""Bytes made from other bytes: as noise, and as somebody who knows DER and lengths would change them."""

from random import Random

_TELLING = (0x00, 0x01, 0x02, 0x04, 0x24, 0x30, 0x31, 0x7F, 0x80, 0x81, 0x84, 0xA0, 0xFE, 0xFF)
_MOST = 1 << 16


def mutated(data: bytes, others: list[bytes], random: Random) -> bytes:
    """``data`` after one to four changes, with pieces of ``others`` in it perhaps."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        data = random.choice(_CHANGES)(data, others, random)[:_MOST]
    return data


def _flip(data: bytes, others: list[bytes], random: Random) -> bytes:
    del others
    if not data:
        return b"\x30"
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set(data: bytes, others: list[bytes], random: Random) -> bytes:
    del others
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[random.randrange(len(data))] = random.choice(_TELLING)
    return bytes(changed)


def _cut(data: bytes, others: list[bytes], random: Random) -> bytes:
    del others
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.choice((1, 2, 4, 16, 10_000)) :]


def _insert(data: bytes, others: list[bytes], random: Random) -> bytes:
    del others
    start = random.randrange(len(data) + 1)
    return data[:start] + random.randbytes(random.choice((1, 2, 4, 16))) + data[start:]


def _repeat(data: bytes, others: list[bytes], random: Random) -> bytes:
    del others
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * random.choice((1, 2, 50)) + data[end:]


def _splice(data: bytes, others: list[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _exchange(data: bytes, others: list[bytes], random: Random) -> bytes:
    """One value in place of another, with every length around it put right."""
    mine, theirs = _values(data), _values(random.choice(others))
    if not mine or not theirs:
        return data
    path, new = random.choice(mine)[0], random.choice(theirs)[1]
    return _replaced(data, path, random.choice((new, b"", new + new, b"\x30" + _length(len(new)) + new)))


def _values(data: bytes, path: tuple[int, ...] = (), depth: int = 0) -> list[tuple[tuple[int, ...], bytes]]:
    """Every value in DER with the way to it, as far as it can be followed."""
    found, position, number = [], 0, 0
    while position + 2 <= len(data) and depth < 12:
        start, end = _bounds(data, position)
        if end > len(data):
            break
        found.append(((*path, number), data[position:end]))
        if data[position] & 0x20:
            found += _values(data[start:end], (*path, number), depth + 1)
        position, number = end, number + 1
    return found


def _replaced(data: bytes, path: tuple[int, ...], new: bytes) -> bytes:
    position = 0
    for _ in range(path[0]):
        position = _bounds(data, position)[1]
    start, end = _bounds(data, position)
    if len(path) > 1:
        inside = _replaced(data[start:end], path[1:], new)
        new = data[position : position + 1] + _length(len(inside)) + inside
    return data[:position] + new + data[end:]


def _bounds(data: bytes, position: int) -> tuple[int, int]:
    length, start = data[position + 1], position + 2
    if length > 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[position + 2 : start])
    return start, start + length


def _length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((0x80 | len(octets),)) + octets


_CHANGES = (_flip, _flip, _set, _set, _cut, _insert, _repeat, _splice, _exchange, _exchange, _exchange)
