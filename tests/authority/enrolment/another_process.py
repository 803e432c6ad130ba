"""A process that works with codes, started by the tests: ``take`` races for one, ``strike`` is killed at every step.

another_process.py take URL REFERENCE CODE THREADS    prints how many of its threads had the code
another_process.py strike URL EVERY                   prints what was answered and what was on record
"""

import hmac
import json
import os
import sys
import threading
from datetime import UTC, datetime

from sqlalchemy import func, insert, select
from tests.striking import kill_at

from dojang.authority import tables
from dojang.authority.database import Database
from dojang.authority.enrolment import EnrolmentPolicy, Enrolments, Office, Terms
from dojang.errors import CodeRefused
from dojang.x509.profiles import profile

SOURCE = "203.0.113.7"
POLICY = EnrolmentPolicy(tries=1000, source_tries=1000)


class Key:
    def digest(self, message: bytes) -> bytes:
        return hmac.digest(b"k" * 32, message, "sha256")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def enrolments_in(database: Database) -> Enrolments:
    return Enrolments(database, "test", POLICY, Key, now)


def issue(database: Database, reference: str, code: bytes, serial: str) -> bool:
    """What a conversation does: prove, then record certificate and use of the code together."""
    enrolments = enrolments_in(database)
    offer = enrolments.secret_for(reference, SOURCE)
    assert hmac.compare_digest(offer.secret.reveal(), code)
    enrolments.right(reference, SOURCE)
    moments = dict.fromkeys(("not_before_at", "not_after_at", "recorded_at", "changed_at"), now())
    values = {"serial": serial, "signer": "root", "profile": "personal", "subject": "CN=Hong", "state": "issued"}
    values |= {"certificate_der": os.urandom(20), "key_fingerprint": b"", "enrolment": reference}
    try:
        offer.check()
        with database.writing() as connection:
            connection.execute(insert(tables.certificate).values(**moments, **values))
            enrolments.take(connection, reference, serial=serial)
    except CodeRefused:
        return False
    return True


def take(url: str, reference: str, code: str, threads: int) -> int:
    """How many threads had the code, all of them beginning at once."""
    database = Database.open(url)
    together, had = threading.Barrier(threads), []

    def run() -> None:
        together.wait()
        had.append(issue(database, reference, code.encode(), os.urandom(9).hex()))

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    database.close()
    assert len(had) == threads
    return sum(had)


def strike(url: str, every: int) -> None:
    """A wrong try and an issue, killed before statements and about commits: at one in ``every`` of these points."""
    number, survived = 0, False
    while not survived:
        database = Database.open(url)
        office = Office(database, "test", POLICY, profile, Key, now)
        handed = office.new(Terms("personal", "CN=Hong"))
        database.close()
        answered, survived = _struck(url, handed.enrolment.reference, handed.code.reveal(), number)
        print(json.dumps({"answered": answered, **_on_record(url, handed.enrolment.reference)}), flush=True)
        number += every


def _struck(url: str, reference: str, code: bytes, number: int) -> tuple[str, bool]:
    """What left the process before it was killed, and whether it came to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        database = Database.open(url)
        kill_at(database, number)
        enrolments_in(database).wrong(reference, SOURCE)
        os.write(writing, b"w")
        os.write(writing, b"t" if issue(database, reference, code, f"{number + 1:x}") else b"-")
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read(), status == 0


def _on_record(url: str, reference: str) -> dict[str, object]:
    database = Database.open(url)
    with database.reading() as connection:
        row = connection.execute(select(tables.enrolment).where(tables.enrolment.c.reference == reference)).one()
        mine = tables.certificate.c.enrolment == reference
        certificates = connection.execute(select(func.count()).select_from(tables.certificate).where(mine)).scalar()
        told = (tables.audit.c.event == "enrolment-used") & (tables.audit.c.subject == reference)
        used = connection.execute(select(func.count()).select_from(tables.audit).where(told)).scalar()
        wrong = (tables.audit.c.event == "code-wrong") & (tables.audit.c.subject == reference)
        tries = connection.execute(select(func.count()).select_from(tables.audit).where(wrong)).scalar()
    database.close()
    # A right code takes back what was counted for its reference; the record of it stays.
    return {"state": row.state, "certificates": certificates, "used": used, "wrong": tries}


if __name__ == "__main__":
    verb, url, *rest = sys.argv[1:]
    if verb == "take":
        print(take(url, rest[0], rest[1], int(rest[2])))
    else:
        strike(url, int(rest[0]))
