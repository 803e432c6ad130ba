"""DER in memory (X.690): small values written, and small values from strangers taken apart strictly."""

from functools import lru_cache
from typing import NamedTuple

from dojang.errors import Phrase

INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x02, 0x03, 0x04, 0x05, 0x06
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
CONSTRUCTED = 0x20
MAX_DEPTH = 40
_LONGEST_OID = 64


class MalformedDer(ValueError):
    """Bytes that are not what the standard asks for; its text says why."""


class Element(NamedTuple):
    """One value: its tag, its content, and the whole of it as it was read."""

    tag: int
    content: bytes
    der: bytes


def header(tag: int, length: int) -> bytes:
    """Tag and definite length, as short as can be."""
    if length < 0x80:
        return bytes((tag, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


def tlv(tag: int, *parts: bytes) -> bytes:
    """One value made of ``parts``."""
    content = b"".join(parts)
    size = len(content)
    return (bytes((tag, size)) if size < 0x80 else header(tag, size)) + content


def set_of(*members: bytes, tag: int = SET) -> bytes:
    """A SET OF in the order DER wants (X.690 section 11.6)."""
    return tlv(tag, *sorted(members))


def integer(value: int) -> bytes:
    """An INTEGER in its shortest form."""
    bits = (~value if value < 0 else value).bit_length()
    return tlv(INTEGER, value.to_bytes(bits // 8 + 1, "big", signed=True))


@lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tlv(OID, *(_base128(arc) for arc in (first * 40 + second, *rest)))


def read_oid(element: Element) -> str:
    """The dotted form of an OBJECT IDENTIFIER."""
    return _dotted(expect(element, OID).content)


@lru_cache(maxsize=256)
def _dotted(content: bytes) -> str:
    if not content or content[-1] & 0x80 or len(content) > _LONGEST_OID:
        raise MalformedDer(Phrase("an OBJECT IDENTIFIER is cut off"))
    arcs, arc = [], 0
    for octet in content:
        if not arc and octet == 0x80:
            raise MalformedDer(Phrase("an OBJECT IDENTIFIER is not in its shortest form"))
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _base128(arc: int) -> bytes:
    septets = [arc & 0x7F]
    while arc := arc >> 7:
        septets.append(0x80 | arc & 0x7F)
    return bytes(reversed(septets))


def parse(der: bytes, tag: int | None = None) -> Element:
    """Exactly one value, all of it DER down to ``MAX_DEPTH``, with nothing after it. ``MalformedDer`` otherwise."""
    element = _first(der)
    if len(element.der) != len(der):
        raise MalformedDer(Phrase("there is something after the end"))
    if tag is not None:
        expect(element, tag)
    _check_inside(der)
    return element


def parse_shallowly(der: bytes, tag: int) -> Element:
    """The same without looking inside, for what is taken apart by ``children`` level by level anyway."""
    element = expect(_first(der), tag)
    if len(element.der) != len(der):
        raise MalformedDer(Phrase("there is something after the end"))
    return element


def parse_loosely(data: bytes, tag: int | None = None) -> Element:
    """The same for BER, which is normalised first where it is not DER."""
    try:
        return parse(data, tag)
    except MalformedDer:
        return parse(to_der(data), tag)


def expect(element: Element, tag: int) -> Element:
    """The element itself, when it has this tag."""
    if element.tag != tag:
        raise unexpected_tag(tag, element.tag)
    return element


def unexpected_tag(wanted: int, found: int) -> MalformedDer:
    """The error for a value of another kind than belongs there."""
    return MalformedDer(Phrase("tag {wanted:#04x} was expected, not {found:#04x}", wanted=wanted, found=found))


def children(element: Element) -> list[Element]:
    """The values inside a constructed one, in the order they stand."""
    if not element.tag & CONSTRUCTED:
        raise MalformedDer(Phrase("tag {tag:#04x} holds no other values", tag=element.tag))
    found, position, content = [], 0, element.content
    size = len(content)
    while position < size:
        start = position + 2
        # What is small and right is seen here at once; span says what is wrong with the rest.
        small = start <= size and content[position + 1] < 0x80 and content[position] & 0x1F != 0x1F
        if not small or (end := start + content[position + 1]) > size:
            start, end = span(content, position, size)
        found.append(Element(content[position], content[start:end], content[position:end]))
        position = end
    return found


def parts(element: Element, least: int, most: int) -> list[Element]:
    """The values inside a constructed one, when there are as many as belong there."""
    found = children(element)
    if not least <= len(found) <= most:
        raise MalformedDer(Phrase("there are more or fewer parts than belong there"))
    return found


def read_integer(element: Element) -> int:
    """The value of an INTEGER."""
    content = expect(element, INTEGER).content
    if not content or (len(content) > 1 and (content[0], content[1] & 0x80) in ((0, 0), (0xFF, 0x80))):
        raise MalformedDer(Phrase("an INTEGER is not in its shortest form"))
    return int.from_bytes(content, "big", signed=True)


def span(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Where the content of the value at ``position`` starts and ends."""
    start = position + 2
    if start > limit:
        raise MalformedDer(Phrase("it is cut off"))
    if data[position] & 0x1F == 0x1F:
        raise MalformedDer(Phrase("a tag number is higher than 30"))
    length = data[position + 1]
    if length > 0x7F:
        octets = data[start : start + (length & 0x7F)]
        length, start = long_length(octets, length), start + len(octets)
    if length > limit - start:
        raise MalformedDer(Phrase("a length goes beyond the end"))
    return start, start + length


def long_length(octets: bytes, first: int) -> int:
    """A length given in ``octets`` after its first byte; only the shortest form passes."""
    if first == 0x80:
        raise MalformedDer(Phrase("an indefinite length stands where DER is needed"))
    if len(octets) != first & 0x7F:
        raise MalformedDer(Phrase("it is cut off"))
    value = int.from_bytes(octets[:9], "big")
    if len(octets) > 8 or octets[0] == 0 or value < 0x80:
        raise MalformedDer(Phrase("a length is not in its shortest form"))
    return value


def to_der(data: bytes) -> bytes:
    """One BER value with its lengths definite and short and its OCTET STRINGs in one piece. ``MalformedDer``."""
    made, end = _normal(data, 0, len(data), 0)
    if end != len(data):
        raise MalformedDer(Phrase("there is something after the end"))
    return made


def _normal(data: bytes, position: int, limit: int, depth: int) -> tuple[bytes, int]:
    """The value at ``position`` in its normal form, and where it ends."""
    if depth > MAX_DEPTH:
        raise MalformedDer(Phrase("it is nested too deep"))
    tag, start, end = _loose_span(data, position, limit)
    if not tag & CONSTRUCTED:
        if end is None:
            raise MalformedDer(Phrase("an indefinite length stands where DER is needed"))
        return tlv(tag, data[start:end]), end
    place, inside = start, list[bytes]()
    while place != end:
        if end is None and data[place : place + 2] == b"\0\0":
            return _joined(tag, inside), place + 2
        part, place = _normal(data, place, limit if end is None else end, depth + 1)
        inside.append(part)
    return _joined(tag, inside), place


def _joined(tag: int, parts: list[bytes]) -> bytes:
    if tag != OCTET_STRING | CONSTRUCTED:
        return tlv(tag, *parts)
    return tlv(OCTET_STRING, *(expect(_first(part), OCTET_STRING).content for part in parts))


def _loose_span(data: bytes, position: int, limit: int) -> tuple[int, int, int | None]:
    """Tag, start and end of a value whose length may be indefinite (``None``) or longer than need be."""
    if limit - position < 2:
        raise MalformedDer(Phrase("it is cut off"))
    tag, length, start = data[position], data[position + 1], position + 2
    if tag & 0x1F == 0x1F:
        raise MalformedDer(Phrase("a tag number is higher than 30"))
    if length == 0x80:
        return tag, start, None
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[position + 2 : start])
    if length > limit - start:
        raise MalformedDer(Phrase("a length goes beyond the end"))
    return tag, start, start + length


def _first(der: bytes) -> Element:
    start, end = span(der, 0, len(der))
    return Element(der[0], der[start:end], der[:end])


def _check_inside(der: bytes) -> None:
    ends, position = [len(der)], 0
    while ends:
        if position == ends[-1]:
            ends.pop()
            continue
        start, end = span(der, position, ends[-1])
        if not der[position] & CONSTRUCTED:
            position = end
            continue
        if len(ends) > MAX_DEPTH:
            raise MalformedDer(Phrase("it is nested too deep"))
        ends.append(end)
        position = start
