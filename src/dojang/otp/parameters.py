"""What must be known of a seed, beside the seed, to compute its codes."""

import json
from dataclasses import dataclass
from typing import Final, Self

from dojang.errors import InvalidOtp, Phrase
from dojang.otp.ocra import Suite
from dojang.otp.truncation import HASHES

KINDS: Final = ("totp", "hotp", "ocra")
DIGITS: Final = (6, 7, 8)
PERIODS: Final = (30, 60)
LONGEST_NAME: Final = 255
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class OtpParameters:
    """How the codes of one seed are computed and whose they are; checked when made (``InvalidOtp``), none secret.

    For OCRA the suite says hash and digits, and both are taken from it.
    """

    kind: str = "totp"
    hash_name: str = "sha1"
    digits: int = 6
    period: int = 30
    suite: str | None = None
    issuer: str = ""
    account: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidOtp(problem=Phrase("the kind is one of {kinds}", kinds=", ".join(KINDS)))
        if (self.kind == "ocra") != (self.suite is not None):
            raise InvalidOtp(problem="OCRA has a suite, and nothing else has")
        if self.suite is not None:
            suite = Suite.from_text(self.suite)
            object.__setattr__(self, "hash_name", suite.hash_name)
            object.__setattr__(self, "digits", suite.digits)
            object.__setattr__(self, "period", suite.period or 30)
        self._check_numbers()
        for name in (self.issuer, self.account):
            if len(name) > LONGEST_NAME or not (name.isprintable() or not name):
                raise InvalidOtp(problem="issuer and account are texts of one line and at most 255 characters")

    def _check_numbers(self) -> None:
        if self.hash_name not in HASHES:
            raise InvalidOtp(problem=Phrase("the hash is one of {hashes}", hashes=", ".join(HASHES)))
        if self.suite is None and self.digits not in DIGITS:
            raise InvalidOtp(problem="a code has 6, 7 or 8 digits")
        if self.suite is None and self.period not in PERIODS:
            raise InvalidOtp(problem="a time step takes 30 or 60 seconds")

    @property
    def ocra(self) -> Suite:
        """The suite, for a seed of that kind."""
        if self.suite is None:
            raise InvalidOtp(problem="OCRA has a suite, and nothing else has")
        return Suite.from_text(self.suite)

    @property
    def counts(self) -> bool:
        """Whether a counter goes into the codes."""
        return self.kind == "hotp" or (self.suite is not None and self.ocra.counter)

    def to_bytes(self) -> bytes:
        """As it is kept beside the seed."""
        facts = {
            "version": _VERSION,
            "kind": self.kind,
            "hash": self.hash_name,
            "digits": self.digits,
            "period": self.period,
            "suite": self.suite,
            "issuer": self.issuer,
            "account": self.account,
        }
        return json.dumps({name: fact for name, fact in facts.items() if fact not in (None, "")}).encode()

    @classmethod
    def from_bytes(cls, kept: bytes) -> Self:
        """What ``to_bytes`` has written; ``InvalidOtp`` for anything else."""
        try:
            facts = json.loads(kept)
        except (ValueError, RecursionError) as error:
            raise InvalidOtp(problem="what is kept beside the seed cannot be read") from error
        if not isinstance(facts, dict) or facts.pop("version", None) != _VERSION:
            raise InvalidOtp(problem="what is kept beside the seed is of another version")
        kinds = {"kind": str, "hash": str, "digits": int, "period": int, "suite": str, "issuer": str, "account": str}
        if any(type(fact) is not kinds.get(name) for name, fact in facts.items()):
            raise InvalidOtp(problem="what is kept beside the seed cannot be read")
        facts["hash_name"] = facts.pop("hash", None)
        return cls(**facts)
