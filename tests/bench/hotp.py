"""One-time passwords per second from a seed on the token, as a share of the HMACs that C gets from it."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from statistics import median

from place import Place, Row

from signing import rate

TARGET = 0.7


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    from dojang.otp.base import NewSeed
    from dojang.otp.held.device import seeds_on
    from dojang.otp.parameters import OtpParameters
    from dojang.pkcs11 import open_token
    from dojang.secret import Secret

    with open_token(place.uri, Secret(place.pin)) as token, seeds_on(token, place.folder / "counters") as seeds:
        seed = seeds.add(NewSeed("bench", OtpParameters(kind="hotp")))
        compute, numbers = seeds.by_counter(seed), count()
        shown: list[Callable[[], object]] = [
            lambda: compute(next(numbers)),
            lambda: seeds.code(seed, datetime.now(UTC)),
        ]
        loops, rates = [], [[], []]
        for _ in range(rounds):
            loops += place.c("sign", "hmac", 1, seconds)
            for told, show in zip(rates, shown, strict=True):
                told.append(rate(show, 1, seconds))
    return [
        _row("HOTP code of a counter", rates[0], loops, TARGET),
        _row("HOTP code, its counter durable first", rates[1], loops, None),
    ]


def _row(name: str, ours: list[float], theirs: list[float], target: float | None) -> Row:
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    return Row("hotp", name, ratio, target, True, f"{median(ours):,.0f}/s, HMAC in C {median(theirs):,.0f}/s")
