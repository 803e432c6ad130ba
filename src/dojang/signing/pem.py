"""PEM armour (RFC 7468) put on and taken off as a stream, for messages larger than memory."""

import binascii
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from dojang.der import MalformedDer
from dojang.errors import Phrase
from dojang.signing.output import Output

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LABELS = ("CMS", "PKCS7", "PKCS #7 SIGNED DATA")
_LINE_BYTES = 48
_LINE_TEXT = 64
_WHITE = b" \t\r\n"
_MAX_PREAMBLE = 1 << 16


class PemWriter:
    """Writes DER as PEM; ``close`` writes the last line. Between the two nothing is kept but one unfinished line."""

    def __init__(self, output: Output, label: str) -> None:
        """Write the opening line."""
        self._output = output
        self._label = label
        self._rest = b""
        output.write(f"-----BEGIN {label}-----\n".encode())

    def write(self, data: "ReadableBuffer", /) -> int:
        """Armour ``data``, which follows what was written before."""
        ready = self._rest + bytes(data)
        whole = len(ready) - len(ready) % _LINE_BYTES
        self._rest = ready[whole:]
        self._lines(ready[:whole])
        return memoryview(data).nbytes

    def close(self) -> None:
        """Write what is left and the closing line."""
        self._lines(self._rest)
        self._output.write(f"-----END {self._label}-----\n".encode())

    def _lines(self, data: bytes) -> None:
        text = binascii.b2a_base64(data, newline=False)
        whole, last = divmod(len(text), _LINE_TEXT)
        lines = struct.unpack(f"{_LINE_TEXT}s" * whole + f"{last}s", text)
        self._output.write(b"\n".join(lines) + (b"\n" if last else b""))


class PemReader:
    """Reads the DER out of a PEM stream; text before the opening line is passed over, up to 64 KiB."""

    def __init__(self, read: Callable[[], bytes], start: bytes) -> None:
        """``start`` is what has been read already; ``read`` gives the next bytes, none at the end."""
        self._read = read
        self._text = b""
        self._ended = False
        self._text = self._after_opening(start)

    def next(self) -> bytes:
        """The next decoded bytes, none after the closing line. ``MalformedDer`` on damage."""
        while not self._ended:
            end = self._text.find(b"-")
            if end >= 0:
                self._ended = True
                self._check_closing(self._text[end:])
                return _decode(self._text[:end], last=True)
            whole = max(0, len(self._text) - 4) & ~3  # the last group may be padded, which only the end allows
            decoded, self._text = _decode(self._text[:whole]), self._text[whole:] + self._more()
            if decoded:
                return decoded
        return b""

    def _more(self) -> bytes:
        text = self._read()
        if not text:
            raise MalformedDer(Phrase("the closing PEM line is missing"))
        return text.translate(None, _WHITE)

    def _after_opening(self, text: bytes) -> bytes:
        while (opening := text.find(b"-----BEGIN ")) < 0 or (line := text.find(b"\n", opening)) < 0:
            more = self._read()
            if not more or len(text) > _MAX_PREAMBLE:
                raise MalformedDer(Phrase("it is neither DER nor PEM"))
            text += more
        self._label = text[opening:line].strip()[len(b"-----BEGIN ") : -len(b"-----")].decode("latin-1")
        if self._label not in LABELS:
            raise MalformedDer(Phrase("it holds {label!r}", label=self._label[:40]))
        return text[line:].translate(None, _WHITE)

    def _check_closing(self, text: bytes) -> None:
        wanted = f"-----END {self._label}-----".encode().translate(None, _WHITE)
        while len(text) < len(wanted) and (more := self._read()):
            text += more.translate(None, _WHITE)
        if not text.startswith(wanted):
            raise MalformedDer(Phrase("the closing PEM line is damaged"))


def _decode(text: bytes, *, last: bool = False) -> bytes:
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise MalformedDer(Phrase("the base64 text is damaged")) from error
    if not last and text.endswith(b"="):
        raise MalformedDer(Phrase("the base64 text ends too early"))
    return decoded
