"""Asking an authority that may want factors first: they are passed for the very request, and it is asked once more."""

from typing import TYPE_CHECKING

from dojang.errors import FactorMissing, Interrupted
from dojang.lifecycle.workplace import Step, Workplace

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority, Issued, Kind, Submission


def factor_steps(authority: "CertificateAuthority", profile: str, kind: "Kind") -> tuple[Step, ...]:
    """The step of a plan where factors are passed; an authority elsewhere says what it wants when it is asked."""
    from dojang.authority.base import TellsFactors
    from dojang.authority.factors.policy import choices
    from dojang.cmp.factors import in_words

    wanted = authority.factors_wanted(profile, kind) if isinstance(authority, TellsFactors) else None
    if wanted is None:
        return ()
    return (Step("factors", {"authority": authority.name, "factors": in_words(choices(wanted))}),)


def submit(place: Workplace, authority: "CertificateAuthority", submission: "Submission") -> "Issued":
    """The answer to a request. ``FactorMissing`` where factors are wanted and nobody is here to pass them, and
    ``Interrupted`` where whoever is here does not want to.

    Killed in between, nothing was issued, and what was passed expires: the next run takes the request back.
    """
    from dojang.authority.base import AsksForFactors

    try:
        return authority.submit(submission)
    except FactorMissing:
        if place.pass_factors is None or not isinstance(authority, AsksForFactors):
            raise
    place.say("factors")
    try:
        place.pass_factors(authority.factors_for(submission))
    except (KeyboardInterrupt, EOFError):  # whoever was asked went away: what was made does not wait for the next run
        raise Interrupted from None
    return authority.submit(submission)
