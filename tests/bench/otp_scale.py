"""How long the check of a code takes among a million devices, as a multiple of what it takes among a thousand."""

from contextlib import ExitStack
from random import Random
from statistics import median

from otp_verify import check, desk, opened
from place import Place, Row

SLOWER = 1.3
FEW, MANY, EACH = 1_000, 1_000_000, 40


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    """Devices are asked in no order, so that those of a million are seldom the same."""
    del seconds
    chance = Random(1)
    with opened(place) as token, ExitStack() as stack:
        desks = [(size, stack.enter_context(desk(place, token, size))) for size in (FEW, MANY)]
        orders = {size: chance.sample(range(size), FEW) for size in (FEW, MANY)}
        taken: dict[int, list[float]] = {FEW: [], MANY: []}
        for size, devices in desks:
            check(devices, f"{orders[size].pop():08}", 0)
        for turn in range(min(rounds * EACH, FEW - 1)):
            for size, devices in desks if turn % 2 else reversed(desks):  # one by one: whatever else runs slows both
                taken[size].append(check(devices, f"{orders[size][turn]:08}", 0))
    few, many = median(taken[FEW]), median(taken[MANY])
    ratio = many / few
    detail = f"of 1,000,000: {many * 1000:.2f} ms, of 1,000: {few * 1000:.2f} ms"
    return [Row("otp_scale", "p50 of a check, 1,000,000 devices", ratio, SLOWER, False, detail)]
