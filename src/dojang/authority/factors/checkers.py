"""Who says that a factor was passed: registered devices, security cards and codes by message; nobody else can.

Each is asked in its own way. ``entry`` is recorded in the transaction that takes a right code, which is then worth
nothing more; a run that is killed before that has passed nothing, and the next code is tried.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import Connection

from dojang.cmp.factors import Offer, Prepared

if TYPE_CHECKING:
    from dojang.authority.factors.messages import AuthorityMessages
    from dojang.otp.cards import Cards
    from dojang.otp.devices import Devices
    from dojang.otp.messages.targets import Channel
    from dojang.secret import Secret

Entry = Callable[[Connection, str], None]
"""Given the device that said so."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """Who is asked for a factor, and for what: ``purpose`` is told apart from every other request of his."""

    applicant: str
    purpose: str
    source: str


class Checker(Protocol):
    """One kind of factor."""

    def offers(self, applicant: str) -> list[Offer]:
        """What the applicant has to pass it with, as he knows it; empty where he has nothing."""
        ...

    def prepare(self, occasion: Occasion, device: str) -> Prepared:
        """Whatever comes before the answer; nothing where a device shows its code anyway."""
        ...

    def check(self, occasion: Occasion, device: str, code: "Secret | None", entry: Entry) -> None:
        """Take the code once.

        Raises ``OtpWrong``, ``OtpIncorrect``, ``OtpLocked``, ``MessageCodeRefused``, ``AnswerPending``.
        """
        ...


class DeviceChecker:
    """Registered devices that compute codes: by time or counter unasked, OCRA for a challenge that is typed into it."""

    factor: Final = "otp"

    def __init__(self, devices: "Callable[[], Devices]") -> None:
        self._devices = devices

    def offers(self, applicant: str) -> list[Offer]:
        found = self._devices().listed(applicant=applicant)
        return [Offer(self.factor, one.id, one.name or _tail(one.id)) for one in found if one.state == "active"]

    def prepare(self, occasion: Occasion, device: str) -> Prepared:
        known = self._devices().device(device)
        asked = self._devices().challenge(device) if known.parameters.kind == "ocra" else None
        return Prepared(self.factor, known.name or _tail(device), digits=asked)

    def check(self, occasion: Occasion, device: str, code: "Secret | None", entry: Entry) -> None:
        self._devices().verify(device, _typed(code), lambda connection: entry(connection, device))


class CardChecker:
    """Security cards: two halves of what is printed at two places."""

    factor: Final = "card"

    def __init__(self, cards: "Callable[[], Cards]") -> None:
        self._cards = cards

    def offers(self, applicant: str) -> list[Offer]:
        found = self._cards().listed(applicant=applicant)
        return [Offer(self.factor, one.number, _tail(one.number)) for one in found if one.state == "active"]

    def prepare(self, occasion: Occasion, device: str) -> Prepared:
        asked = self._cards().challenge(device)
        assert asked.first is not None
        assert asked.second is not None
        return Prepared(self.factor, _tail(device), places=(asked.first, asked.second))

    def check(self, occasion: Occasion, device: str, code: "Secret | None", entry: Entry) -> None:
        self._cards().verify(device, _typed(code), lambda connection: entry(connection, device))


class MessageChecker:
    """Codes that come by text message, mail or call, to where the office has written that the applicant is reached."""

    def __init__(
        self, channel: "Channel", messages: "Callable[[], AuthorityMessages]", clock: Callable[[], datetime]
    ) -> None:
        self.factor: Channel = channel
        self._messages, self._clock = messages, clock

    def offers(self, applicant: str) -> list[Offer]:
        target = self._messages().target(applicant, self.factor)
        return [] if target is None else [Offer(self.factor, "", target.masked)]

    def prepare(self, occasion: Occasion, device: str) -> Prepared:
        sent = self._messages().start(occasion.applicant, self.factor, occasion.purpose, occasion.source)
        digits = None if sent.shown is None else sent.shown.reveal().decode()
        seconds = int((sent.expires_at - self._clock()).total_seconds())
        return Prepared(self.factor, sent.target, seconds=seconds, digits=digits)

    def check(self, occasion: Occasion, device: str, code: "Secret | None", entry: Entry) -> None:
        answered = None if self.factor == "ars" else _typed(code)
        self._messages().answer(
            occasion.applicant,
            occasion.purpose,
            answered,
            lambda connection, passed: entry(connection, passed.device),
        )


def _typed(code: "Secret | None") -> "Secret":
    from dojang.secret import Secret

    return Secret("") if code is None else code


def _tail(number: str) -> str:
    """Enough for its owner to know it by."""
    return f"…{number[-4:]}"
