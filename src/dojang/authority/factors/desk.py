"""Where an applicant passes factors for one request, before it is issued.

    sitting = desk.sit(submission, subject, spki_der, source)
    sitting.wanted()                                     # which are missing, and what he has to pass them with
    sitting.prepare("sms")                               # a code is on its way
    sitting.answer("sms", code=Secret("123456"))         # passed, with evidence; or wrong, and so many tries left

Nobody else can pass one: an officer neither, who may only unlock and register. What is passed stays passed until it
expires or is used, so an answer that was lost can be asked for again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from dojang.authority.base import Submission
from dojang.authority.enrolment import tries
from dojang.authority.enrolment.policy import EnrolmentPolicy
from dojang.authority.enrolment.sources import source_of
from dojang.authority.factors import evidence
from dojang.authority.factors.checkers import Checker, Occasion
from dojang.authority.factors.claims import Claim, claim_of
from dojang.authority.factors.policy import FactorPolicy, choices
from dojang.cmp.factors import Offer, Outcome, Prepared, Wanted
from dojang.errors import (
    AnswerPending,
    FactorUnavailable,
    InvalidOtp,
    MessageCodeRefused,
    MessageUnsent,
    NotFound,
    NotPermitted,
    OtpIncorrect,
    OtpLocked,
    OtpWrong,
    Phrase,
    TooManyMessages,
    TooManyTries,
)
from dojang.x509.profiles.factors import FACTORS, Factors

if TYPE_CHECKING:
    from cryptography import x509

    from dojang.authority.database import Database
    from dojang.secret import Secret
    from dojang.x509.profiles import Profile

LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class FactorDesk:
    """The desk of one authority, for many threads and processes. ``limits`` are those of wrong codes from a source."""

    database: "Database"
    authority: str
    policy: FactorPolicy
    limits: EnrolmentPolicy
    checkers: Mapping[str, Checker]
    profile: "Callable[[str], Profile]"
    clock: Callable[[], datetime]

    def sit(self, submission: Submission, subject: "x509.Name", spki_der: bytes, source: str = LOCAL) -> "Sitting":
        """For this request; ``subject`` as the certificate will have it. ``AuthorityRefused`` for nobody's."""
        wanted = self.policy.wanted(self.profile(submission.profile), submission.kind)
        if wanted is None:
            return Sitting(self, None, None, source)
        with self.database.reading() as connection:
            claim = claim_of(connection, self.authority, submission, subject, spki_der)
        return Sitting(self, claim, wanted, source)


@dataclass(frozen=True, slots=True)
class Sitting:
    """Implements ``FactorSitting``: one applicant, about one request. ``rule`` is ``None`` where nothing is wanted."""

    desk: FactorDesk
    claim: Claim | None
    rule: Factors | None
    source: str

    @property
    def authority(self) -> str:
        return self.desk.authority

    def wanted(self) -> Wanted:
        """What is missing, with the devices that could pass it."""
        if self.claim is None or self.rule is None:
            return Wanted(ways=((),))
        passed = self._passed(self.claim)
        ways = choices(self.rule, passed)
        missing = [factor for factor in FACTORS if any(factor in way for way in ways)]
        offers = [offer for factor in missing for offer in self._offers(self.claim, factor)]
        return Wanted(ways, tuple(sorted(passed)), tuple(offers))

    def prepare(self, factor: str, device: str | None = None) -> Prepared:
        """Have a code sent, or a challenge made. ``FactorUnavailable``, ``TooManyTries``."""
        claim = self._claim_for(factor)
        with self._told(factor):
            self._check_source()
            return self._checker(factor).prepare(self._occasion(claim, factor), self._device(claim, factor, device))

    def answer(self, factor: str, code: "Secret | None" = None, device: str | None = None) -> Outcome:
        """Take a code; what came of it is on record when this returns. ``FactorUnavailable``, ``TooManyTries``."""
        claim = self._claim_for(factor)
        if factor in self._passed(claim):
            return Outcome("passed", self.wanted())
        with self._told(factor):
            self._check_source()
            state, left = self._checked(claim, factor, self._device(claim, factor, device), code)
        if state == "wrong" or left == 0:
            self._count_wrong()
        return Outcome(state, self.wanted(), left)

    def _checked(self, claim: Claim, factor: str, device: str, code: "Secret | None") -> tuple[str, int | None]:
        def entry(connection: Connection, by: str) -> None:
            evidence.write(connection, claim, factor, by, self.desk.clock(), self.desk.policy.lifetime)

        try:
            self._checker(factor).check(self._occasion(claim, factor), device, code, entry)
        except OtpWrong as error:
            return "wrong", _number(error.facts["left"])
        except OtpLocked:
            return "locked", 0
        except AnswerPending:
            return "waiting", None
        except (InvalidOtp, OtpIncorrect):
            return "wrong", None
        except MessageCodeRefused as error:
            return _told_of(error)
        return "passed", None

    def _claim_for(self, factor: str) -> Claim:
        if self.claim is None or self.rule is None or factor not in self.rule.named():
            raise self._unavailable(factor, Phrase("it is not asked for"))
        return self.claim

    def _passed(self, claim: Claim) -> set[str]:
        with self.desk.database.reading() as connection:
            return {one.factor for one in evidence.standing(connection, claim, self.desk.clock())}

    def _offers(self, claim: Claim, factor: str) -> list[Offer]:
        checker = self.desk.checkers.get(factor)
        return [] if checker is None else checker.offers(claim.applicant)

    def _checker(self, factor: str) -> Checker:
        found = self.desk.checkers.get(factor)
        if found is None:
            raise self._unavailable(factor, Phrase("the authority is not set up for it"))
        return found

    def _device(self, claim: Claim, factor: str, device: str | None) -> str:
        """The one that is named, or the only one; what is somebody else's does not exist."""
        offers = self._offers(claim, factor)
        if not offers:
            raise self._unavailable(factor, Phrase("the applicant has nothing for it that is in use"))
        if device is None and len(offers) > 1:
            shown = ", ".join(f"{one.device} ({one.shown})" for one in offers)
            raise self._unavailable(factor, Phrase("there are several, one must be named: {devices}", devices=shown))
        if device is not None and device not in {one.device for one in offers}:
            raise self._unavailable(factor, Phrase("the applicant has no such device"))
        return offers[0].device if device is None else device

    def _occasion(self, claim: Claim, factor: str) -> Occasion:
        return Occasion(claim.applicant, f"{claim.occasion}:{claim.request_hash.hex()[:32]}:{factor}", self.source)

    def _check_source(self) -> None:
        source, limits = source_of(self.source), self.desk.limits
        with self.desk.database.reading() as connection:
            tried = tries.tries_from(connection, source, limits, self.desk.clock())
        if tried >= limits.source_tries:
            minutes = int(limits.source_window.total_seconds() // 60)
            raise TooManyTries(authority=self.desk.authority, source=source, minutes=minutes)

    def _count_wrong(self) -> None:
        source, limits, at = source_of(self.source), self.desk.limits, self.desk.clock()
        self.desk.database.together(lambda connection: tries.count_source(connection, source, limits, at))

    @contextmanager
    def _told(self, factor: str) -> Iterator[None]:
        """Why a factor cannot be asked for, in the words of whoever was to ask for it."""
        try:
            yield
        except TooManyMessages as error:
            wait = Phrase("Ask again in {seconds} seconds.", seconds=error.facts["seconds"])
            raise self._unavailable(factor, error.facts["problem"], wait) from error
        except (MessageUnsent, NotPermitted) as error:
            raise self._unavailable(factor, error.facts["problem"]) from error
        except NotFound as error:
            raise self._unavailable(factor, Phrase("the applicant has nothing for it that is in use")) from error

    def _unavailable(self, factor: str, problem: object, next_step: Phrase | None = None) -> FactorUnavailable:
        return FactorUnavailable(
            authority=self.desk.authority, factor=factor[:32], problem=problem, next_step=next_step
        )


def _told_of(error: MessageCodeRefused) -> tuple[str, int | None]:
    """What was compared with no code, for none is live, is no try, and nothing is left of it."""
    state = error.facts["state"]
    if state in ("live", "spent"):
        return ("wrong" if state == "live" else "over"), _number(error.facts["tries_left"])
    return "over", None


def _number(fact: object) -> int | None:
    return fact if isinstance(fact, int) else None
