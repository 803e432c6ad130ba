"""No seed is ever in the memory of the process that checks codes: all of it is searched, while and after.

SoftHSM2 is a library and works in the process that loads it. So it is searched afterwards as well, with everything that
the library holds; and while it computes it stands in a process of its own, and ours is searched.
"""

import base64
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.otp.devices.conftest import HOTP, Desk, Worker

from dojang.otp.devices import NewDevice
from dojang.otp.hotp import code

_BLOCK = 1 << 24


def memory_of(process: int) -> list[bytes]:
    """Everything that is mapped and can be read."""
    found = []
    maps = Path(f"/proc/{process}/maps").read_text().splitlines()
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if "r" not in rights or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            begin, end = (int(one, 16) for one in place.split("-"))
            try:
                memory.seek(begin)
                found.append(b"".join(memory.read(min(_BLOCK, end - at)) for at in range(begin, end, _BLOCK)))
            except (OSError, OverflowError):
                continue  # of a device
    assert sum(map(len, found)) > 1 << 24
    return found


def holds(process: int, seed: bytes) -> bool:
    """Whether a seed, or half of one, is in its memory, in whatever way it is written."""
    assert len(seed) == 32
    written = [seed[:16], seed[16:], seed.hex().encode()[:32], base64.b32encode(seed)[:24], base64.b64encode(seed)[:20]]
    written += [seed.hex().upper().encode()[:32], bytes(reversed(seed))[:16]]
    return any(one in part for part in memory_of(process) for one in written)


def made(desk: Desk) -> tuple[str, bytes]:
    """A device whose seed the HSM has made, and that seed, which this process alone has seen."""
    devices = desk.devices
    device = devices.add(NewDevice(HOTP, exportable=True))
    _, sealed = devices.for_export(device.id, "qr")
    return device.id, devices.vault.reveal_unprotected(sealed)


def shown(seed: bytes, counter: int, hash_name: str = "sha1") -> str:
    import hmac

    return code(lambda message: hmac.digest(seed, message, hash_name), counter)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_afterwards_it_is_nowhere(desk: Desk, worker: Callable[..., Worker]) -> None:
    """Neither one that the HSM made nor one that came in, though SoftHSM2 worked in that very process. A seed that is
    kept on purpose is found by the same search.
    """
    device, seed = made(desk)
    one = worker()
    assert [one.told("verify", device, shown(seed, counter)) for counter in range(5)] == ["1"] * 5
    assert one.told("verify", device, "000000") == "0"
    file = Path(desk.database.place).with_name("seed")
    given = os.urandom(32)
    file.write_bytes(given)
    taken = one.told("take", file)
    assert one.told("verify", taken, shown(given, 0, "sha256")) == "1"
    assert one.told("rotate") == "kek-2"
    assert one.told("verify", device, shown(seed, 5)) == "1"
    assert not holds(one.process.pid, seed)
    assert not holds(one.process.pid, given)
    assert one.told("keep", device) == "kept"
    assert holds(one.process.pid, seed)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_while_the_hsm_computes_it_is_not_here(desk: Desk, worker: Callable[..., Worker], tmp_path: Path) -> None:
    """Stopped in each C_Sign, when the seed is a key in the HSM's session: nothing of it is in the memory of ours."""
    device, seed = made(desk)
    gate, reached = tmp_path / "gate", tmp_path / "gate.reached"
    os.mkfifo(gate)
    one = worker(far=str(gate))
    one.order("verify", device, shown(seed, 2))
    signed = 0
    while True:
        deadline = time.monotonic() + 30
        while not reached.exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        if signed in (1, 2):  # of the decoy first
            assert not holds(one.process.pid, seed)
        reached.unlink()
        signed += 1
        gate.write_text("")
        if signed == 13:
            break
    assert one.answer() == "1"
    assert "softhsm" not in Path(f"/proc/{one.process.pid}/maps").read_text()
    assert not holds(one.process.pid, seed)
