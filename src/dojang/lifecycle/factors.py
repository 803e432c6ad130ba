"""Asking an authority that may want factors first: they are passed for the very request, and it is asked once more."""

from typing import TYPE_CHECKING

from dojang.errors import FactorMissing
from dojang.lifecycle.workplace import Workplace

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority, Issued, Submission


def submit(place: Workplace, authority: "CertificateAuthority", submission: "Submission") -> "Issued":
    """The answer to a request. ``FactorMissing`` where factors are wanted and nobody is here to pass them.

    Killed in between, nothing was issued, and what was passed expires: the next run takes the request back.
    """
    from dojang.authority.base import AsksForFactors

    try:
        return authority.submit(submission)
    except FactorMissing:
        if place.pass_factors is None or not isinstance(authority, AsksForFactors):
            raise
    place.say("factors")
    place.pass_factors(authority.factors_for(submission))
    return authority.submit(submission)
