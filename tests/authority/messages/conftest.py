"""Codes by message over either database, with a secret in memory for the token's, a clock to turn, and a postman."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.authority.enrolment.conftest import MemoryKey, founded

from dojang.authority import audit, tables
from dojang.authority.database import Database
from dojang.errors import MessageCodeRefused, MessageUnsent, Phrase
from dojang.otp.messages.codes import MessageCodes, Passed
from dojang.otp.messages.desk import MessageDesk, Recipient, Sent
from dojang.otp.messages.policy import MessagePolicy
from dojang.otp.messages.sending import Message
from dojang.secret import Secret

HONG = Recipient("5f0c3a9b21", {"phone": "010-1234-5678", "email": "hong@example.com"})
SOURCE = "203.0.113.7"
PURPOSE = "issue:4081160273"
QUICK: dict[str, Any] = {"again": timedelta(seconds=0), "per_target": 10**6, "per_source": 10**6, "per_day": 10**6}


@dataclass
class Postman:
    """Keeps what it was given, or says that it could not deliver it."""

    messages: list[Message] = field(default_factory=list)
    fails: Exception | None = None
    before: Callable[[Message], None] = lambda _message: None
    kind = "postman"

    def send(self, message: Message) -> None:
        self.before(message)
        self.messages.append(message)
        if self.fails is not None:
            raise self.fails

    @staticmethod
    def refusal(message: str = "it answered with HTTP status 500") -> MessageUnsent:
        return MessageUnsent(sender="postman", target="010-****-5678", problem=Phrase(message))


@dataclass
class Bureau:
    """The messages of one authority; ``policy`` may be replaced before they are asked for."""

    database: Database
    postman: Postman = field(default_factory=Postman)
    key: MemoryKey = field(default_factory=MemoryKey)
    policy: MessagePolicy = field(default_factory=MessagePolicy)
    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    counted: list[tuple[str, str]] = field(default_factory=list)

    def turn(self, **much: float) -> None:
        self.at += timedelta(**much)

    @property
    def codes(self) -> MessageCodes:
        return MessageCodes(self.database, "test", self.policy, lambda: self.key, lambda: self.at, audit.record)

    @property
    def desk(self) -> MessageDesk:
        policy = replace(self.policy, senders=dict.fromkeys(("sms", "ars", "mail"), self.postman))
        return MessageDesk(self.codes, policy, "test", lambda *told: self.counted.append(told))

    def start(
        self, channel: str = "sms", purpose: str = PURPOSE, *, who: Recipient = HONG, source: str | None = SOURCE
    ) -> Sent:
        return self.desk.start(who, channel, purpose, source)  # type: ignore[arg-type]

    def sent_code(self) -> str:
        """The code of the newest message."""
        code = self.postman.messages[-1].code
        assert code is not None
        return code.reveal().decode()

    def answer(self, code: str, purpose: str = PURPOSE, *, who: Recipient = HONG) -> Passed:
        return self.desk.answer(who.id, purpose, Secret(code))

    def why_not(self, code: str, purpose: str = PURPOSE) -> str:
        """What became of the code, as who typed it is told."""
        with pytest.raises(MessageCodeRefused) as refused:
            self.answer(code, purpose)
        return f"{refused.value.facts['state']} {refused.value.facts['tries_left']}"

    def audited(self) -> list[tuple[str, str]]:
        """Event and details of every row on record."""
        with self.database.reading() as connection:
            rows = connection.execute(tables.audit.select().order_by(tables.audit.c.seq))
            return [(row.event, row.details) for row in rows if row.event.startswith("message-")]


class Ring:
    """The authority's token, in memory, which is asked for one secret only."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, address: str) -> Any:
        raise AssertionError(address)

    def open(self, _address: str) -> MemoryKey:
        return MemoryKey()

    def make(self, beside: str, _key_id: bytes, label: str) -> str:
        self.made.append(label)
        return f"{beside}-codes"


def another(code: str) -> str:
    """A code that it is not."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


@pytest.fixture
def bureau(database_url: str) -> Iterator[Bureau]:
    """On SQLite and on PostgreSQL."""
    made = Bureau(founded(database_url))
    yield made
    made.database.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Bureau]:
    """On SQLite alone: for what the database has no part in."""
    made = Bureau(founded(f"sqlite:///{tmp_path / 'small.sqlite'}"))
    yield made
    made.database.close()
