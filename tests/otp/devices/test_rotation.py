"""A new key over all seeds, while codes go on being checked; finished by whoever comes next when it is cut short."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.otp.devices.conftest import BEGIN, HOTP, Desk, Worker

from dojang.authority import audit
from dojang.otp import rotation, tables
from dojang.otp.devices import NewDevice
from dojang.otp.keks import SealingKeys
from dojang.otp.rotation import Rotation
from dojang.otp.vault import Vault
from dojang.pkcs11.uri import Pkcs11Uri

SEED = b"12345678901234567890"


def rotation_at(desk: Desk, vault: Vault) -> Rotation:
    return Rotation(desk.database, vault, audit.record, desk.clock)


def states(desk: Desk) -> dict[str, str]:
    table = tables.otp_kek
    with desk.database.reading() as connection:
        return {row.id: row.state for row in connection.execute(select(table.c.id, table.c.state))}


def keys_on(desk: Desk, kek: str) -> list[str]:
    """Which keys of this one are on the token: the key itself, and the one for data beside it."""
    table = tables.otp_kek
    with desk.database.reading() as connection:
        address = connection.execute(select(table.c.key_address).where(table.c.id == kek)).scalar_one()
    key_id = Pkcs11Uri.from_text(address).id
    beside = hashlib.sha256(b"dojang otp data 1\0" + key_id).digest()[:20]
    return sorted(one.label for one in desk.token.private_objects() if one.key_id in (key_id, beside))


def test_everything_comes_under_the_new_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, told as it goes; devices compute as before, removed ones have nothing, and the old key is gone."""
    monkeypatch.setattr(rotation, "BATCH", 3)
    fobs = [desk.register(HOTP) for _ in range(8)]
    desk.devices.remove(desk.register(HOTP).id)
    assert all(desk.accepts(fob, fob.press()) for fob in fobs)
    vault, told = Vault(desk.keks), []
    SealingKeys(vault.keks).current()
    before = {fob.id: desk.column(fob, "wrapped_seed") for fob in fobs}
    assert keys_on(desk, "kek-1") == ["test-kek-1", "test-kek-1-data"]
    done = rotation_at(desk, vault).run(lambda number, total: told.append((number, total)))
    assert done == ("kek-2", ["kek-1"], 8)
    assert told == [(3, 8), (6, 8), (8, 8)]
    assert states(desk) == {"kek-1": "retired", "kek-2": "current"}
    assert keys_on(desk, "kek-1") == []
    assert all(desk.column(fob, "wrapped_seed") != before[fob.id] for fob in fobs)
    assert all(desk.accepts(fob, fob.press()) for fob in fobs)
    assert not desk.accepts(fobs[0], fobs[0].shown(0))
    assert rotation_at(desk, vault).run().current == "kek-3"
    assert [event for event in desk.audited() if "kek" in event] == [
        *("otp-kek-made", "otp-kek-made", "otp-kek-retired", "otp-kek-made", "otp-kek-retired")
    ]


def test_who_holds_the_old_key_goes_on(desk: Desk) -> None:
    """A process that has both read a seed and opened its key before finds the new one; so does one that registers."""
    fob, devices = desk.register(HOTP), desk.devices
    devices.verify(fob.id, fob.press())
    sealed = devices.vault.make("sha1")
    rotation_at(desk, Vault(desk.keks)).run()
    devices.verify(fob.id, fob.press())
    assert devices.vault.keks.current().id == "kek-2"
    with pytest.raises(Exception, match="kek-1"):
        desk.devices.add(NewDevice(HOTP, sealed=sealed))  # its key is destroyed, and it with it
    made = devices.add(NewDevice(HOTP))
    assert devices.device(made.id).state == "active"


@pytest.mark.parametrize("step", ["begun", "half", "retired"])
def test_what_was_cut_short_is_finished(desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """After the new key was made, in the midst, before the old one was destroyed: the next run does the rest, with the
    same new key; codes are accepted in between.
    """
    monkeypatch.setattr(rotation, "BATCH", 2)
    fobs = [desk.register(HOTP) for _ in range(5)]
    vault = Vault(desk.keks)
    cut = rotation_at(desk, vault)
    if step == "retired":
        monkeypatch.setattr(vault.keks, "destroy", lambda _kek: (_ for _ in ()).throw(KeyboardInterrupt))
    elif step == "begun":
        monkeypatch.setattr(vault, "seal_anew", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))

    def interrupt(_done: int, _total: int) -> None:
        if step == "half":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.run(interrupt)
    assert all(desk.accepts(fob, fob.press()) for fob in fobs)
    assert "test-kek-1" in keys_on(desk, "kek-1")
    done = rotation_at(desk, Vault(desk.keks)).run()
    assert "kek-1" in done.destroyed
    assert done.current == ("kek-3" if step == "retired" else "kek-2")
    assert keys_on(desk, "kek-1") == []
    assert all(desk.accepts(fob, fob.press()) for fob in fobs)


def test_rotated_and_killed_while_two_processes_check(
    desk: Desk, worker: Callable[..., Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each code is accepted, whatever happens to the keys meanwhile, through three rotations, one of them killed."""
    fobs = [desk.register(HOTP) for _ in range(40)]
    workers, enough = [worker(), worker()], tmp_path / "enough"
    for one, fob in zip(workers, fobs, strict=False):
        one.order("until", enough, fob.id, SEED.hex())
    killed = worker()
    killed.order("rotate")
    deadline = time.monotonic() + 30
    while "kek-2" not in states(desk):
        assert time.monotonic() < deadline
    killed.kill()
    for _ in range(2):
        rotation_at(desk, Vault(desk.keks)).run()
    while min(desk.device(fob).counter for fob in fobs[:2]) <= 10:  # on a busy machine one of them may get few turns
        assert time.monotonic() < deadline
        time.sleep(0.01)
    enough.touch()
    accepted = [int(one.answer()) for one in workers]
    assert [desk.device(fob).counter for fob in fobs[:2]] == accepted
    assert list(states(desk).values()).count("current") == 1
    assert set(states(desk).values()) == {"current", "retired"}
    assert desk.device(fobs[0]).created_at == BEGIN
