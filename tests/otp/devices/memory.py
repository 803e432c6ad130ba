"""A vault without an HSM, for what is about counters and records: seeds in memory, HMAC as an HSM computes it."""

import hmac
from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace

from sqlalchemy import Connection, insert

from dojang.authority import audit
from dojang.authority.database import Database
from dojang.otp import tables
from dojang.otp.devices import DevicePolicy, Devices
from dojang.otp.records import Clock
from dojang.otp.vault import Sealed

SEED = b"12345678901234567890"


class MemoryVault:
    """What ``Devices`` asks of a vault."""

    keks = SimpleNamespace(current=lambda: SimpleNamespace(id="kek-1"))

    def make(self, hash_name: str) -> Sealed:
        return Sealed("kek-1", SEED)

    def decoy(self, hash_name: str) -> Sealed:
        return Sealed("kek-1", b"nobody")

    def is_current(self, connection: Connection, sealed: Sealed) -> bool:
        return True

    def hmacs(self, sealed: Sealed, hash_name: str, messages: Sequence[bytes]) -> list[bytes]:
        return [hmac.digest(sealed.wrapped, message, hash_name) for message in messages]


def devices_in(database: Database, clock: Clock, policy: DevicePolicy | None = None) -> Devices:
    return Devices(database, MemoryVault(), audit.record, clock, policy or DevicePolicy(), "test")  # type: ignore[arg-type]


def say_there_is_a_kek(database: Database, at: datetime) -> None:
    with database.writing() as connection:
        kek = {"id": "kek-1", "key_address": "pkcs11:", "check_value": "00", "made_at": at}
        connection.execute(insert(tables.otp_kek).values(**kek))
