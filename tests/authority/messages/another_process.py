"""A process that works with codes by message: ``answer`` races for one, ``strike`` is killed at every step.

another_process.py answer URL CODE THREADS    prints how many of its threads passed with the code
another_process.py strike URL EVERY CHANNEL   prints what had left each process, and what was on record then
"""

import hmac
import json
import os
import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from tests.striking import kill_at

from dojang.authority import audit, tables
from dojang.authority.database import Database
from dojang.errors import AnswerPending, MessageCodeRefused
from dojang.otp.messages.codes import MessageCodes
from dojang.otp.messages.desk import MessageDesk, Recipient
from dojang.otp.messages.policy import MessagePolicy
from dojang.otp.messages.sending import Message
from dojang.otp.tables import message_code
from dojang.secret import Secret

HONG = Recipient("5f0c3a9b21", {"phone": "010-1234-5678"})
PURPOSE = "issue:4081160273"
POLICY = MessagePolicy(again=timedelta(seconds=0), per_target=10**6, per_source=10**6, per_day=10**6)


class Key:
    def digest(self, message: bytes) -> bytes:
        return hmac.digest(b"k" * 32, message, "sha256")


class Pipe:
    """A sender whose messages leave the process, as bytes on a pipe."""

    kind = "pipe"

    def __init__(self, descriptor: int = -1) -> None:
        self.descriptor, self.code, self.call = descriptor, b"", b""

    def send(self, message: Message) -> None:
        self.call = message.id.encode()
        self.code = b"" if message.code is None else message.code.reveal()
        os.write(self.descriptor, b"m" + (self.code or self.call))


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def desk_in(database: Database, pipe: Pipe) -> MessageDesk:
    codes = MessageCodes(database, "test", POLICY, Key, now, audit.record)
    return MessageDesk(codes, replace(POLICY, senders={"sms": pipe, "ars": pipe}), "test")


def passes(desk: MessageDesk, code: bytes) -> bool:
    try:
        desk.answer(HONG.id, PURPOSE, Secret(code))
    except MessageCodeRefused:
        return False
    return True


def claimed(desk: MessageDesk) -> bool:
    try:
        desk.answer(HONG.id, PURPOSE, None)
    except (MessageCodeRefused, AnswerPending):
        return False
    return True


def answer(url: str, code: str, threads: int) -> int:
    """How many threads passed, all of them beginning at once."""
    database = Database.open(url)
    together, passed = threading.Barrier(threads), list[bool]()

    def run() -> None:
        together.wait()
        passed.append(passes(desk_in(database, Pipe()), code.encode()))

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    database.close()
    assert len(passed) == threads
    return sum(passed)


def strike(url: str, every: int, channel: str) -> None:
    """A code is sent, answered wrong, and answered right; killed before statements and about commits."""
    number, survived = 0, False
    child = {"sms": _by_message, "ars": _by_call}[channel]
    while not survived:
        left, survived = _struck(url, number, child)
        database = Database.open(url)
        before = _on_record(database)
        sent = left[1:7].encode() if left.startswith("m") and channel == "sms" else None
        desk = desk_in(database, Pipe())
        later = [claimed(desk) if channel == "ars" else sent is not None and passes(desk, sent) for _ in range(2)]
        told = {"left": left, "before": before, "later": later, "after": _on_record(database)}
        database.close()
        print(json.dumps(told), flush=True)
        number += every


def _struck(url: str, number: int, work: Callable[[Database, int], None]) -> tuple[str, bool]:
    """What left the process before it was killed, and whether it came to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        database = Database.open(url)
        kill_at(database, number)
        work(database, writing)
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe_end:
        return pipe_end.read(), status == 0


def _wrong(code: bytes) -> bytes:
    return f"{(int(code) + 1) % 1_000_000:06d}".encode()


def _by_message(database: Database, out: int) -> None:
    pipe = Pipe(out)
    desk = desk_in(database, pipe)
    desk.start(HONG, "sms", PURPOSE, None)
    os.write(out, b"s")
    os.write(out, b"!" if passes(desk, _wrong(pipe.code)) else b"w")
    os.write(out, b"p" if passes(desk, pipe.code) else b"-")


def _by_call(database: Database, out: int) -> None:
    desk = desk_in(database, Pipe(out))
    sent = desk.start(HONG, "ars", PURPOSE, None)
    assert sent.shown is not None
    for digits, letter in ((_wrong(sent.shown.reveal()), b"w"), (sent.shown.reveal(), b"r")):
        answer = desk._codes.press(sent.id, Secret(digits), secrets.token_hex(16))
        os.write(out, letter if answer == {b"w": "again", b"r": "right"}[letter] else b"!")
    os.write(out, b"p" if claimed(desk) else b"-")


def _on_record(database: Database) -> dict[str, object]:
    """State and tries of the newest code, and how often each thing was put on record about any."""
    with database.reading() as connection:
        newest = select(message_code).where(message_code.c.state != "replaced").order_by(message_code.c.created_at)
        rows = connection.execute(newest).all()
        events = connection.execute(select(tables.audit.c.event)).scalars().all()
    open_rows = [row for row in rows if row.state == "live"]
    counts = {name: events.count(f"message-{name}") for name in ("made", "sent", "wrong", "pressed", "passed")}
    return {"open": [row.tries_left for row in open_rows], **counts}


if __name__ == "__main__":
    verb, url, *rest = sys.argv[1:]
    if verb == "answer":
        print(answer(url, rest[0], int(rest[1])))
    else:
        strike(url, int(rest[0]), rest[1])
