"""``oath:DEVICE/ACCOUNT``: a seed on an OATH device, percent-encoded, as commands print it and take it."""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

from dojang.errors import InvalidAddress, Phrase

SCHEME: Final = "oath:"
_PLAIN: Final = ":@"
_PERIOD: Final = re.compile(r"([1-9]\d{0,4})/(.+)", re.ASCII | re.DOTALL)


def split_period(text: str) -> tuple[int | None, str]:
    """The seconds that stand before a name where a code by time is good for other than 30, and the name."""
    match = _PERIOD.fullmatch(text)
    return (int(match[1]), match[2]) if match else (None, text)


@dataclass(frozen=True, slots=True)
class OathAddress:
    """``device`` is a serial number or the name of a reader, ``None`` for the one that is plugged in; ``account`` is
    the name that the device knows, in its bytes, ``None`` for the device itself.
    """

    device: str | None = None
    account: bytes | None = None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``oath:``, ``oath:DEVICE``, ``oath:DEVICE/ACCOUNT`` or ``oath:/ACCOUNT``; ``InvalidAddress`` else."""
        if not text.startswith(SCHEME):
            raise _invalid(text, Phrase("it does not begin with {scheme}", scheme=SCHEME))
        written = text.removeprefix(SCHEME).encode(errors="surrogateescape")  # bytes of a shell that are no text
        device, _, account = written.partition(b"/")
        if b"/" in account:
            raise _invalid(text, Phrase("a '/' in the name of an account is written %2F"))
        try:
            return cls(unquote_to_bytes(device).decode() or None, unquote_to_bytes(account) or None)
        except UnicodeDecodeError:
            raise _invalid(text, Phrase("the name of the device is not UTF-8")) from None

    @property
    def name(self) -> str | None:
        """What people call the account, for a new one that is to be there."""
        return None if self.account is None else split_period(self.account.decode(errors="replace"))[1]

    def __str__(self) -> str:
        device = quote_from_bytes((self.device or "").encode(), safe=_PLAIN)
        account = "" if self.account is None else "/" + quote_from_bytes(self.account, safe=_PLAIN)
        return f"{SCHEME}{device}{account}"


def _invalid(text: str, problem: Phrase) -> InvalidAddress:
    advice = Phrase("Write it as oath:DEVICE/ACCOUNT; 'dojang otp list' prints addresses to paste.")
    return InvalidAddress(address=text, problem=problem, next_step=advice)
