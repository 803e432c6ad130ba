"""The frames around a content in CMS: written before its end is known, closed or corrected after it."""

from typing import Protocol

from dojang.der import OCTET_STRING, SEQUENCE, header, integer, tlv
from dojang.signing import oids
from dojang.signing.output import Output
from dojang.signing.source import CHUNK

_VERSION = integer(1)
_INDEFINITE = b"\x80"
_END = b"\0\0"


class Rewritable(Output, Protocol):
    """An output that can go back to what it wrote."""

    def seek(self, position: int, whence: int = 0, /) -> int: ...
    def readinto(self, buffer: memoryview, /) -> int | None: ...


def detached(digest_algorithms: bytes, trailer: bytes, kind: bytes = oids.DATA) -> bytes:
    """A whole SignedData without its content, which is of that ``kind``: the DER of an OBJECT IDENTIFIER."""
    content = tlv(SEQUENCE, kind)
    signed_data = tlv(SEQUENCE, _VERSION, digest_algorithms, content, trailer)
    return tlv(SEQUENCE, oids.SIGNED_DATA, tlv(0xA0, signed_data))


def definite_opening(
    digest_algorithms: bytes, content_length: int, trailer_length: int, kind: bytes = oids.DATA
) -> bytes:
    """DER up to the first byte of the content, when it is known what will follow."""
    opening = header(OCTET_STRING, content_length)
    opening = header(0xA0, len(opening) + content_length) + opening
    opening = kind + opening
    opening = header(SEQUENCE, len(opening) + content_length) + opening
    opening = _VERSION + digest_algorithms + opening
    rest = content_length + trailer_length
    opening = header(SEQUENCE, len(opening) + rest) + opening
    opening = oids.SIGNED_DATA + header(0xA0, len(opening) + rest) + opening
    return header(SEQUENCE, len(opening) + rest) + opening


def indefinite_opening(digest_algorithms: bytes, kind: bytes = oids.DATA) -> bytes:
    """BER up to the first piece of the content, when nobody knows how much will come."""
    signed_data = bytes((SEQUENCE,)) + _INDEFINITE + _VERSION + digest_algorithms
    content = bytes((SEQUENCE,)) + _INDEFINITE + kind + b"\xa0" + _INDEFINITE + b"\x24" + _INDEFINITE
    return bytes((SEQUENCE,)) + _INDEFINITE + oids.SIGNED_DATA + b"\xa0" + _INDEFINITE + signed_data + content


def indefinite_piece(part: memoryview) -> bytes:
    """What stands before one piece of the content."""
    return header(OCTET_STRING, len(part))


def indefinite_closing(trailer: bytes) -> bytes:
    """Everything after the last piece."""
    return _END * 3 + trailer + _END * 3


def correct_opening(output: Rewritable, written: bytes, right: bytes, content_length: int) -> None:
    """Put the right opening in place of the written one, maybe some bytes longer, and go to the content's end."""
    if len(right) != len(written):
        _move(output, len(written), len(right), content_length)
    output.seek(0)
    output.write(right)
    output.seek(len(right) + content_length)


def _move(output: Rewritable, start: int, target: int, length: int) -> None:
    buffer = memoryview(bytearray(CHUNK))
    done = 0
    while done < length:
        output.seek(start + done)
        count = output.readinto(buffer[: min(CHUNK, length - done)]) or 0
        output.seek(target + done)
        output.write(buffer[:count])
        done += count
