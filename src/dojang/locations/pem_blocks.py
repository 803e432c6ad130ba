"""The text of PEM files (RFC 7468): blocks between BEGIN and END, and what is written above them.

Names and ids stand above a block as ``openssl pkcs12`` prints them, where every program passes over them:

    Bag Attributes
        friendlyName: Hong
        localKeyID: 01 A4
    -----BEGIN CERTIFICATE-----
"""

import base64
import binascii
import re
from dataclasses import dataclass, field, replace
from typing import Final

from dojang.errors import Phrase

CERTIFICATE: Final = "CERTIFICATE"
PARKED: Final = "PARKED CERTIFICATE"
"""A certificate that is staged or retired: programs that take every CERTIFICATE for part of the chain pass it over."""

CERTIFICATES: Final = (CERTIFICATE, "X509 CERTIFICATE", PARKED)
ENCRYPTED_KEY: Final = "ENCRYPTED PRIVATE KEY"
PLAIN_KEY: Final = "PRIVATE KEY"
KEYS: Final = (ENCRYPTED_KEY, PLAIN_KEY, "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY")

MOST_BLOCKS: Final = 1000
_LINE: Final = 64
_LONGEST_KEY_ID: Final = 64
_BEGIN: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,60})-----\s*")
_HEADING: Final = re.compile(r"\s*Bag Attributes(?:: <Empty Attributes>)?\s*")
_NAME: Final = re.compile(r"\s*friendlyName: ?(.*?)\r?")
_KEY_ID: Final = re.compile(r"\s*localKeyID: *((?:[0-9A-Fa-f]{2} *)+)\s*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_ESCAPED: Final = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Block:
    """One block as it lies in its file; ``above`` is the text before it, but for the name and the id."""

    kind: str
    body: str = field(repr=False)  # from BEGIN to END
    above: str = field(default="", repr=False)
    name: str = ""
    key_id: bytes = b""

    @classmethod
    def of(cls, kind: str, der: bytes) -> "Block":
        """A new block."""
        text = base64.b64encode(der).decode()
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        return cls(kind, "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""]))

    @property
    def der(self) -> bytes:
        """What is inside; ``ValueError`` for what is not base64, or encrypted in the way of before PKCS#8."""
        lines = self.body.split("\n")[1:-2]
        try:
            return base64.b64decode("".join(line.strip() for line in lines), validate=True)
        except binascii.Error as error:
            raise ValueError("it is not base64") from error

    @property
    def asks(self) -> bool:
        """Whether it takes a password."""
        return self.kind == ENCRYPTED_KEY or "Proc-Type: 4,ENCRYPTED" in self.body

    def named(self, name: str, key_id: bytes) -> "Block":
        return replace(self, name=name, key_id=key_id)

    def as_kind(self, kind: str) -> "Block":
        """The same between other lines."""
        return self if kind == self.kind else replace(self, kind=kind, body=Block.of(kind, self.der).body)

    def to_text(self) -> str:
        """As it stands in the file."""
        known = [f"    friendlyName: {_shown(self.name)}"] if self.name else []
        known += [f"    localKeyID: {self.key_id.hex(' ').upper()}"] if self.key_id else []
        heading = "\n".join(["Bag Attributes", *known, ""]) if known else ""
        return heading + self.above + self.body


def read_blocks(data: bytes) -> tuple[list[Block], str]:
    """The blocks, and what stands after the last. ``ValueError`` when one has no end."""
    blocks: list[Block] = []
    above: list[str] = []
    body: list[str] = []
    for line in re.split(r"(?<=\n)", data.decode("utf-8", "surrogateescape")):
        begun = _BEGIN.fullmatch(line)
        if begun and body:
            raise ValueError(Phrase("a block has no end"))
        if begun:
            kind = begun[1]
        if begun or body:
            body.append(line)
        else:
            above.append(line)
        if body and line.rstrip() == f"-----END {kind}-----":
            blocks.append(_block(kind, body, above))
            body, above = [], []
    if body:
        raise ValueError(Phrase("a block has no end"))
    if len(blocks) > MOST_BLOCKS:
        raise ValueError(Phrase("it holds more than anybody keeps in a file"))
    return blocks, "".join(above)


def _block(kind: str, body: list[str], above: list[str]) -> Block:
    name, key_id, others = "", b"", []
    for line in above:
        text = line.removesuffix("\n")
        if matched := _NAME.fullmatch(text):
            name = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), matched[1])
        elif matched := _KEY_ID.fullmatch(text):
            key_id = bytes.fromhex(matched[1])[: _LONGEST_KEY_ID + 1]
        elif not _HEADING.fullmatch(text):
            others.append(line)
    whole = "".join([*body[:-1], body[-1].rstrip("\r\n") + "\n"])
    return Block(kind, whole, "".join(others), name, b"" if len(key_id) > _LONGEST_KEY_ID else key_id)


def _shown(name: str) -> str:
    """On one line."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", name)
