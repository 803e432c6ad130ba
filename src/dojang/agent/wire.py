"""The words of the socket: frames and fields of the SSH agent protocol, and dojang's own extensions of it.

A frame is a length (uint32, big-endian) and so many bytes, the first of them its type. A client of one signature loads
this, so it imports nothing but ``struct``.
"""

from struct import Struct

TYPE_CHECKING = False  # importing typing would cost a short client as much as everything else here
if TYPE_CHECKING:
    from typing import Final

    from _typeshed import ReadableBuffer

FAILURE: "Final" = 5
SUCCESS: "Final" = 6
REQUEST_IDENTITIES: "Final" = 11
IDENTITIES_ANSWER: "Final" = 12
SIGN_REQUEST: "Final" = 13
SIGN_RESPONSE: "Final" = 14
LOCK: "Final" = 22
EXTENSION: "Final" = 27
EXTENSION_RESPONSE: "Final" = 29

RSA_SHA2_256: "Final" = 2
RSA_SHA2_512: "Final" = 4
"""Flags of a SIGN_REQUEST; without one of them an RSA key would have to sign over SHA-1."""

QUERY: "Final" = b"query"
FIND: "Final" = b"find@dojang"
SIGN: "Final" = b"sign@dojang"
ADD: "Final" = b"add@dojang"
LISTEN: "Final" = b"listen@dojang"
STATUS: "Final" = b"status@dojang"
STOP: "Final" = b"stop@dojang"
EXTENSIONS: "Final" = (QUERY, FIND, SIGN, ADD, STATUS, STOP)

OK, ABSENT, LOCKED, FAILED, WANTS_PIN = range(5)
"""How an answer to one of dojang's own requests begins. ABSENT: it does not serve this. FAILED: an error follows."""

DIGEST, MESSAGE = range(2)
"""What a signature is asked over."""

LONGEST_FRAME: "Final" = 17 << 20  # an Ed25519 signature is over a whole message, of at most 16 MiB
USUAL_FRAME: "Final" = 256 << 10  # what OpenSSH allows
NO_SALT: "Final" = 0xFFFFFFFF

_uint32 = Struct(">I")
pack_uint32 = _uint32.pack
_unpack_uint32 = _uint32.unpack_from


class Malformed(Exception):
    """A frame that does not hold what its type says."""


def string(data: "ReadableBuffer") -> bytes:
    """A field: its length and its bytes."""
    value = bytes(data)
    return pack_uint32(len(value)) + value


def frame(*parts: bytes) -> bytes:
    """A frame around ``parts``."""
    body = b"".join(parts)
    return pack_uint32(len(body)) + body


def answer(name: bytes, status: int, *fields: bytes) -> bytes:
    """What a request of dojang's own is answered with; ``fields`` are encoded already."""
    return frame(b"\x1d", string(name), bytes((status,)), *fields)


class Reader:
    """Reads fields from the front of a body; ``Malformed`` where there are none."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes, at: int = 0) -> None:
        self._body = body
        self._at = at

    def byte(self) -> int:
        at = self._at
        if at >= len(self._body):
            raise Malformed
        self._at = at + 1
        return self._body[at]

    def uint32(self) -> int:
        at = self._at
        if at + 4 > len(self._body):
            raise Malformed
        self._at = at + 4
        value: int = _unpack_uint32(self._body, at)[0]
        return value

    def string(self) -> bytes:
        size = self.uint32()
        at = self._at
        end = at + size
        if end > len(self._body):
            raise Malformed
        self._at = end
        return self._body[at:end]

    def text(self) -> str:
        try:
            return self.string().decode()
        except UnicodeDecodeError:
            raise Malformed from None

    def rest(self) -> bytes:
        """Everything that is left."""
        at, self._at = self._at, len(self._body)
        return self._body[at:]

    def end(self) -> None:
        """``Malformed`` if something is left."""
        if self._at != len(self._body):
            raise Malformed
