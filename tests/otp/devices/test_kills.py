"""SIGKILL between any two steps: a code never works twice, a counter never goes back, a try is never given away."""

import os
from collections.abc import Callable

import pytest
from tests.otp.devices.conftest import BEGIN, HOTP, TOTP, begun
from tests.otp.devices.memory import SEED, devices_in, say_there_is_a_kek
from tests.striking import kill_at

from dojang.authority.database import Database
from dojang.errors import OtpIncorrect
from dojang.otp.devices import Device, Devices, NewDevice
from dojang.otp.hotp import code
from dojang.otp.totp import step
from dojang.secret import Secret


def right(counter: int) -> Secret:
    import hmac

    return Secret(code(lambda message: hmac.digest(SEED, message, "sha1"), counter))


def struck(url: str, at: int, work: Callable[[Devices], object]) -> tuple[bool, bool]:
    """Do ``work`` in a child that kills itself before its step ``at``: whether it was answered, and whether killed."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            database = Database.open(url)
            kill_at(database, at)
            work(devices_in(database, lambda: BEGIN))
            os.write(tell, b"accepted")
        finally:
            os._exit(0)
    os.close(tell)
    answered = os.read(told, 8) == b"accepted"
    os.close(told)
    _, status = os.waitpid(child, 0)
    return answered, os.WIFSIGNALED(status)


def accepted(devices: Devices, device: str, given: Secret) -> bool:
    try:
        devices.verify(device, given)
    except OtpIncorrect:
        return False
    return True


def fresh(database: Database, kind: str) -> tuple[Device, int]:
    """A new device, and a counter whose code it would take now."""
    parameters = HOTP if kind == "hotp" else TOTP
    made = devices_in(database, lambda: BEGIN).add(NewDevice(parameters))
    return made, 5 if kind == "hotp" else step(BEGIN, 30)


@pytest.mark.parametrize("kind", ["hotp", "totp"])
def test_a_right_code_is_accepted_once_whenever_it_was_cut_short(database_url: str, kind: str) -> None:
    """Answered: used up. Not answered: used up, or good once more, and charged as a try at most."""
    database = begun(database_url)
    say_there_is_a_kek(database, BEGIN)
    devices = devices_in(database, lambda: BEGIN)
    seen, at, killed = set(), 0, True
    while killed:
        at += 1
        made, counter = fresh(database, kind)
        answered, killed = struck(database_url, at, lambda mine, id_=made.id, c=counter: mine.verify(id_, right(c)))
        after = devices.device(made.id)
        assert after.counter in (0, counter + 1)
        assert after.wrong_tries <= 1
        used = after.counter == counter + 1
        assert used or not answered
        assert accepted(devices, made.id, right(counter)) is not used
        assert not accepted(devices, made.id, right(counter))
        assert devices.device(made.id).counter == counter + 1
        seen.add((answered, used))
    assert answered
    assert seen == {(False, False), (False, True), (True, True)}
    assert at > 5
    database.close()


def test_no_kill_gives_a_try_away(database_url: str) -> None:
    """Who strikes before it is known that a code was wrong has tried it all the same: ten codes, and it is locked."""
    database = begun(database_url)
    say_there_is_a_kek(database, BEGIN)
    devices = devices_in(database, lambda: BEGIN)
    charged = 0
    for at in range(0, 11, 2):
        made, _ = fresh(database, "hotp")
        for _ in range(12):
            struck(database_url, at, lambda mine, id_=made.id: mine.verify(id_, Secret("000000")))
        after = devices.device(made.id)
        assert after.wrong_tries in (0, 10)  # struck before it was charged, or charged each time
        assert accepted(devices, made.id, right(0)) is (after.wrong_tries == 0)
        charged += after.wrong_tries == 10
    assert 1 < charged < 6
    database.close()
