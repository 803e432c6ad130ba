"""Commands to a card and status words from it (ISO/IEC 7816-4)."""

from enum import IntEnum
from typing import NamedTuple, Self

CHAINED = 0x10  # bit of CLA: more of this command follows
SHORT_ANSWER = 256


class Ins(IntEnum):
    """The instructions of the PIV card application (NIST SP 800-73-4, part 2, table 2), and one of Yubico's cards."""

    VERIFY = 0x20
    CHANGE_REFERENCE_DATA = 0x24
    RESET_RETRY_COUNTER = 0x2C
    GENERATE_ASYMMETRIC_KEY_PAIR = 0x47
    GENERAL_AUTHENTICATE = 0x87
    SELECT = 0xA4
    GET_RESPONSE = 0xC0
    GET_DATA = 0xCB
    PUT_DATA = 0xDB
    YUBICO_VERSION = 0xFD


class Status(IntEnum):
    """Status words (NIST SP 800-73-4, part 1, table 6)."""

    DONE = 0x9000
    MORE = 0x6100  # and how many bytes
    TRIES = 0x63C0  # and how many are left
    NOT_AS_EXPECTED = 0x6F00
    WRONG_LENGTH = 0x6700
    SECURITY_NOT_SATISFIED = 0x6982
    BLOCKED = 0x6983
    CONDITIONS_NOT_SATISFIED = 0x6985
    WRONG_DATA = 0x6A80
    NOT_SUPPORTED_HERE = 0x6A81
    NOT_FOUND = 0x6A82
    WRONG_P1_P2 = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    UNKNOWN_INS = 0x6D00
    UNKNOWN_CLA = 0x6E00


class Refused(Exception):
    """The card's answer is this status word and no data."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:04X}")
        self.status = status


class Command(NamedTuple):
    """One command APDU; ``expected`` is the most bytes that the answer may have."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes
    expected: int

    @classmethod
    def parse(cls, apdu: bytes) -> Self:
        """Short and extended forms of the four cases; ``Refused`` (6700) for anything else."""
        if len(apdu) < 4:
            raise Refused(Status.WRONG_LENGTH)
        cla, ins, p1, p2 = apdu[:4]
        body = apdu[4:]
        extended = len(body) >= 3 and body[0] == 0
        width = 2 if extended else 1
        body = body[1:] if extended else body
        count = int.from_bytes(body[:width], "big")
        if len(body) <= width:  # cases 1 and 2: no data
            return cls(cla, ins, p1, p2, b"", (count or 256**width) if body else SHORT_ANSWER)
        data, rest = body[width : width + count], body[width + count :]
        if len(data) != count or len(rest) not in (0, width):
            raise Refused(Status.WRONG_LENGTH)
        expected = int.from_bytes(rest, "big") or (256**width if rest else SHORT_ANSWER)
        return cls(cla, ins, p1, p2, data, expected)
