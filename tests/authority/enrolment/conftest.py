"""An authority's enrolments on either database, with a secret in memory for the token's, and a clock to turn."""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from dojang.authority import tables
from dojang.authority.audit import acting
from dojang.authority.database import Database
from dojang.authority.enrolment import Counter, EnrolmentPolicy, Enrolments, Handed, Office, Officers, Terms
from dojang.authority.enrolment.records import Enrolment, found
from dojang.x509.profiles import Profile, profile

TERMS = Terms("personal", "CN=홍길동,O=Example,C=KR")
SOURCE = "203.0.113.7"


@dataclass(frozen=True)
class MemoryKey:
    """HMAC as a token computes it, and how often it was asked."""

    secret: bytes = b"k" * 32
    asked: list[bytes] = field(default_factory=list)

    def digest(self, message: bytes) -> bytes:
        self.asked.append(message)
        return hmac.digest(self.secret, message, "sha256")


@dataclass
class Bureau:
    """Office and enrolments of one authority; ``policy`` may be replaced before they are asked for."""

    database: Database
    key: MemoryKey = field(default_factory=MemoryKey)
    policy: EnrolmentPolicy = field(default_factory=EnrolmentPolicy)
    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    profiles: dict[str, Profile] = field(default_factory=dict)

    def turn(self, **much: float) -> None:
        self.at += timedelta(**much)

    def profile(self, name: str) -> Profile:
        return self.profiles.get(name) or profile(name)

    @property
    def office(self) -> Office:
        return Office(self.database, "test", self.policy, self.profile, lambda: self.key, lambda: self.at)

    @property
    def enrolments(self) -> Enrolments:
        return Enrolments(self.database, "test", self.policy, lambda: self.key, lambda: self.at)

    @property
    def officers(self) -> Officers:
        return Officers(self.database, "test", self.policy, lambda: self.at)

    @property
    def counter(self) -> Counter:
        return Counter(self.office, self.officers)

    def wants(self, name: str, *checks: str) -> None:
        """From now on the profile requires these identity checks."""
        self.profiles[name] = replace(profile(name), identity_checks=checks)

    def hand_out(self, terms: Terms = TERMS, *, actor: str = "local:clerk", **more: Any) -> Handed:
        with acting(actor):
            return self.office.new(terms, **more)

    def guess(self, reference: str, code: bytes, source: str = SOURCE) -> bool:
        """What a conversation does with a message that is protected with this code."""
        offer = self.enrolments.secret_for(reference, source)
        if not hmac.compare_digest(offer.secret.reveal(), code):
            self.enrolments.wrong(reference, source)
            return False
        self.enrolments.right(reference, source)
        offer.check()
        return True

    def take(self, reference: str, serial: str = "1a") -> Enrolment:
        with self.database.writing() as connection:
            self.enrolments.take(connection, reference, serial=serial)
            return found(connection, reference, self.at, "test")

    def audited(self) -> list[tuple[str, str, str]]:
        """Event, actor and subject of every row on record."""
        table = tables.audit
        with self.database.reading() as connection:
            query = table.select().order_by(table.c.seq)
            return [(row.event, row.actor, row.subject) for row in connection.execute(query)]


def founded(url: str) -> Database:
    """A new database with the root that an audit record begins with."""
    database = Database.create(url)
    with database.writing() as connection:
        values = {"id": "root", "role": "root", "certificate_der": b"root", "key_address": "pkcs11:token=T"}
        connection.execute(insert(tables.signer).values(**values))
    return database


@pytest.fixture
def bureau(database_url: str) -> Iterator[Bureau]:
    """On SQLite and on PostgreSQL."""
    made = Bureau(founded(database_url))
    yield made
    made.database.close()


@pytest.fixture
def small(tmp_path) -> Iterator[Bureau]:
    """On SQLite alone: for what the database has no part in."""
    made = Bureau(founded(f"sqlite:///{tmp_path / 'small.sqlite'}"))
    yield made
    made.database.close()
