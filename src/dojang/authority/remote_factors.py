"""Factors for an authority elsewhere: asked, prepared and answered in genm, before or after it has refused to issue.

Each question is a transaction of its own and is not kept: after a run that was killed, whoever asks begins anew, and
what was passed by then is told to be.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dojang.cmp.bodies import General, Information, Kind
from dojang.cmp.factors import (
    FACTOR_ANSWERED,
    FACTOR_PREPARED,
    FACTORS_WANTED,
    FactorRequest,
    Outcome,
    Prepared,
    Wanted,
)
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.urls import Target
from dojang.errors import (
    AnswerPending,
    AuthorityRefused,
    AuthorityUnreachable,
    AuthorityUntrusted,
    FactorUnavailable,
    Phrase,
)

if TYPE_CHECKING:
    from dojang.secret import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RemoteSitting:
    """Implements ``FactorSitting``. ``ask`` has a genm answered; ``authority`` is the URL."""

    authority: str
    ask: Callable[[General], General]
    occasion: str
    spki_der: bytes

    def wanted(self) -> Wanted:
        return self._read(Wanted.from_der, FACTORS_WANTED)

    def prepare(self, factor: str, device: str | None = None) -> Prepared:
        self._check_private(factor)
        return self._read(Prepared.from_der, FACTOR_PREPARED, factor, device)

    def answer(self, factor: str, code: "Secret | None" = None, device: str | None = None) -> Outcome:
        self._check_private(factor)
        return self._read(Outcome.from_der, FACTOR_ANSWERED, factor, device, code)

    def _read(
        self,
        read: Callable[[bytes | None], T],
        kind: str,
        factor: str | None = None,
        device: str | None = None,
        code: "Secret | None" = None,
    ) -> T:
        asked = FactorRequest(self.occasion, self.spki_der, factor, device, code)
        try:
            answer = self.ask(General(Kind.GENM, (Information(kind, asked.to_der()),)))
        except AuthorityRefused as error:
            raise self._unavailable(error, factor) from error
        except AnswerPending as error:  # no request waits for an answer: there is nothing to come back for
            problem = error.facts["problem"]
            raise AuthorityUnreachable(authority=self.authority, problem=problem, sent=True) from error
        try:
            (found,) = (one for one in answer.items if one.kind == kind)
            return read(found.value_der)
        except (CmpFault, ValueError) as error:
            problem = Phrase("its answer about factors cannot be read")
            raise AuthorityUntrusted(authority=self.authority, problem=problem) from error

    def _unavailable(self, error: AuthorityRefused, factor: str | None) -> AuthorityRefused | FactorUnavailable:
        """What it cannot ask for as things are, in its own words; every other refusal is what it was."""
        failures, said = error.facts.get("failures"), error.facts.get("said")
        if factor is None or failures != [FailInfo.ADD_INFO_NOT_AVAILABLE.spelling] or not said:
            return error
        return FactorUnavailable(
            authority=self.authority,
            factor=factor,
            problem=Phrase("it says: {said}", said=said),
            next_step=Phrase("Do as it says, then run the command again."),
        )

    def _check_private(self, factor: str) -> None:
        """A code goes over the line as it is typed."""
        target = Target.from_url(self.authority)
        if target.scheme != "https" and not _is_here(target.host):
            raise FactorUnavailable(
                authority=self.authority,
                factor=factor,
                problem=Phrase("others could read the code on its way over http"),
                next_step=Phrase("Name the authority by its https URL."),
            )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
