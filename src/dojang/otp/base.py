"""What every device that computes codes can do: a token with seeds for keys, a security key with the OATH applet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dojang.otp.parameters import OtpParameters
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.guard import PinGuard
    from dojang.pkcs11.pin import PinProvider


@dataclass(frozen=True, slots=True)
class Seed:
    """One seed as its device tells of it; ``address`` can be pasted into the next command.

    ``touch``: the device wants to be touched for each code. ``problem`` tells why it cannot be used, where it cannot.
    ``key_id`` is its CKA_ID on a token, the credential's id in an OATH applet.
    """

    address: str
    name: str
    parameters: OtpParameters
    key_id: bytes = b""
    touch: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class NewSeed:
    """A seed to be put into a device: what it is called, how it is computed, and, where it was made elsewhere, itself.

    ``counter`` is the first one that will be used. ``touch`` where the device can be told to want one.
    """

    name: str
    parameters: OtpParameters
    secret: Secret | None = None
    counter: int = 0
    touch: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Code:
    """A code that was computed, and what it is good for: until a moment, or for a counter. Secret until it is used."""

    code: str
    valid_until: datetime | None = None
    counter: int | None = None

    def __repr__(self) -> str:
        return "Code(…)"


@dataclass(frozen=True, slots=True)
class Question:
    """What an OCRA code answers: one challenge, or two for a mutual answer; the rest as its suite asks for it."""

    challenges: tuple[str, ...]
    pin: Secret | None = None
    session: bytes | None = None


class OtpDevice(Protocol):
    """Lists, adds, computes and deletes. Whatever only some can do is a Protocol of its own, which callers check for.

    The clock comes in with each code; nothing here logs or keeps one.
    """

    @property
    def address(self) -> str: ...

    @property
    def name(self) -> str:
        """What people call it: the label of a token, the serial number of a security key."""
        ...

    @property
    def serial(self) -> str:
        """What is typed to show that this device is meant where something is destroyed."""
        ...

    def seeds(self) -> Iterator[Seed]:
        """Every seed, without computing anything."""
        ...

    def find(self, address: str) -> Seed:
        """The one seed that ``address`` names, or the only one; ``NotFound``, ``Ambiguous``."""
        ...

    def add(self, new: NewSeed) -> Seed:
        """Put a seed in and prove it; taken back on failure.

        ``AlreadyExists`` for a name in use, ``UnsupportedOperation`` for what the device cannot compute.
        """
        ...

    def code(self, seed: Seed, at: datetime) -> Code:
        """The code by time, or the next one by counter, which is used up when this returns."""
        ...

    def delete(self, seed: Seed) -> None:
        """Remove it for good; one that is gone already is no error."""
        ...


@runtime_checkable
class MakesSeeds(Protocol):
    """A device that makes a seed itself, which nobody ever sees: ``add`` takes a ``NewSeed`` without a secret."""

    def makes(self, parameters: OtpParameters) -> bool: ...


@runtime_checkable
class AnswersChallenges(Protocol):
    """A device that computes OCRA (RFC 6287)."""

    def answer(self, seed: Seed, question: Question, at: datetime) -> Code: ...


@runtime_checkable
class ChecksCodes(Protocol):
    """A device whose codes can be checked with the seed that it keeps, and whose counter can be set forward."""

    def verify(self, seed: Seed, code: Secret, at: datetime, question: Question | None = None) -> None:
        """Accept a code once; ``OtpIncorrect`` or ``OtpReplayed`` otherwise. What it costs is durable before."""
        ...

    def resync(self, seed: Seed, first: Secret, second: Secret, at: datetime) -> int:
        """Find two codes that follow each other, further ahead than ``verify`` looks; the counter that is next."""
        ...

    def set_counter(self, seed: Seed, counter: int) -> int:
        """Go forward to ``counter``, never back (``NotPermitted``)."""
        ...


def _nobody(purpose: str) -> Secret:
    from dojang.errors import InputRequired, Phrase

    raise InputRequired(what=Phrase("A password"), option="--password-source")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Access:
    """What opening a device may take: where modules are, who gives PINs and passwords, how careful to be with them,
    where counters are kept, who is told that the device waits for a touch, and the clock.
    """

    counters: Path
    search: "ModuleSearch | None" = None
    pins: "PinProvider | Secret | None" = None
    passwords: Callable[[str], Secret] = field(default=_nobody)
    guard: "PinGuard | None" = None
    last_try: bool = False
    wants_touch: Callable[[], None] = field(default=lambda: None)
    now: Callable[[], datetime] = field(default=_now)
