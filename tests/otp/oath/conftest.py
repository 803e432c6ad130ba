"""A security key in a reader of this process's own PC/SC daemon, empty and unlocked before every test."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dojang.otp.base import Access
from dojang.otp.oath.device import OathDevice, open_at
from dojang.secret import Secret
from dojang.testing.oath import SecurityKey
from dojang.testing.pcsc import READER_NAME, READERS, Pcscd, pcscd
from dojang.testing.piv import Card, PluggedIn, Slot, plugged_in
from dojang.testing.piv.keys import SoftwareKey, adopt

SEED = b"12345678901234567890"
AT = datetime.fromtimestamp(59, UTC)
READER = "dojang reader 00 00"


def put_in(card: Card, port: int) -> None:
    """Put a card into the reader at this port; when this returns, PC/SC tells of it."""
    from dojang.pcsc.wire import readers  # which is not to be loaded before a daemon is claimed

    card.insert(port)
    reader, deadline = f"{READER_NAME} 00 0{port % READERS}", time.monotonic() + 10
    while reader not in readers():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="session")
def pcsc_daemon() -> Iterator[Pcscd]:
    with pcscd() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def piv_keys() -> dict[Slot, SoftwareKey]:
    return {slot: adopt("ec-p256").private for slot in (Slot.AUTHENTICATION, Slot.SIGNATURE)}


@pytest.fixture(scope="module")
def inserted(pcsc_daemon: Pcscd, piv_keys: dict[Slot, SoftwareKey]) -> Iterator[PluggedIn]:
    """The one device of a file's tests; it is out of the reader before those of others begin."""
    with plugged_in(SecurityKey(keys=piv_keys, serial=12345678)) as plugged:
        yield plugged


@pytest.fixture
def plugged(inserted: PluggedIn) -> Iterator[PluggedIn]:
    """The device in its reader, with PIV keys, without seeds."""
    if not inserted.card.inserted:
        put_in(inserted.card, inserted.port)
    yield inserted
    key = inserted.card
    key.faults.clear()
    key.oath.accounts.clear()
    key.oath.calculations.clear()
    key.oath.access_key = None
    key.oath.wrong_passwords = 0
    key.finger.patience = 15.0


@pytest.fixture
def key(plugged: PluggedIn) -> SecurityKey:
    return plugged.card


@pytest.fixture
def access(tmp_path: Path) -> Callable[..., Access]:
    """What opening the device takes; ``password`` and ``wants_touch`` as the test says."""

    def make(password: str | None = None, **more: object) -> Access:
        given = {} if password is None else {"passwords": lambda _purpose: Secret(password)}
        return Access(counters=tmp_path / "counters", **given, **more)

    return make


@pytest.fixture
def device(key: SecurityKey, access: Callable[..., Access]) -> Iterator[OathDevice]:
    """The device, opened by dojang."""
    with open_at("oath:", access()) as opened:
        yield opened


@pytest.fixture
def ykman(tmp_path: Path, plugged: PluggedIn) -> Callable[..., str]:
    """Runs Yubico's own program on the device, in a process of its own; what it printed.

    It finds no other program (where it cannot have a reader it ends other people's), and has a home of its own.
    """

    def run(*words: str, status: int = 0) -> str:
        command = [str(Path(sys.executable).with_name("ykman")), "--reader", READER, *words]
        environment = {**os.environ, "PATH": str(tmp_path), "HOME": str(tmp_path)}
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
