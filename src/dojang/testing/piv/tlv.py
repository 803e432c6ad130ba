"""BER-TLV as smart cards use it (ISO/IEC 7816-4, 5.2.2): tags of one to three bytes, definite lengths."""


class Malformed(Exception):
    """Not a sequence of tag, length and value."""


def tlv(tag: int, value: bytes) -> bytes:
    """One data object."""
    return tag.to_bytes((tag.bit_length() + 7) // 8 or 1, "big") + length(len(value)) + value


def length(count: int) -> bytes:
    """The shortest form of a length."""
    if count < 0x80:
        return bytes([count])
    octets = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def parse(data: bytes) -> dict[int, bytes]:
    """The data objects in ``data`` by tag, one level deep, in their order."""
    found: dict[int, bytes] = {}
    while data:
        tag, value, data = first(data)
        found[tag] = value
    return found


def first(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag and value of the first data object in ``data``, and what comes after it."""
    tag, at = _tag(data, 0)
    count, at = _length(data, at)
    if at + count > len(data):
        raise Malformed
    return tag, data[at : at + count], data[at + count :]


def _tag(data: bytes, at: int) -> tuple[int, int]:
    end = at + 1
    if data[at] & 0x1F == 0x1F:
        while end < len(data) and data[end] & 0x80:
            end += 1
        end += 1
    return int.from_bytes(data[at:end], "big"), end


def _length(data: bytes, at: int) -> tuple[int, int]:
    if at >= len(data):
        raise Malformed
    first = data[at]
    if first < 0x80:
        return first, at + 1
    end = at + 1 + (first & 0x7F)
    if first == 0x80 or end > len(data):
        raise Malformed
    return int.from_bytes(data[at + 1 : end], "big"), end
