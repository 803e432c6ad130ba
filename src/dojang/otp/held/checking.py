"""Codes checked with a seed that is at hand: which are looked at, and that each is accepted once.

What is accepted is written down, durably, before anybody is told; of those who try one code at the same time, one is.
Wrong codes are not counted: whoever may ask the token to check may ask it for the code.
"""

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Final

from dojang.errors import OtpIncorrect, OtpReplayed
from dojang.otp import hotp, totp
from dojang.otp.base import Seed
from dojang.otp.held.counters import Count, Counters
from dojang.otp.parameters import OtpParameters
from dojang.otp.truncation import same
from dojang.secret import Secret

LOOK_AHEAD: Final = 10
"""Codes by counter that may have been shown and not used before the one that is given (RFC 4226, 7.4)."""
STEPS_AROUND: Final = 1
"""Time steps before and after the present one that are good (RFC 6238, 5.2)."""
RESYNC_COUNTERS: Final = 1000
RESYNC_STEPS: Final = 120
"""How far two codes in a row are looked for: by time, an hour at 30 seconds, each way."""


def verify(
    counters: Counters, counted: str, seed: Seed, compute: Callable[[int], str], code: Secret, at: datetime
) -> None:
    """As ``ChecksCodes.verify``; ``counted`` is the seed's name among the counters."""
    parameters, given = seed.parameters, _typed(code)
    window = looked_at(parameters, counters.known(counted) or Count(), at)
    # All are computed and compared, so that the time tells nothing of which one it was.
    matching = [number for number in window if same(compute(number), given)]
    if not matching:
        raise OtpIncorrect(what=seed.name)
    if not (parameters.counts or _by_time(parameters)):
        return  # a bare challenge has one answer; whoever asks does not ask the same twice
    for number in matching:
        if counters.accept(counted, number, drift=_drift(parameters, number, at)):
            return
    raise OtpReplayed(what=seed.name)


def resync(
    counters: Counters,
    counted: str,
    seed: Seed,
    compute: Callable[[int], str],
    codes: tuple[Secret, Secret],
    at: datetime,
) -> int:
    """As ``ChecksCodes.resync``."""
    parameters, count = seed.parameters, counters.known(counted) or Count()
    first, second = map(_typed, codes)
    if parameters.counts:
        window = hotp.counters(count.accepted, RESYNC_COUNTERS)
    else:
        now = totp.step(at, parameters.period)
        window = totp.steps(now, back=RESYNC_STEPS, ahead=RESYNC_STEPS, after=count.accepted - 1)
    pairs = pairwise(compute(number) for number in range(window.start, window.stop + 1))
    for number, (one, other) in zip(window, pairs, strict=False):
        if same(one, first) and same(other, second):
            if not counters.accept(counted, number + 1, drift=_drift(parameters, number + 1, at)):
                raise OtpReplayed(what=seed.name)
            return number + 2
    raise OtpIncorrect(what=seed.name)


def looked_at(parameters: OtpParameters, count: Count, at: datetime) -> range:
    """The counters or time steps whose codes are compared: those that are good, and used ones, to say that of them."""
    if parameters.counts:
        return range(max(count.accepted - LOOK_AHEAD, 0), count.accepted + LOOK_AHEAD + 1)
    if not _by_time(parameters):
        return range(1)
    now = totp.step(at, parameters.period)
    return totp.steps(now, drift=count.drift, back=STEPS_AROUND, ahead=STEPS_AROUND)


def _by_time(parameters: OtpParameters) -> bool:
    """Whether the time alone tells which code it is."""
    if parameters.kind == "ocra":
        return parameters.ocra.period is not None and not parameters.counts
    return parameters.kind == "totp"


def _drift(parameters: OtpParameters, number: int, at: datetime) -> int | None:
    """How far the device's clock goes before ours, as its code shows."""
    return number - totp.step(at, parameters.period) if _by_time(parameters) else None


def _typed(code: Secret) -> str:
    """A code as people type it, in groups."""
    return code.reveal().decode("utf-8", "replace").replace(" ", "").strip()
