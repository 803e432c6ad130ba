"""Answers that no honest device gives: each is a clear error about the device, never a traceback."""

import random

import pytest
from tests.otp.oath.conftest import AT, SEED

from dojang.errors import DeviceError, DeviceFailure, DojangError
from dojang.otp.base import NewSeed
from dojang.otp.oath.device import open_at
from dojang.otp.oath.plugged import plugged
from dojang.otp.parameters import OtpParameters
from dojang.secret import Secret
from dojang.testing.oath import OathIns
from dojang.testing.piv import damaged, noise, status, truncated, wrong_length

SELECT = 0xA4  # and CALCULATE ALL


def use(access) -> None:
    with open_at("oath:", access()) as device:
        for seed in list(device.seeds()):
            device.code(seed, AT)
        device.add(NewSeed("b", OtpParameters(), Secret(SEED)))


@pytest.mark.parametrize("how", [truncated, wrong_length, lambda data: data[:-1], lambda data: b"\x75\0" + data])
@pytest.mark.parametrize("on", [OathIns.LIST, OathIns.CALCULATE, SELECT])
def test_damaged_answers(key, access, how, on):
    """Cut off, of a length that is not there, or under a tag that nobody asked for."""
    key.oath.put("a", SEED)
    key.faults.add(damaged(how), on=on, times=None)
    with pytest.raises(DeviceError):
        use(access)
    plugged()


@pytest.mark.parametrize(
    "answer",
    [
        "7200",  # an account without anything
        "72024161",  # of a kind that is none
        "720129",  # of a hash that is none, without a name
        "76050000000000",  # a code without digits
        "7605ff00000000",  # a code of 255 digits
        "7602ff",  # shorter than it says
        "",
    ],
)
def test_nonsense_in_good_form(key, access, answer):
    """What can be taken apart and still means nothing."""
    key.oath.put("a", SEED)
    key.faults.add(
        lambda _command, _proceed: bytes.fromhex(answer) + b"\x90\x00", on={OathIns.LIST, OathIns.CALCULATE}, times=None
    )
    with pytest.raises(DojangError):
        use(access)


def test_names_that_would_paint_on_a_terminal(key, device):
    """Shown without what a terminal obeys; the address has every byte and finds it."""
    key.oath.accounts[b"\x1b[2J\xff"] = key.oath.accounts.setdefault(b"x", _account(b"\x1b[2J\xff"))
    del key.oath.accounts[b"x"]
    (seed,) = device.seeds()
    assert seed.name == "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}"
    assert seed.address == "oath:12345678/%1B%5B2J%FF"
    assert device.code(device.find(seed.address), AT).code == "287082"


def test_a_seed_that_dojang_cannot_compute_with_is_shown_with_the_reason(key, device):
    """Other programs may have put one there with another period."""
    key.oath.put("15/a", SEED)
    (seed,) = device.seeds()
    assert "30 or 60" in seed.problem


def test_an_answer_without_an_end(key, access):
    """More, and more, and more: given up after a while, not after all memory."""
    key.faults.add(lambda _command, _proceed: bytes(200) + b"\x61\xff", on={OathIns.LIST}, times=None)
    key.faults.add(lambda _command, _proceed: bytes(200) + b"\x61\xff", on={OathIns.SEND_REMAINING}, times=None)
    with pytest.raises(DeviceFailure, match="no answer"):
        use(access)


@pytest.mark.parametrize("word", [0x6982, 0x6984, 0x6A80, 0x6D00, 0x6F00, 0x6581])
@pytest.mark.parametrize("on", [OathIns.LIST, OathIns.CALCULATE, OathIns.PUT])
def test_refusals(key, access, word, on):
    """Any status word for any command."""
    key.oath.put("a", SEED)
    key.faults.add(status(word), on=on)
    with pytest.raises(DojangError) as raised:
        use(access)
    assert raised.value.exit_status in (3, 9, 11)


def test_noise(key, access):
    """Random bytes for everything, a hundred times."""
    for turn in range(100):
        key.faults.clear()
        key.faults.add(noise(turn), after=random.Random(turn).randrange(8), times=None)
        with pytest.raises(DojangError):
            use(access)
        plugged()


def _account(name):
    from dojang.testing.oath.account import Account

    return Account(name, 0x21, 6, SEED)
