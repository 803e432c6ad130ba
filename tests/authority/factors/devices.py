"""Factors whose codes are known to the test, checked as the real ones are: counted, and taken with the evidence."""

from dataclasses import replace
from typing import Any

from tests.authority.conversation.conftest import Counter

from dojang.authority import LocalAuthority
from dojang.authority.database import Database
from dojang.authority.enrolment.policy import EnrolmentPolicy
from dojang.authority.factors.checkers import Occasion
from dojang.authority.factors.desk import FactorDesk
from dojang.cmp.factors import Offer, Prepared
from dojang.errors import OtpLocked, OtpWrong
from dojang.secret import Secret

RIGHT = Secret("246810")
WRONG = Secret("000000")


class KnownCode:
    """Implements ``Checker``; three wrong codes lock it. ``of`` has the devices of each applicant."""

    def __init__(self, factor: str, database: Database, of: dict[str, tuple[str, ...]]) -> None:
        self.factor, self.of, self.left, self.prepared = factor, of, 3, list[str]()
        self._database = database

    def offers(self, applicant: str) -> list[Offer]:
        return [Offer(self.factor, one, f"*{one}") for one in self.of.get(applicant, ())]

    def prepare(self, occasion: Occasion, device: str) -> Prepared:
        self.prepared.append(occasion.purpose)
        return Prepared(self.factor, device, places=(8, 35))

    def check(self, occasion: Occasion, device: str, code: Secret | None, entry: Any) -> None:
        if self.left == 0:
            raise OtpLocked(what=device, command="-")
        if code != RIGHT:
            self.left -= 1
            raise OtpWrong(what=device, left=self.left)
        self._database.together(lambda connection: entry(connection, device))


def desk_with(authority: LocalAuthority, applicant: str, **limits: int) -> FactorDesk:
    """The authority's own desk, with a device for each of three factors, and two cards."""
    known = {
        factor: KnownCode(factor, authority.database, {applicant: devices})
        for factor, devices in {"sms": ("one",), "otp": ("one",), "card": ("first", "second")}.items()
    }
    return replace(authority.factors, checkers=known, limits=EnrolmentPolicy(**limits))


def seat(counter: Counter, applicant: str) -> None:
    """Whoever asks this authority from now on comes to that desk."""
    counter.authority.__dict__["factors"] = desk_with(counter.authority, applicant)
