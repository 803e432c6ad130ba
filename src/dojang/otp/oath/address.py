"""``oath:DEVICE/ACCOUNT``: a seed on an OATH device, percent-encoded, as commands print it and take it."""

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

from dojang.errors import InvalidAddress, Phrase

SCHEME: Final = "oath:"
_PLAIN: Final = ":@"


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
            raise InvalidAddress(address=text, problem=Phrase("it does not begin with {scheme}", scheme=SCHEME))
        device, _, account = text.removeprefix(SCHEME).partition("/")
        if "/" in account:
            raise InvalidAddress(address=text, problem="a '/' in the name of an account is written %2F")
        try:
            return cls(unquote_to_bytes(device).decode() or None, unquote_to_bytes(account) or None)
        except UnicodeDecodeError:
            raise InvalidAddress(address=text, problem="the name of the device is not UTF-8") from None

    def __str__(self) -> str:
        device = quote_from_bytes((self.device or "").encode(), safe=_PLAIN)
        account = "" if self.account is None else "/" + quote_from_bytes(self.account, safe=_PLAIN)
        return f"{SCHEME}{device}{account}"
