"""Reference numbers and authorization codes.

    reference   10 random digits
    code        the first 80 bits of HMAC-SHA256(K, "dojang enrolment code 1" 00 ‖ salt ‖ reference),
                as 16 characters of Crockford's base32

K is a secret on the authority's token that never leaves it. A code is therefore kept nowhere: whoever proves to know it
(by the MAC of a CMP message) is held against what the token computes anew. The database has the salt, and SHA-256 over
salt and code, which tells whether the token still computes what was handed out; 80 random bits need no slow hash.
"""

import hashlib
import hmac
import secrets
from typing import Final, Protocol

from dojang.errors import Phrase, StateUnreadable
from dojang.npki.vid import digits_of
from dojang.secret import Secret

REFERENCE_DIGITS: Final = 10
SALT_BYTES: Final = 16
CODE_CHARACTERS: Final = 16
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BITS: Final = 5
_CODE: Final = b"dojang enrolment code 1\0"
_DECOY: Final = b"dojang enrolment decoy 1\0"
_NUMBER: Final = b"dojang applicant number 1\0"


class CodeKey(Protocol):
    """The secret K. Nobody sees it; what it computes tells nothing about it."""

    def digest(self, message: bytes) -> bytes:
        """HMAC-SHA256 of the message under K."""
        ...


def new_reference() -> str:
    return f"{secrets.randbelow(10**REFERENCE_DIGITS):0{REFERENCE_DIGITS}d}"


def new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


def reference_in(text: str) -> str:
    """What somebody sent as a reference; ``-``, which is never one, for what has another form."""
    return text if len(text) == REFERENCE_DIGITS and text.isascii() and text.isdigit() else "-"


def code_of(key: CodeKey, reference: str, salt: bytes) -> Secret:
    """The code that belongs to a reference."""
    return _written(key.digest(_CODE + salt + reference.encode()))


def decoy_for(key: CodeKey, reference: str) -> Secret:
    """What an unknown or locked reference is answered with: as much work, and a code that nobody was ever given."""
    salt = hashlib.sha256(reference.encode()).digest()[:SALT_BYTES]
    return _written(key.digest(_DECOY + salt + reference.encode()))


def number_tag(key: CodeKey, number: Secret) -> bytes:
    """By what a resident or business number is found again, and nothing else: nobody without K can try numbers.

    However it is written: ``900101-1234567`` is the same. ``Usage`` for no such number.
    """
    return key.digest(_NUMBER + digits_of(number))


def hash_of(code: Secret, salt: bytes) -> bytes:
    return hashlib.sha256(salt + code.reveal()).digest()


def check_same(code: Secret, salt: bytes, code_hash: bytes, authority: str) -> None:
    """Raise ``StateUnreadable`` when the token computes another code than the one that was handed out."""
    if not hmac.compare_digest(hash_of(code, salt), code_hash):
        problem = Phrase("the key on the token is not the one that made its authorization codes")
        raise StateUnreadable(path=authority, problem=problem)


def _written(digest: bytes) -> Secret:
    number = int.from_bytes(digest[: CODE_CHARACTERS * _BITS // 8], "big")
    shifts = range((CODE_CHARACTERS - 1) * _BITS, -1, -_BITS)
    return Secret("".join(_ALPHABET[(number >> shift) & 31] for shift in shifts))
