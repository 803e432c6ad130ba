"""What the centre and a gateway that calls people say to each other, signed under a key that both have.

    X-Dojang-Timestamp   seconds since 1970
    X-Dojang-Nonce       32 hexadecimal digits, never the same
    X-Dojang-Signature   in hexadecimal, HMAC-SHA256 under the key over the lines

        dojang call request 1          (of a gateway's answer: dojang call outcome 1)
        the timestamp
        the nonce
        SHA-256 of the body, in hexadecimal

each of them ended by a line feed. Hexadecimal digits are in small letters. The first line keeps what one side said
from being sent back to it.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from dojang.secret import Secret

Direction = Literal["request", "outcome"]
TIMESTAMP: Final = "X-Dojang-Timestamp"
NONCE: Final = "X-Dojang-Nonce"
SIGNATURE: Final = "X-Dojang-Signature"
FRESH: Final = timedelta(minutes=5)
"""How far the clocks of both sides, and a message on its way, may be apart."""
SHORTEST_KEY: Final = 16

_TIME: Final = re.compile(r"[0-9]{1,12}")
_NONCE: Final = re.compile(r"[0-9a-f]{32}")


class Unsigned(Exception):
    """Not signed with the key, or not now."""


def signed(direction: Direction, body: bytes, key: Secret, at: datetime) -> dict[str, str]:
    """The header fields for a body."""
    timestamp, nonce = str(int(at.timestamp())), secrets.token_hex(16)
    signature = _signature(direction, timestamp, nonce, body, key)
    return {TIMESTAMP: timestamp, NONCE: nonce, SIGNATURE: signature}


def check_signed(direction: Direction, headers: Mapping[str, str], body: bytes, key: Secret, at: datetime) -> str:
    """The nonce of what was signed with the key just now; whether it was seen before is the caller's to ask.

    Raises ``Unsigned``, and does not say why.
    """
    timestamp, nonce = headers.get(TIMESTAMP, ""), headers.get(NONCE, "")
    known = _signature(direction, timestamp, nonce, body, key).encode()
    is_signed = hmac.compare_digest(known, headers.get(SIGNATURE, "").encode())
    if not (is_signed and _TIME.fullmatch(timestamp) and _NONCE.fullmatch(nonce)):
        raise Unsigned
    try:
        age = abs(at - datetime.fromtimestamp(int(timestamp), UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise Unsigned from error
    if age > FRESH:
        raise Unsigned
    return nonce


def _signature(direction: Direction, timestamp: str, nonce: str, body: bytes, key: Secret) -> str:
    lines = (f"dojang call {direction} 1", timestamp, nonce, hashlib.sha256(body).hexdigest())
    return hmac.new(key.reveal(), "".join(f"{line}\n" for line in lines).encode(), hashlib.sha256).hexdigest()
