"""What can be wrong with a message, in CMP's own words (PKIFailureInfo, RFC 9810 section 5.2.3)."""

from enum import IntEnum
from typing import TYPE_CHECKING

from dojang.errors import Phrase

if TYPE_CHECKING:
    from dojang.cmp.bodies import Information


class FailInfo(IntEnum):
    """PKIFailureInfo: the number is that of the bit."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    BAD_DATA_FORMAT = 5
    WRONG_AUTHORITY = 6
    INCORRECT_DATA = 7
    MISSING_TIME_STAMP = 8
    BAD_POP = 9
    CERT_REVOKED = 10
    CERT_CONFIRMED = 11
    WRONG_INTEGRITY = 12
    BAD_RECIPIENT_NONCE = 13
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    BAD_SENDER_NONCE = 18
    BAD_CERT_TEMPLATE = 19
    SIGNER_NOT_TRUSTED = 20
    TRANSACTION_ID_IN_USE = 21
    UNSUPPORTED_VERSION = 22
    NOT_AUTHORIZED = 23
    SYSTEM_UNAVAIL = 24
    SYSTEM_FAILURE = 25
    DUPLICATE_CERT_REQ = 26

    @property
    def spelling(self) -> str:
        """As the standard writes it: ``badMessageCheck``."""
        first, *rest = self.name.lower().split("_")
        return "badPOP" if self is FailInfo.BAD_POP else first + "".join(map(str.capitalize, rest))


class PkiStatus(IntEnum):
    """PKIStatus."""

    ACCEPTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5
    KEY_UPDATE_WARNING = 6


class CmpFault(Exception):
    """A message that is refused: the status, the bits of failInfo, and a sentence that can be translated.

    It stays between the rooms that speak CMP: what a user or a log sees is made of it there.
    """

    status = PkiStatus.REJECTION
    information: "tuple[Information, ...]" = ()
    """For the header of the answer: what a program may go on by."""

    def __init__(self, failure: FailInfo, template: str, **facts: object) -> None:
        self.failure, self.phrase = failure, Phrase(template, **facts)
        super().__init__(f"{failure.spelling}: {self.phrase}")


def failure_bits(failures: frozenset[FailInfo]) -> tuple[bytes, int]:
    """The named bits as DER wants them, without zeros at the end, and how many bits of the last octet are unused."""
    size = max(failures, default=-1) + 1
    value = sum(1 << (size - 1 - failure) for failure in failures)
    unused = -size % 8
    return (value << unused).to_bytes((size + 7) // 8, "big"), unused


def failures_in(bits: bytes, unused: int) -> frozenset[FailInfo]:
    """The bits that are set, as far as they are known."""
    size = len(bits) * 8 - unused
    value = int.from_bytes(bits, "big") >> unused
    return frozenset(failure for failure in FailInfo if failure < size and value >> (size - 1 - failure) & 1)
