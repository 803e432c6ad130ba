"""An authority's registered devices on a real token and either database, a clock to turn, and devices in memory."""

import hmac
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from dojang.authority import audit, tables
from dojang.authority.database import Database
from dojang.errors import OtpIncorrect
from dojang.otp import hotp, totp
from dojang.otp import tables as otp_tables
from dojang.otp.devices import Device, DevicePolicy, Devices, NewDevice
from dojang.otp.keks import Home, Keks
from dojang.otp.parameters import OtpParameters
from dojang.otp.vault import Vault
from dojang.pkcs11 import ModuleSearch, OpenToken, PinGuard, open_token
from dojang.secret import Secret
from dojang.testing.postgres import PrivatePostgres, private_postgres
from dojang.testing.setup import TokenSetup

ROOT = Path(__file__).parent.parent.parent.parent
BEGIN = datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC)
HOTP, TOTP = OtpParameters(kind="hotp"), OtpParameters(kind="totp")


@dataclass
class Fob:
    """A device in somebody's pocket: its seed, its counter, and how far its clock is off."""

    id: str
    seed: bytes
    parameters: OtpParameters
    counter: int = 0
    off: timedelta = timedelta()

    def mac(self, message: bytes) -> bytes:
        return hmac.digest(self.seed, message, self.parameters.hash_name)

    def at(self, moment: datetime) -> Secret:
        """The code that it shows at a moment."""
        return Secret(totp.code(self.mac, moment + self.off, digits=self.parameters.digits))

    def press(self) -> Secret:
        """The next code."""
        self.counter += 1
        return self.shown(self.counter - 1)

    def shown(self, counter: int) -> Secret:
        return Secret(hotp.code(self.mac, counter, self.parameters.digits))


class Worker:
    """Another process that checks codes; see ``another_process``."""

    def __init__(self, setup: dict[str, object]) -> None:
        command = [sys.executable, "-m", "tests.otp.devices.another_process", json.dumps(setup)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, cwd=ROOT, **pipes)
        assert self.answer() == "ready"

    def order(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def told(self, *words: object) -> str:
        self.order(*words)
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class Desk:
    """The verifying side of one authority; ``policy`` may be replaced before devices are asked for."""

    database: Database
    token: OpenToken
    address: str
    policy: DevicePolicy = field(default_factory=DevicePolicy)
    now: datetime = BEGIN

    def turn(self, **much: float) -> None:
        self.now += timedelta(**much)

    def clock(self) -> datetime:
        return self.now

    @property
    def keks(self) -> Keks:
        home = Home(self.address, str(self.database.place).encode())
        return Keks(self.database, lambda _: home, lambda _: self.token, audit.record, self.clock, "test")

    @property
    def devices(self) -> Devices:
        note, many = audit.record, audit.record_many
        return Devices(self.database, Vault(self.keks), note, self.clock, self.policy, "test", many)

    def register(self, parameters: OtpParameters, *, seed: bytes = b"12345678901234567890", counter: int = 0) -> Fob:
        """A device whose seed is known here."""
        devices = self.devices
        sealed = devices.vault.take(bytearray(seed), parameters.hash_name)
        made = devices.add(NewDevice(parameters, sealed=sealed, counter=counter, origin="file"))
        return Fob(made.id, seed, parameters, counter)

    def accepts(self, fob: Fob | str, code: Secret | str) -> bool:
        try:
            self.devices.verify(
                fob if isinstance(fob, str) else fob.id, code if isinstance(code, Secret) else Secret(code)
            )
        except OtpIncorrect:
            return False
        return True

    def device(self, fob: Fob) -> Device:
        return self.devices.device(fob.id)

    def column(self, fob: Fob, name: str) -> object:
        table = otp_tables.otp_device
        with self.database.reading() as connection:
            return connection.execute(select(table.c[name]).where(table.c.id == fob.id)).scalar_one()

    def audited(self) -> list[str]:
        with self.database.reading() as connection:
            return list(connection.execute(select(tables.audit.c.event).order_by(tables.audit.c.seq)).scalars())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """One server for all tests of this process."""
    with private_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def hsm(make_token: Callable[..., TokenSetup]) -> TokenSetup:
    return make_token()


@pytest.fixture
def open_hsm(hsm: TokenSetup, softhsm_module: str, tmp_path: Path) -> Callable[[], OpenToken]:
    search = ModuleSearch(module=softhsm_module, discover=False)
    return partial(open_token, hsm.uri, Secret(hsm.pin), search=search, guard=PinGuard(tmp_path / "guard"))


def begun(url: str) -> Database:
    """A new database with a root, to which the record of events is bound."""
    database = Database.create(url)
    with database.writing() as connection:
        root = {"id": "root", "role": "root", "certificate_der": url.encode(), "key_address": "none"}
        connection.execute(insert(tables.signer).values(**root))
    return database


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new database may be made: a file that is not there yet, or an empty database on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'some.sqlite'}"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def worker(desk: Desk, hsm: TokenSetup, softhsm_module: str, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts another process on the same database and token."""
    url = desk.database.url.render_as_string().replace("+psycopg", "")
    mark = str(desk.database.place)
    own = {"url": url, "uri": hsm.uri, "pin": hsm.pin, "module": softhsm_module, "mark": mark, "at": str(desk.now)}
    with ExitStack() as started:

        def start(**more: object) -> Worker:
            made = Worker(own | {"guard": str(tmp_path / "guard")} | more)
            started.callback(made.kill)
            return made

        yield start


@pytest.fixture
def desk(database_url: str, open_hsm: Callable[[], OpenToken], hsm: TokenSetup) -> Iterator[Desk]:
    database = begun(database_url)
    with open_hsm() as token:
        yield Desk(database, token, hsm.uri)
    database.close()
