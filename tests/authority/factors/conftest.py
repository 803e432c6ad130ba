"""An authority on either database whose profile ``bank`` wants factors, applicants, and evidence put down directly."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from tests.authority.conversation.conftest import Counter, MemoryKey, found_counter

from dojang.authority import LocalAuthority, Submission
from dojang.authority.audit import acting
from dojang.authority.enrolment import Office
from dojang.authority.factors import evidence
from dojang.authority.factors.claims import Claim, claim_of
from dojang.authority.tables import certificate
from dojang.x509.keys import spki_of
from dojang.x509.name import parse_name
from dojang.x509.profiles import profile
from dojang.x509.request import build_request

SUBJECT = "CN=홍길동,O=Example,C=KR"
BANK = """
like = "personal"
[factors]
all = ["sms", { any = ["otp", "card"] }]
"""


class BankCounter(Counter):
    """Hands out codes by the authority's own profiles, too."""

    @property
    def office(self) -> Office:
        own = partial(profile, folder=self.authority.folder / "profiles")
        return Office(self.authority.database, self.authority.name, self.policy, own, MemoryKey, self.clock)


def bank_counter(folder: Path, database: str | None = None) -> Counter:
    """With a profile that wants a text message and one of two devices."""
    counter = found_counter(folder, database)
    own = folder / "test" / "profiles"
    own.mkdir()
    (own / "bank.toml").write_text(BANK)
    return BankCounter(counter.authority, counter.clock, counter.keys)


@dataclass
class Bank:
    """Asks a bank's authority, for one applicant."""

    counter: Counter
    applicant: str
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    numbers: int = 0

    @property
    def authority(self) -> LocalAuthority:
        return self.counter.authority

    def submission(self, kind: str = "issue", *, key: Any = None, subject: str = SUBJECT, **more: Any) -> Submission:
        self.numbers += 1
        request = build_request(key or self.key, parse_name(subject), ())
        told = {"applicant": self.applicant, "transaction_id": f"transaction-{self.numbers}", "profile": "bank"} | more
        return Submission(kind=kind, request_der=request, **told)

    def claim(self, submission: Submission, *, key: Any = None, subject: str = SUBJECT) -> Claim:
        spki = spki_of((key or self.key).public_key())
        with self.authority.database.reading() as connection:
            return claim_of(connection, "test", submission, parse_name(subject), spki)

    def passes(self, submission: Submission, *factors: str, **more: Any) -> None:
        """As if the devices had said so."""
        claim = self.claim(submission, **more)
        lifetime = self.authority.settings.factors().lifetime
        with acting("test"), self.authority.database.writing() as connection:
            for factor in factors:
                evidence.write(connection, claim, factor, f"{factor}-device", self.counter.clock(), lifetime)

    def issued(self) -> list[str]:
        """The serials of all that was ever issued to subscribers by the profile."""
        with self.authority.database.reading() as connection:
            return list(
                connection.execute(select(certificate.c.serial).where(certificate.c.profile == "bank")).scalars()
            )


def applicant_in(counter: Counter, name: str = "홍길동", **contact: str) -> str:
    with acting("test"):
        return counter.office.add_applicant("person", name, contact).id


@pytest.fixture(params=["sqlite", "postgres"])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bank]:
    """On SQLite and on PostgreSQL."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres").new_database()
    counter = bank_counter(tmp_path / "authorities", url)
    yield Bank(counter, applicant_in(counter))
    counter.authority.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Bank]:
    """On SQLite alone."""
    counter = bank_counter(tmp_path / "authorities")
    yield Bank(counter, applicant_in(counter))
    counter.authority.close()
