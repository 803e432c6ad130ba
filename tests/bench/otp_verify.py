"""Codes of registered devices checked per second of CPU, and how that grows with the number of devices.

Each is charged and accepted durably, in a file of its own, and its seed is unwrapped on the token for it.
"""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from place import Place, Row
from sqlalchemy import insert, text

from dojang.authority import audit, tables
from dojang.authority.database import Database
from dojang.otp import hotp
from dojang.otp.devices import DevicePolicy, Devices
from dojang.otp.keks import Home, Keks
from dojang.otp.vault import Sealed, Vault
from dojang.pkcs11 import ModuleSearch, OpenToken, open_token
from dojang.secret import Secret

PER_SECOND = 500
EACH = 100
DEVICES = 1_000
SEED = b"12345678901234567890123456789012"
_FILL = """
INSERT INTO otp_device (id, applicant, name, kind, hash, digits, period, wrapped_seed, kek, created_at, changed_at)
WITH RECURSIVE counter (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM counter WHERE number < :count - 1)
SELECT printf('%08d', number * 7919 % :count), printf('a%08d', number), 'fob', 'hotp', 'sha1', 6, 30, :wrapped, :kek,
       :at, :at FROM counter
"""


def measure(place: Place, *, rounds: int, seconds: float) -> list[Row]:
    del seconds
    with opened(place) as token, desk(place, token, DEVICES) as devices:
        spent = []
        check(devices, "00000000", 0)
        for counter in range(rounds):  # every device is asked once a round
            begin = process_time()
            for number in range(1, EACH + 1):
                check(devices, f"{number:08}", counter)
            spent.append((process_time() - begin) / EACH)
    rate = 1 / median(spent)
    detail = f"{rate:,.0f} a second of CPU, promised {PER_SECOND}; {median(spent) * 1000:.2f} ms each"
    return [Row("otp_verify", "a code by counter, charged and accepted durably", rate / PER_SECOND, 1.0, True, detail)]


@contextmanager
def opened(place: Place) -> Iterator[OpenToken]:
    with open_token(place.uri, Secret(place.pin), search=ModuleSearch(module=place.module, discover=False)) as token:
        yield token


@contextmanager
def desk(place: Place, token: OpenToken, size: int) -> Iterator[Devices]:
    """So many devices with one seed, in a database of their own, with a root for the record of events."""
    path = Path(place.folder) / f"{size}.sqlite"
    database = Database.create(f"sqlite:///{path}")
    at = datetime.now(UTC)
    with database.writing() as connection:
        root = {"id": "root", "role": "root", "certificate_der": b"root", "key_address": "none"}
        connection.execute(insert(tables.signer).values(**root))
    home = Home(place.uri, str(size).encode())
    vault = Vault(Keks(database, lambda _: home, lambda _: token, audit.record, lambda: at, str(size)))
    sealed: Sealed = vault.take(bytearray(SEED), "sha1")
    with database.writing() as connection:
        values = {"count": size, "wrapped": sealed.wrapped, "kek": sealed.kek, "at": at.isoformat(timespec="seconds")}
        connection.execute(text(_FILL), values)
    yield Devices(database, vault, audit.record, lambda: datetime.now(UTC), DevicePolicy(), str(size))
    database.close()


def check(devices: Devices, device: str, counter: int) -> float:
    """Seconds that it takes to check a right code."""
    code = Secret(hotp.code(lambda message: hmac.digest(SEED, message, "sha1"), counter))
    begin = perf_counter()
    devices.verify(device, code)
    return perf_counter() - begin
