"""Codes by counter (RFC 4226)."""

from dojang.otp.truncation import Hmac, truncated

LARGEST_COUNTER = (1 << 64) - 1


def message(counter: int) -> bytes:
    """What is put under the HMAC: the counter in eight bytes."""
    return counter.to_bytes(8, "big")


def code(hmac: Hmac, counter: int, digits: int = 6) -> str:
    """The code of one counter, which is put under the HMAC in eight bytes; a counter is used once."""
    return truncated(hmac(counter.to_bytes(8, "big")), digits)


def counters(following: int, ahead: int) -> range:
    """The counters that are good where ``following`` is the next one: it, and ``ahead`` more that nobody has shown."""
    return range(following, min(following + ahead, LARGEST_COUNTER) + 1)
