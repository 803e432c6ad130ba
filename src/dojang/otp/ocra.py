"""Codes for a challenge or a transaction (OCRA, RFC 6287): one-way, mutual, and as a plain signature."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from dojang.errors import InvalidOtp, Phrase
from dojang.otp import totp
from dojang.otp.truncation import HASHES, Hmac, truncated

PREFIX: Final = "OCRA-1"
LONGEST_SUITE: Final = 64
_QUESTION_BYTES: Final = 128
_FUNCTION: Final = re.compile(r"HOTP-(SHA1|SHA256|SHA512)-(0|4|5|6|7|8|9|10)", re.ASCII)
_INPUT: Final = re.compile(
    r"(?P<counter>C-)?Q(?P<form>[ANH])(?P<longest>\d\d)"
    r"(?:-P(?P<pin>SHA1|SHA256|SHA512))?(?:-S(?P<session>\d{3}))?(?:-T(?P<number>[1-9]?\d)(?P<unit>[SMH]))?",
    re.ASCII,
)
_SECONDS: Final = {"S": 1, "M": 60, "H": 3600}
_MOST: Final = {"S": 59, "M": 59, "H": 48}
_DIGITS: Final = frozenset("0123456789")
_HEXADECIMAL: Final = _DIGITS | frozenset("abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Suite:
    """What goes into a code and how it is computed (section 6), read from its text.

    ``form`` of the challenge: ``N`` digits, ``A`` letters and digits, ``H`` hexadecimal, of ``longest`` characters at
    most (4 to 64); ``pin_hash`` is the hash of the PIN that goes in, ``session`` the bytes of session data, ``period``
    the seconds of a time step. ``digits`` 0: the whole HMAC, in hexadecimal.
    """

    text: str
    hash_name: str
    digits: int
    counter: bool
    form: str
    longest: int
    pin_hash: str | None
    session: int | None
    period: int | None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read ``OCRA-1:HOTP-SHA1-6:QN08`` and the like (section 6); ``InvalidOtp`` for what is no suite."""
        parts = text.split(":") if len(text) <= LONGEST_SUITE else []
        if len(parts) != 3 or parts[0] != PREFIX:
            raise _no_suite(Phrase("it is written OCRA-1:HOTP-SHA1-6:QN08, three parts with ':' between them"))
        function, data = _FUNCTION.fullmatch(parts[1]), _INPUT.fullmatch(parts[2])
        if function is None:
            raise _no_suite(Phrase("its function is HOTP-SHA1, -SHA256 or -SHA512 and 0 or 4 to 10 digits"))
        if data is None:
            raise _no_suite(
                Phrase("its input is, in this order, C, QA, QN or QH with two digits, PSHA…, S with three, T…")
            )
        found = data.groupdict()
        longest, session = int(found["longest"]), found["session"]
        if not 4 <= longest <= 64:
            raise _no_suite(Phrase("a challenge has 4 to 64 characters"))
        if session is not None and not 1 <= int(session) <= 512:
            raise _no_suite(Phrase("session data has 1 to 512 bytes"))
        return cls(
            text=text,
            hash_name=function[1].lower(),
            digits=int(function[2]),
            counter=found["counter"] is not None,
            form=found["form"],
            longest=longest,
            pin_hash=found["pin"].lower() if found["pin"] else None,
            session=int(session) if session else None,
            period=_period(found["number"], found["unit"]) if found["unit"] else None,
        )

    def message(
        self,
        *challenges: str,
        counter: int | None = None,
        pin_hash: bytes | None = None,
        session: bytes | None = None,
        at: datetime | None = None,
    ) -> bytes:
        """What is put under the HMAC (5.1): the suite, a zero byte, and what the suite asks for and nothing else.

        One challenge, or two for a mutual answer, the other side's first (7.2). ``InvalidOtp`` where something is
        missing, too much or of the wrong form.
        """
        self._refuse_misfit(
            {"C": self.counter, "P": self.pin_hash, "S": self.session, "T": self.period},
            {"C": counter, "P": pin_hash, "S": session, "T": at},
        )
        parts = [self.text.encode(), b"\0"]
        if counter is not None:
            parts.append(counter.to_bytes(8, "big"))
        parts.append(self._question(challenges))
        if pin_hash is not None:
            parts.append(self._checked_pin_hash(pin_hash))
        if session is not None:
            parts.append(self._padded_session(session))
        if at is not None and self.period is not None:
            parts.append(totp.step(at, self.period).to_bytes(8, "big"))
        return b"".join(parts)

    def _refuse_misfit(self, wanted: dict[str, object], given: dict[str, object]) -> None:
        names = {
            "C": Phrase("a counter"),
            "P": Phrase("the hash of a PIN"),
            "S": Phrase("session data"),
            "T": Phrase("a time"),
        }
        for letter, name in names.items():
            asked = wanted[letter] not in (None, False)
            if asked and given[letter] is None:
                raise InvalidOtp(problem=Phrase("the suite {suite} takes {what}", suite=self.text, what=name))
            if given[letter] is not None and not asked:
                raise InvalidOtp(problem=Phrase("the suite {suite} does not take {what}", suite=self.text, what=name))

    def _question(self, challenges: tuple[str, ...]) -> bytes:
        """The challenge in 128 bytes: digits as a number in hexadecimal, filled up with zeros behind it (5.1)."""
        if not 1 <= len(challenges) <= 2:
            raise InvalidOtp(problem="there is one challenge, or two for a mutual answer")
        for challenge in challenges:
            self._check_form(challenge)
        text = "".join(challenges)
        if self.form == "A":
            return text.encode().ljust(_QUESTION_BYTES, b"\0")
        digits = f"{int(text):x}" if self.form == "N" else text
        return bytes.fromhex(digits.ljust(2 * _QUESTION_BYTES, "0"))

    def _check_form(self, challenge: str) -> None:
        if not 4 <= len(challenge) <= self.longest:
            raise InvalidOtp(problem=Phrase("a challenge has 4 to {longest} characters", longest=self.longest))
        letters = set(challenge)
        fits = {
            "N": letters <= _DIGITS,
            "H": letters <= _HEXADECIMAL,
            "A": challenge.isascii() and challenge.isalnum(),
        }
        if not fits[self.form]:
            problems = {
                "N": Phrase("the challenge has digits only"),
                "H": Phrase("the challenge has hexadecimal digits only"),
                "A": Phrase("the challenge has letters a to z and digits only"),
            }
            raise InvalidOtp(problem=problems[self.form])

    def _checked_pin_hash(self, pin_hash: bytes) -> bytes:
        if self.pin_hash is None or len(pin_hash) != HASHES[self.pin_hash]:
            raise InvalidOtp(problem=Phrase("the hash of the PIN is no {hash}", hash=self.pin_hash))
        return pin_hash

    def _padded_session(self, session: bytes) -> bytes:
        if self.session is None or len(session) > self.session:
            raise InvalidOtp(problem=Phrase("session data has at most {longest} bytes", longest=self.session))
        return session.rjust(self.session, b"\0")


def code(hmac: Hmac, suite: Suite, message: bytes) -> str:
    """The answer to a message of ``Suite.message``."""
    mac = hmac(message)
    return truncated(mac, suite.digits) if suite.digits else mac.hex()


def _period(number: str, unit: str) -> int:
    count = int(number)
    if not 1 <= count <= _MOST[unit]:
        raise _no_suite(Phrase("a time step takes 1 to 59 seconds, 1 to 59 minutes or 1 to 48 hours"))
    return count * _SECONDS[unit]


def _no_suite(problem: Phrase) -> InvalidOtp:
    return InvalidOtp(problem=Phrase("it is no OCRA suite: {problem}", problem=problem))
