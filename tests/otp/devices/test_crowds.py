"""Many at once with one code, in threads and in processes: one of them has it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.otp.devices.conftest import HOTP, TOTP, Desk, Worker

from dojang.secret import Secret


def test_sixty_four_with_one_code(desk: Desk, worker: Callable[..., Worker]) -> None:
    """Two processes of 32 threads each, at once: one success, nobody is locked out, and the next code is good."""
    workers = [worker(), worker()]
    for parameters in (HOTP, TOTP):
        fob = desk.register(parameters)
        code = fob.press() if parameters is HOTP else fob.at(desk.now)
        for one in workers:
            one.order("verify", fob.id, code.reveal().decode(), 32)
        assert sorted(one.answer() for one in workers) == ["0", "1"]
        assert desk.device(fob).state == "active"
        desk.turn(seconds=30)
        assert desk.accepts(fob, fob.press() if parameters is HOTP else fob.at(desk.now))


def test_sixty_four_wrong_codes_are_compared_ten_times(desk: Desk) -> None:
    """Whoever asks from everywhere at once guesses no more often; the device is locked, and once."""
    fob = desk.register(HOTP)
    with ThreadPoolExecutor(64) as pool:
        codes = [Secret(f"{number:06}") for number in range(100000, 100064)]
        assert not any(pool.map(lambda code: desk.accepts(fob, code), codes))
    assert desk.device(fob).state == "locked"
    assert desk.device(fob).wrong_tries == 10
    assert desk.audited().count("otp-locked") == 1
