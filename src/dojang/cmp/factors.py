"""What is asked and answered about factors, in genm and genp, by information types of our own.

    FACTORS_WANTED    FactorRequest             → what is wanted for this request, and what was passed
    FACTOR_PREPARED   FactorRequest, of one     → a code was sent or a call begun; which places of a card are asked for
    FACTOR_ANSWERED   FactorRequest with a code → what came of it

    FactorRequest ::= SEQUENCE {
        occasion  UTF8String,                     -- issue, renew or reissue
        key       OCTET STRING,                   -- SubjectPublicKeyInfo of the key that is to be certified
        factor    [0] UTF8String OPTIONAL,        -- otp, card, sms, mail or ars
        device    [1] UTF8String OPTIONAL,        -- one of those that were offered
        code      [2] OCTET STRING OPTIONAL }     -- as it is typed; of a call nothing is typed

A refusal for want of factors carries FACTORS_WANTED in its header, so that whoever did not know what is wanted comes
to know. A code is protected against change and not against being read: it is for TLS, or for this machine alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from cryptography.hazmat.asn1 import Explicit, sequence

from dojang.cmp.bodies import Information
from dojang.cmp.schema import decode, encode, few
from dojang.secret import Secret

_ARC: Final = "1.3.6.1.4.1.32473.410.3"
FACTORS_WANTED: Final = f"{_ARC}.1"
FACTOR_PREPARED: Final = f"{_ARC}.2"
FACTOR_ANSWERED: Final = f"{_ARC}.3"


@dataclass(frozen=True, slots=True)
class FactorRequest:
    """For which request, and then which factor, by which device, with which code."""

    occasion: str
    spki_der: bytes
    factor: str | None = None
    device: str | None = None
    code: Secret | None = None

    def to_der(self) -> bytes:
        code = None if self.code is None else self.code.reveal()
        return encode(
            _Request(occasion=self.occasion, key=self.spki_der, factor=self.factor, device=self.device, code=code)
        )

    @classmethod
    def from_der(cls, der: bytes | None) -> "FactorRequest":
        """Raises ``CmpFault`` with badDataFormat, as the others do."""
        found = decode(_Request, der or b"")
        code = None if found.code is None else Secret(found.code)
        return cls(found.occasion, found.key, found.factor, found.device, code)


@dataclass(frozen=True, slots=True)
class Offer:
    """A device that can pass a factor; ``shown`` is what its owner knows it by, masked."""

    factor: str
    device: str
    shown: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """``ways`` are the sets of factors of which one is still to be passed: an empty one when nothing is missing."""

    ways: tuple[tuple[str, ...], ...]
    passed: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()

    @property
    def is_enough(self) -> bool:
        return () in self.ways

    def information(self) -> Information:
        offers = [_Offer(factor=one.factor, device=one.device, shown=one.shown) for one in self.offers]
        content = _Wanted(ways=[list(way) for way in self.ways], passed=list(self.passed), offers=offers)
        return Information(FACTORS_WANTED, encode(content))

    @classmethod
    def from_der(cls, der: bytes | None) -> "Wanted":
        found = decode(_Wanted, der or b"")
        ways = tuple(tuple(few(way)) for way in few(found.ways))
        offers = tuple(Offer(one.factor, one.device, one.shown) for one in few(found.offers))
        return cls(ways, tuple(few(found.passed)), offers)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What has to be known to answer: where a code went and how long it works, or which places of a card.

    ``digits`` are for the screen of whoever takes a call, to be pressed there.
    """

    factor: str
    shown: str
    seconds: int | None = None
    places: tuple[int, int] | None = None
    digits: str | None = field(default=None, repr=False)

    def information(self) -> Information:
        places = None if self.places is None else list(self.places)
        content = _Prepared(
            factor=self.factor, shown=self.shown, seconds=self.seconds, places=places, digits=self.digits
        )
        return Information(FACTOR_PREPARED, encode(content))

    @classmethod
    def from_der(cls, der: bytes | None) -> "Prepared":
        found = decode(_Prepared, der or b"")
        places = None if found.places is None or len(found.places) != 2 else (found.places[0], found.places[1])
        return cls(found.factor, found.shown, found.seconds, places, found.digits)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``state`` is passed, wrong, locked, waiting (nothing was pressed yet) or over (no code is waited for any more).

    ``left`` are the tries that are left. ``wanted`` is what is missing now.
    """

    state: str
    wanted: Wanted
    left: int | None = None

    def information(self) -> Information:
        wanted = self.wanted.information().value_der or b""
        return Information(FACTOR_ANSWERED, encode(_Outcome(state=self.state, wanted=wanted, left=self.left)))

    @classmethod
    def from_der(cls, der: bytes | None) -> "Outcome":
        found = decode(_Outcome, der or b"")
        return cls(found.state, Wanted.from_der(found.wanted), found.left)


def in_words(ways: Sequence[Sequence[str]]) -> str:
    """Sets of factors as they are told everywhere: ``otp + sms | card + sms``."""
    return " | ".join(" + ".join(way) for way in ways)


def wanted_in(information: Sequence[Information]) -> Wanted | None:
    """What a refusal says that is missing; ``None`` where it was refused for something else."""
    return next((Wanted.from_der(one.value_der) for one in information if one.kind == FACTORS_WANTED), None)


@sequence
class _Request:
    occasion: str
    key: bytes
    factor: Annotated[str | None, Explicit(0)]
    device: Annotated[str | None, Explicit(1)]
    code: Annotated[bytes | None, Explicit(2)]


@sequence
class _Offer:
    factor: str
    device: str
    shown: str


@sequence
class _Wanted:
    ways: list[list[str]]
    passed: list[str]
    offers: list[_Offer]


@sequence
class _Prepared:
    factor: str
    shown: str
    seconds: Annotated[int | None, Explicit(0)]
    places: Annotated[list[int] | None, Explicit(1)]
    digits: Annotated[str | None, Explicit(2)]


@sequence
class _Outcome:
    state: str
    wanted: bytes
    left: Annotated[int | None, Explicit(0)]
