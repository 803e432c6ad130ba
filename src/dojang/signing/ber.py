"""Reading nested BER values (X.690) from a stream of any size, without holding more than one buffer.

Only the frames around large things may have an indefinite length; every small value taken whole must be DER.
"""

from collections.abc import Iterator

from dojang.der import CONSTRUCTED, OCTET_STRING, Element, MalformedDer, long_length, parse, unexpected_tag
from dojang.errors import Phrase
from dojang.signing.pem import PemReader
from dojang.signing.source import CHUNK, Source

_MAX_NESTED_STRINGS = 8
_FREE_SEGMENTS = 10_000
_LEAST_SEGMENT = 16
_CUT_OFF = Phrase("it is cut off")


class ByteWindow:
    """The bytes of a DER or PEM source, forward only, through one buffer."""

    def __init__(self, source: Source) -> None:
        """Look at the first bytes to tell DER from PEM."""
        self._source = source
        self._buffer = memoryview(bytearray(CHUNK))
        self._window = self._buffer[:0]
        self.position = 0
        self.size = source.size
        self._pem: PemReader | None = None
        self._fill()
        if self._window and self._window[0] != 0x30:
            self._pem = PemReader(self._read_more, bytes(self._window))
            self._window, self.size = self._buffer[:0], None

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return not (self._window or self._fill())

    def peek(self) -> int:
        """The next byte, left where it is; at the end ``MalformedDer``."""
        if self.at_end():
            raise MalformedDer(_CUT_OFF)
        return self._window[0]

    def some(self, most: int) -> memoryview:
        """Between one and ``most`` bytes, good until the next call."""
        if self.at_end():
            raise MalformedDer(_CUT_OFF)
        part, self._window = self._window[:most], self._window[most:]
        self.position += len(part)
        return part

    def exactly(self, count: int) -> bytes:
        """``count`` bytes, kept in memory as they arrive, so that a false length costs nothing."""
        taken = bytearray()
        while len(taken) < count:
            taken += self.some(count - len(taken))
        return bytes(taken)

    def _fill(self) -> bool:
        if self._pem is not None:
            self._window = memoryview(self._pem.next())
        else:
            self._window = self._buffer[: self._source.readinto(self._buffer)]
        return bool(self._window)

    def _read_more(self) -> bytes:
        return bytes(self._buffer[: self._source.readinto(self._buffer)])


class BerReader:
    """Walks down and up the frames of one value. Every disagreement between lengths and content is ``MalformedDer``."""

    def __init__(self, window: ByteWindow) -> None:
        """Start at the window's first byte."""
        self._window = window
        self._ends: list[int | None] = []
        self._limits: list[int | None] = [window.size]

    def next_tag(self) -> int | None:
        """The tag of the next value in this frame; ``None`` at its end."""
        end = self._ends[-1] if self._ends else None
        if end is not None:
            self._check_fits(0)
            return None if self._window.position == end else self._window.peek()
        return self._window.peek() or None

    def enter(self, tag: int) -> None:
        """Go into the constructed value that must stand here."""
        self._push(self._header(tag))

    def leave(self) -> None:
        """Come out of the innermost frame, which must have been read to its end."""
        if self.next_tag() is not None:
            raise MalformedDer(Phrase("there is more in a frame than belongs there"))
        if self._ends.pop() is None and self._window.exactly(2) != b"\0\0":
            raise MalformedDer(Phrase("an end-of-contents is damaged"))
        self._limits.pop()

    def finish(self) -> None:
        """Nothing may stand after the outermost value."""
        if not self._window.at_end():
            raise MalformedDer(Phrase("there is something after the end"))

    def element(self, tag: int, most: int) -> Element:
        """One small value taken whole; its header and everything in it must be DER, and no more than ``most`` bytes."""
        first = self._window.exactly(2)
        if first[0] != tag:
            raise unexpected_tag(tag, first[0])
        octets = self._window.exactly(first[1] & 0x7F) if first[1] > 0x80 else b""
        length = long_length(octets, first[1]) if first[1] & 0x80 else first[1]
        self._check_fits(length)
        if length > most:
            raise MalformedDer(Phrase("a value of {length} bytes is too large", length=length))
        return parse(first + octets + self._window.exactly(length), tag)

    def octets(self) -> Iterator[memoryview]:
        """The content of the OCTET STRING that stands here, piece by piece, however it is cut up."""
        depth, segments, before = len(self._ends), 0, self._window.position
        while True:
            tag = self._window.peek()
            if tag == OCTET_STRING | CONSTRUCTED and len(self._ends) - depth < _MAX_NESTED_STRINGS:
                self.enter(tag)
            else:
                yield from self._primitive()
            while len(self._ends) > depth and self.next_tag() is None:
                self.leave()
            if len(self._ends) == depth:
                return
            segments += 1
            if segments > _FREE_SEGMENTS + (self._window.position - before) // _LEAST_SEGMENT:
                raise MalformedDer(Phrase("its content is cut into absurdly small pieces"))

    def _primitive(self) -> Iterator[memoryview]:
        length = self._header(OCTET_STRING)
        if length is None:
            raise MalformedDer(Phrase("an indefinite length stands where it may not"))
        while length:
            part = self._window.some(min(length, CHUNK))
            length -= len(part)
            yield part

    def _header(self, tag: int) -> int | None:
        first = self._window.exactly(2)
        if first[0] != tag:
            raise unexpected_tag(tag, first[0])
        if first[1] < 0x80:
            self._check_fits(first[1])
            return first[1]
        if first[1] == 0x80:
            return None
        length = int.from_bytes(self._window.exactly(first[1] & 0x7F), "big")
        self._check_fits(length)
        return length

    def _push(self, length: int | None) -> None:
        end = None if length is None else self._window.position + length
        self._ends.append(end)
        self._limits.append(self._limits[-1] if end is None else end)

    def _check_fits(self, length: int) -> None:
        limit = self._limits[-1]
        if limit is not None and self._window.position + length > limit:
            raise MalformedDer(Phrase("a length goes beyond the end"))
