"""Authorities with software keys and with keys on a token, a clock to turn, and subscribers."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from dojang.authority import Founder, Issued, LocalAuthority, Submission, create_authority
from dojang.testing.postgres import PrivatePostgres, private_postgres
from dojang.x509.name import parse_name
from dojang.x509.request import build_request

SOFTWARE: dict[str, Callable[[], Any]] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@dataclass
class Clock:
    """Stands still until it is turned."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.at

    def turn(self, days: float) -> None:
        self.at += timedelta(days=days)


@dataclass
class Desk:
    """Asks an authority as a subscriber would."""

    authority: LocalAuthority
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def transaction(self) -> str:
        return f"transaction-{next(self.numbers)}"

    def ask(
        self,
        kind: str = "issue",
        *,
        key: Any = None,
        subject: str = "CN=홍길동,O=Example,C=KR",
        profile: str = "personal",
        names: tuple[str, ...] = (),
        old: bytes | None = None,
        transaction: str | None = None,
    ) -> Issued:
        request = build_request(key or SOFTWARE["ec-p256"](), parse_name(subject), names)
        return self.authority.submit(Submission(kind, request, profile, transaction or self.transaction(), old))

    def have(self, kind: str = "issue", **options: Any) -> bytes:
        """A certificate that was asked for and confirmed."""
        transaction = self.transaction()
        issued = self.ask(kind, transaction=transaction, **options)
        self.authority.confirm(transaction)
        return issued.certificate_der


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def new_key() -> Callable[[str], Any]:
    """A software key of an algorithm."""

    def make(algorithm: str = "ec-p256") -> Any:
        return SOFTWARE[algorithm]()

    return make


@pytest.fixture(params=["sqlite", "postgres"])
def records_at(request: pytest.FixtureRequest) -> str | None:
    """Where the authorities of a test have their records: in their folder, or in a database on a server."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres").new_database()


@pytest.fixture
def authority(tmp_path: Path, clock: Clock, records_at: str | None) -> Iterator[LocalAuthority]:
    """A root alone, on P-256."""
    subject = parse_name("CN=Test Root,O=Example,C=KR")
    made = create_authority(
        tmp_path / "authorities",
        name="test",
        subject=subject,
        key=SOFTWARE["ec-p256"](),
        key_address="pkcs11:object=root",
        database=records_at,
        clock=clock,
    )
    with made:
        yield made


@pytest.fixture
def other_records_at(request: pytest.FixtureRequest, records_at: str | None) -> str | None:
    """The same for a second authority."""
    return records_at and request.getfixturevalue("postgres").new_database()


@pytest.fixture
def tiered(tmp_path: Path, clock: Clock, other_records_at: str | None) -> Iterator[LocalAuthority]:
    """A root and an issuing authority below it."""
    made = create_authority(
        tmp_path / "authorities",
        name="tiered",
        subject=parse_name("CN=시험 최상위,O=Example,C=KR"),
        key=SOFTWARE["ec-p384"](),
        key_address="pkcs11:object=root",
        issuing=Founder(parse_name("CN=시험 발급,O=Example,C=KR"), SOFTWARE["rsa-2048"](), "pkcs11:object=issuing"),
        database=other_records_at,
        clock=clock,
    )
    with made:
        yield made


@pytest.fixture
def desk(authority: LocalAuthority) -> Desk:
    return Desk(authority)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """One server for all tests of this process."""
    with private_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new database may be made: a file that is not there yet, or an empty database on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'some.sqlite'}"
    return request.getfixturevalue("postgres").new_database()
