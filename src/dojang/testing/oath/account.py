"""One seed on a security key, and the codes that are computed from it (RFC 4226, RFC 6238)."""

import hmac
from dataclasses import dataclass, field
from typing import Final

HOTP, TOTP = 0x10, 0x20
HASHES: Final = {0x01: "sha1", 0x02: "sha256", 0x03: "sha512"}
ALWAYS_INCREASING, TOUCH = 0x01, 0x02


@dataclass(slots=True)
class Account:
    """``kind`` is type and hash in one byte, ``counter`` what the next HOTP code is computed from."""

    name: bytes
    kind: int
    digits: int
    seed: bytes = field(repr=False)
    properties: int = 0
    counter: int = 0
    last_challenge: bytes = b""

    @property
    def is_hotp(self) -> bool:
        return self.kind & 0xF0 == HOTP

    @property
    def wants_touch(self) -> bool:
        return bool(self.properties & TOUCH)

    def goes_back(self, challenge: bytes) -> bool:
        """Whether an earlier moment is asked for where only later ones are allowed."""
        return bool(self.properties & ALWAYS_INCREASING) and challenge < self.last_challenge

    def respond(self, challenge: bytes, *, whole: bool) -> bytes:
        """The number of digits, and the HMAC or the 31 bits of it that make the code; a HOTP counter moves on."""
        if self.is_hotp:
            challenge = self.counter.to_bytes(8, "big")
            self.counter += 1
        self.last_challenge = challenge
        mac = hmac.digest(self.seed, challenge, HASHES[self.kind & 0x0F])
        offset = mac[-1] & 0x0F
        bits = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
        return bytes([self.digits]) + (mac if whole else bits.to_bytes(4, "big"))
