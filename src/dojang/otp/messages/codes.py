"""Codes that people get by message or press in a call: six digits, for a few minutes and a few tries, good once.

    code_hash     HMAC-SHA256(K, "dojang message code 1" 00 ‖ id ‖ salt ‖ code)
    target_tag    HMAC-SHA256(K, "dojang message target 1" 00 ‖ address, of a mail box as it is counted)

K is a secret on the authority's token: a million codes are quickly tried, but nobody without the token can try one, nor
a telephone number. A code is for one applicant and one purpose, and the newest of them is the only one that works.

A try is durable before the code is compared, and what came of it before anybody is told: two transactions, so that a
process that is killed in between has spent the try. The token is asked before the first of them, so nobody waits for it
with the database in his hand. Only one of those who come with the right code finds it still live in the second.
"""

import hmac
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update

from dojang.errors import AlreadyExists, MessageCodeRefused, Phrase, TooManyMessages
from dojang.otp.messages import limits
from dojang.otp.messages.signature import FRESH
from dojang.otp.messages.standing import not_live, not_pressed_yet, state_at, to_be_pressed, wrong
from dojang.otp.messages.targets import Channel, Target
from dojang.otp.tables import IS_OPEN, message_code, message_outcome
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.otp.messages.policy import MessagePolicy
    from dojang.otp.records import Clock, Note, Records, TokenSecret

Pressed = Literal["right", "again", "over"]
Entry = Callable[[Connection, "Passed"], None]
"""What is to be recorded in the transaction that uses a code up."""

DIGITS: Final = 6
_CODE: Final = b"dojang message code 1\0"
_TARGET: Final = b"dojang message target 1\0"
_SALT_BYTES: Final = 16
_KEPT: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Begun:
    """A code that is durable and may be sent, once, by whoever holds this."""

    id: str
    code: Secret
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Passed:
    """Somebody had the code. ``device`` tells one number or mail address from others, and not which it is."""

    id: str
    channel: Channel
    applicant: str
    purpose: str
    device: str
    passed_at: datetime


class MessageCodes:
    """The codes of one authority, for many threads and processes. ``key`` opens K when it is called."""

    def __init__(
        self,
        records: "Records",
        authority: str,
        policy: "MessagePolicy",
        key: "Callable[[], TokenSecret]",
        clock: "Clock",
        note: "Note",
    ) -> None:
        self._records, self._authority, self._policy = records, authority, policy
        self._key, self._clock, self._note = key, clock, note

    def begin(self, applicant: str, purpose: str, target: Target, source: str | None) -> Begun:
        """A new code, durable when this returns; the one before it is worthless. ``TooManyMessages``."""
        key, new, salt = self._key(), secrets.token_hex(16), secrets.token_bytes(_SALT_BYTES)
        code = Secret(f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}")
        tag, at = key.digest(_TARGET + target.counted.encode()), self._clock()
        values = {
            "id": new,
            "purpose": purpose,
            "applicant": applicant,
            "channel": target.channel,
            "target_tag": tag,
            "code_hash": _hash_of(key, new, salt, code),
            "salt": salt,
            "tries_left": self._policy.tries,
            "state": "live",
            "created_at": at,
            "expires_at": at + self._policy.lifetime,
        }

        def work(connection: Connection) -> None:
            self._check_limits(connection, tag, source, at)
            limits.count(connection, self._policy, tag, source, at)
            connection.execute(delete(message_code).where(message_code.c.expires_at <= at - _KEPT))
            connection.execute(update(message_code).where(_of(applicant, purpose), IS_OPEN).values(state="replaced"))
            connection.execute(insert(message_code).values(**values))
            told = {"channel": target.channel, "purpose": purpose, "target": target.masked}
            self._note(connection, event="message-made", subject=applicant, at=at, **told)

        self._records.together(work)
        return Begun(new, code, at + self._policy.lifetime)

    def sent(self, begun: Begun) -> None:
        """It was taken by whoever carries it."""
        self._told(begun.id, "message-sent")

    def unsent(self, begun: Begun, problem: str) -> None:
        """It was not, or nobody knows: the code is worthless."""
        self._lose(begun.id, problem)

    def answer(self, applicant: str, purpose: str, code: Secret, entry: Entry | None = None) -> Passed:
        """The code was typed. ``MessageCodeRefused``; ``entry`` is recorded with its use or the code is not used."""
        row = self._newest(applicant, purpose)
        self._check_typed(row)
        assert row is not None
        fits, tries_left = self._try(row, code)
        if not fits:
            self._count_wrong(row, tries_left)
            raise wrong(self._authority, tries_left)
        return self._use(row, "live", entry)

    def claim(self, applicant: str, purpose: str, entry: Entry | None = None) -> Passed:
        """The digits were pressed in a call: once. ``AnswerPending`` before, ``MessageCodeRefused``."""
        row = self._newest(applicant, purpose)
        state = self._state(row)
        if row is not None and row.channel == "ars" and state == "live":
            raise not_pressed_yet(self._authority)
        if row is None or state != "pressed":
            raise self._refusal(state)
        return self._use(row, "pressed", entry)

    def press(self, call: str, digits: Secret, nonce: str) -> Pressed:
        """What a person pressed. ``AlreadyExists`` for an outcome that was told before."""
        row = self._call(call)
        if row is None or self._state(row) != "live":
            self._records.together(lambda connection: self._once(connection, nonce))
            return "over"
        try:
            fits, tries_left = self._try(row, digits, nonce)
        except MessageCodeRefused:
            return "over"
        if fits:
            return "right" if self._records.together(lambda connection: self._press(connection, row)) else "over"
        self._count_wrong(row, tries_left)
        return "again" if tries_left else "over"

    def unanswered(self, call: str, nonce: str) -> Pressed:
        """Nobody took the call, or it broke off. ``AlreadyExists`` for an outcome that was told before."""
        self._records.together(lambda connection: self._once(connection, nonce))
        if self._call(call) is not None:
            self._lose(call, "unanswered")
        return "over"

    # The steps

    def _try(self, row: Row[Any], code: Secret, nonce: str | None = None) -> tuple[bool, int]:
        """Whether it is the code, and how many tries are left; the try is durable by then."""
        found = _hash_of(self._key(), row.id, row.salt, code)
        tries_left = self._records.together(lambda connection: self._charge(connection, row.id, nonce))
        if tries_left is None:
            raise self._refusal(self._state(self._by_id(row.id)))
        return hmac.compare_digest(found, row.code_hash), tries_left

    def _charge(self, connection: Connection, code: str, nonce: str | None) -> int | None:
        if nonce is not None:
            self._once(connection, nonce)
        usable = (message_code.c.state == "live") & (message_code.c.tries_left > 0)
        spend = (
            update(message_code)
            .where(message_code.c.id == code, usable, message_code.c.expires_at > self._clock())
            .values(tries_left=message_code.c.tries_left - 1)
            .returning(message_code.c.tries_left)
        )
        return connection.execute(spend).scalar_one_or_none()

    def _use(self, row: Row[Any], before: str, entry: Entry | None) -> Passed:
        passed = Passed(row.id, row.channel, row.applicant, row.purpose, row.target_tag.hex()[:16], self._clock())

        def work(connection: Connection) -> bool:
            if not _move(connection, row.id, before, "used"):
                return False
            self._note_of(connection, row, "message-passed", passed.passed_at)
            if entry is not None:
                entry(connection, passed)
            return True

        if not self._records.together(work):
            raise self._refusal(self._state(self._by_id(row.id)))
        return passed

    def _press(self, connection: Connection, row: Row[Any]) -> bool:
        if not _move(connection, row.id, "live", "pressed"):
            return False
        self._note_of(connection, row, "message-pressed", self._clock())
        return True

    def _count_wrong(self, row: Row[Any], tries_left: int) -> None:
        """The try is spent already; this says so, and that it was the last one."""

        def work(connection: Connection) -> None:
            if tries_left == 0:
                _move(connection, row.id, "live", "spent")
            self._note_of(connection, row, "message-wrong", self._clock(), tries_left=tries_left)

        self._records.together(work)

    def _lose(self, code: str, problem: str) -> None:
        at = self._clock()

        def work(connection: Connection) -> None:
            if _move(connection, code, "live", "unsent"):
                row = connection.execute(select(message_code).where(message_code.c.id == code)).one()
                self._note_of(connection, row, "message-failed", at, problem=problem)

        self._records.together(work)

    def _told(self, code: str, event: str) -> None:
        row, at = self._by_id(code), self._clock()
        if row is not None:
            self._records.together(lambda connection: self._note_of(connection, row, event, at))

    def _once(self, connection: Connection, nonce: str) -> None:
        """This outcome and no repetition of it. One writes at a time, so nobody comes between looking and writing."""
        at, seen = self._clock(), message_outcome.c.nonce == nonce
        if connection.execute(select(message_outcome.c.nonce).where(seen)).first() is not None:
            raise AlreadyExists(
                what=Phrase("This outcome of a call"),
                where=self._authority,
                next_step="Do not send it again; each outcome has a nonce of its own.",
            )
        connection.execute(delete(message_outcome).where(message_outcome.c.at <= at - 3 * FRESH))
        connection.execute(insert(message_outcome).values(nonce=nonce, at=at))

    def _check_limits(self, connection: Connection, tag: bytes, source: str | None, at: datetime) -> None:
        wait = limits.wait_for(connection, self._policy, tag, source, at)
        if wait is not None:
            raise TooManyMessages(authority=self._authority, problem=wait.problem, seconds=wait.seconds)

    # Looking

    def _newest(self, applicant: str, purpose: str) -> Row[Any] | None:
        query = select(message_code).where(_of(applicant, purpose))
        with self._records.reading() as connection:
            found = connection.execute(query.where(IS_OPEN)).one_or_none()
            return found or connection.execute(query.order_by(message_code.c.created_at.desc()).limit(1)).one_or_none()

    def _call(self, call: str) -> Row[Any] | None:
        row = self._by_id(call)
        return row if row is not None and row.channel == "ars" else None

    def _by_id(self, code: str) -> Row[Any] | None:
        with self._records.reading() as connection:
            return connection.execute(select(message_code).where(message_code.c.id == code)).one_or_none()

    def _state(self, row: Row[Any] | None) -> str:
        return "none" if row is None else state_at(row, self._policy.lifetime, self._clock())

    def _check_typed(self, row: Row[Any] | None) -> None:
        state = self._state(row)
        if row is None or state != "live":
            raise self._refusal(state)
        if row.channel == "ars":
            raise to_be_pressed(self._authority, row.tries_left)

    def _refusal(self, state: str) -> MessageCodeRefused:
        return not_live(self._authority, state)

    def _note_of(self, connection: Connection, row: Row[Any], event: str, at: datetime, **details: str | int) -> None:
        told: dict[str, Any] = {"channel": row.channel, "purpose": row.purpose, **details}
        self._note(connection, event=event, subject=row.applicant, at=at, **told)


def forget(connection: Connection, applicant: str, channels: Collection[str]) -> None:
    """Inside ``writing()``: what is on its way to an applicant by these channels is worthless from now on."""
    mine = (message_code.c.applicant == applicant) & message_code.c.channel.in_(channels)
    connection.execute(update(message_code).where(mine, IS_OPEN).values(state="replaced"))


def _of(applicant: str, purpose: str) -> Any:
    return (message_code.c.applicant == applicant) & (message_code.c.purpose == purpose)


def _move(connection: Connection, code: str, before: str, after: str) -> bool:
    """Whether it was in that state, and is in the other now."""
    mine = (message_code.c.id == code) & (message_code.c.state == before)
    return connection.execute(update(message_code).where(mine).values(state=after)).rowcount == 1


def _hash_of(key: "TokenSecret", code: str, salt: bytes, value: Secret) -> bytes:
    return key.digest(_CODE + code.encode() + salt + value.reveal())
