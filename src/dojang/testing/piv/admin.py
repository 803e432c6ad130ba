"""The card management key (9B): proves with challenge and response that somebody may change what is on the card."""

import hmac
import os
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from dojang.testing.piv.apdu import Refused, Status
from dojang.testing.piv.tlv import tlv

KEY_REFERENCE: Final = 0x9B
TRIPLE_DES, AES_128, AES_192, AES_256 = 0x03, 0x08, 0x0A, 0x0C
_BLOCK: Final = {TRIPLE_DES: 8, AES_128: 16, AES_192: 16, AES_256: 16}
_KEY: Final = {TRIPLE_DES: 24, AES_128: 16, AES_192: 24, AES_256: 32}

WITNESS, CHALLENGE, RESPONSE = 0x80, 0x81, 0x82
"""Tags of the Dynamic Authentication Template (part 2, table 7)."""


class ManagementKey:
    """3DES or AES by its ``algorithm`` identifier; ``authenticated`` is what the last exchange came to."""

    def __init__(self, key: bytes, algorithm: int = TRIPLE_DES) -> None:
        if len(key) != _KEY[algorithm]:
            raise ValueError("the management key does not have the length of its algorithm")
        self._key = key
        self._algorithm = algorithm
        self._expected = b""
        self.authenticated = False

    def reset(self) -> None:
        """Power was lost."""
        self._expected = b""
        self.authenticated = False

    def authenticate(self, algorithm: int, template: dict[int, bytes]) -> bytes:
        """One step of external or mutual authentication; the content of the answer's template.

        ``algorithm`` 0 means 3DES (SP 800-78-4, table 6-2).
        """
        if (algorithm or TRIPLE_DES) != self._algorithm:
            raise Refused(Status.WRONG_P1_P2)
        if template.get(WITNESS) == b"":  # mutual: our witness, encrypted, for them to decrypt
            return tlv(WITNESS, self._encrypt(self._fresh()))
        if template.get(CHALLENGE) == b"":  # external: our challenge, for them to encrypt
            challenge = self._fresh()
            self._expected = self._encrypt(challenge)
            return tlv(CHALLENGE, challenge)
        self._prove(template.get(WITNESS) or template.get(RESPONSE) or b"")
        challenge = template.get(CHALLENGE, b"")
        if challenge and len(challenge) != _BLOCK[self._algorithm]:
            raise Refused(Status.WRONG_DATA)
        return tlv(RESPONSE, self._encrypt(challenge)) if challenge else b""

    def _fresh(self) -> bytes:
        self.authenticated = False
        self._expected = os.urandom(_BLOCK[self._algorithm])
        return self._expected

    def _prove(self, answer: bytes) -> None:
        expected, self._expected = self._expected, b""
        self.authenticated = bool(expected) and hmac.compare_digest(answer, expected)
        if not self.authenticated:
            raise Refused(Status.SECURITY_NOT_SATISFIED)

    def _encrypt(self, block: bytes) -> bytes:
        cipher = TripleDES(self._key) if self._algorithm == TRIPLE_DES else AES(self._key)
        encryptor = Cipher(cipher, modes.ECB()).encryptor()  # noqa: S305 - single blocks, as the standard has it
        return encryptor.update(block) + encryptor.finalize()
