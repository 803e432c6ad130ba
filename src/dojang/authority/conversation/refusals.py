"""Errors of the authority as CMP says them: which bit of failInfo, and how much is told."""

from collections.abc import Mapping
from typing import Final, cast

from dojang.cmp.faults import CmpFault, FailInfo
from dojang.errors import (
    AuthorityExpired,
    AuthorityRefused,
    CodeRefused,
    DojangError,
    FactorMissing,
    FactorUnavailable,
    Phrase,
    TooManyTries,
)

# By the reason's template; what is not here is for whoever asks to correct in his request.
REASONS: Final[Mapping[str, FailInfo]] = {
    "renewal is possible from {days} days before expiry": FailInfo.NOT_AUTHORIZED,
    "the authority itself expires at {moment}, so renewing gains nothing": FailInfo.NOT_AUTHORIZED,
    "the old certificate has expired; a new one must be issued": FailInfo.SIGNER_NOT_TRUSTED,
    "the old certificate is {state}": FailInfo.CERT_REVOKED,
    "the old certificate was not issued here": FailInfo.BAD_CERT_ID,
    "the old certificate was replaced already": FailInfo.SIGNER_NOT_TRUSTED,
    "the certificate is revoked, which is final": FailInfo.CERT_REVOKED,
    "the profile '{profile}' does not allow a key that was certified before": FailInfo.DUPLICATE_CERT_REQ,
    "its own certificate is {state}": FailInfo.SYSTEM_FAILURE,
    "it does not issue by the profile '{profile}'": FailInfo.NOT_AUTHORIZED,
    "the profile '{profile}' wants a VID, which is made of the owner's number where the authority is, "
    "with --number-source": FailInfo.NOT_AUTHORIZED,
    "the transaction was cancelled": FailInfo.TRANSACTION_ID_IN_USE,
    "the transaction was used for another request": FailInfo.TRANSACTION_ID_IN_USE,
}


def fault_of(error: DojangError) -> CmpFault:
    """The fault. Of trouble inside only that there is some; the rest is for the log."""
    if isinstance(error, AuthorityRefused):
        problem = error.facts["problem"]
        template = problem.template if isinstance(problem, Phrase) else str(problem)
        return _with(REASONS.get(template, FailInfo.BAD_CERT_TEMPLATE), problem)
    if isinstance(error, FactorMissing):
        return _missing(error)
    if isinstance(error, FactorUnavailable):
        return _unavailable(error)
    if isinstance(error, CodeRefused):
        return _with(FailInfo.NOT_AUTHORIZED, error.facts["problem"])
    if isinstance(error, TooManyTries):
        return CmpFault(FailInfo.NOT_AUTHORIZED, "there were too many wrong codes from there")
    if isinstance(error, AuthorityExpired):
        return CmpFault(FailInfo.SYSTEM_FAILURE, "the authority cannot issue now")
    if error.retryable:
        return CmpFault(FailInfo.SYSTEM_UNAVAIL, "the authority cannot answer now; try again later")
    return CmpFault(FailInfo.SYSTEM_FAILURE, "the authority cannot answer")


def _missing(error: FactorMissing) -> CmpFault:
    """Told also so that a program can go on from there."""
    from dojang.cmp.factors import Wanted

    fault = CmpFault(FailInfo.NOT_AUTHORIZED, "it is issued only after: {missing}", missing=error.facts["missing"])
    ways = cast("tuple[tuple[str, ...], ...]", error.facts["ways"])
    passed = cast("tuple[str, ...]", error.facts["passed"])
    fault.information = (Wanted(ways, passed).information(),)
    return fault


def _unavailable(error: FactorUnavailable) -> CmpFault:
    """With what there is to do about it, where only the authority knows."""
    problem = error.facts["problem"]
    if error.next_step == FactorUnavailable.next_step:
        return _with(FailInfo.ADD_INFO_NOT_AVAILABLE, problem)
    advice = error.advice().rstrip(".")
    return CmpFault(FailInfo.ADD_INFO_NOT_AVAILABLE, "{problem}. {advice}", problem=problem, advice=advice)


def _with(failure: FailInfo, problem: object) -> CmpFault:
    if isinstance(problem, Phrase):
        return CmpFault(failure, problem.template, **problem.facts)
    return CmpFault(failure, "{problem}", problem=problem)
