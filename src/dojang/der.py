"""DER in memory (X.690): small values written, and small values from strangers taken apart strictly."""

from dataclasses import dataclass

from dojang.errors import Phrase

INTEGER, OCTET_STRING, OID = 0x02, 0x04, 0x06
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
CONSTRUCTED = 0x20
MAX_DEPTH = 40


class MalformedDer(ValueError):
    """Bytes that are not what the standard asks for; its text says why."""


@dataclass(frozen=True, slots=True)
class Element:
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
    return header(tag, len(content)) + content


def set_of(*members: bytes, tag: int = SET) -> bytes:
    """A SET OF in the order DER wants (X.690 section 11.6)."""
    return tlv(tag, *sorted(members))


def integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from its dotted form."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tlv(OID, *(_base128(arc) for arc in (first * 40 + second, *rest)))


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
    found, position = [], 0
    while position < len(element.content):
        start, end = span(element.content, position, len(element.content))
        found.append(Element(element.content[position], element.content[start:end], element.content[position:end]))
        position = end
    return found


def read_integer(element: Element) -> int:
    """The value of an INTEGER."""
    content = expect(element, INTEGER).content
    if not content or (len(content) > 1 and (content[0], content[1] & 0x80) in ((0, 0), (0xFF, 0x80))):
        raise MalformedDer(Phrase("an INTEGER is not in its shortest form"))
    return int.from_bytes(content, "big", signed=True)


def span(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Where the content of the value at ``position`` starts and ends."""
    if limit - position < 2:
        raise MalformedDer(Phrase("it is cut off"))
    if data[position] & 0x1F == 0x1F:
        raise MalformedDer(Phrase("a tag number is higher than 30"))
    length, start = data[position + 1], position + 2
    if length & 0x80:
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
