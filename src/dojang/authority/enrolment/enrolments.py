"""Reference numbers and codes as the conversation with applicants needs them: proved, counted, used up.

    offer = enrolments.secret_for(reference, source)         # TooManyTries
    if not fits(offer.secret):                               # the MAC of the message
        enrolments.wrong(reference, source)                  # on disk before the answer leaves
        …                                                    # the same answer for every reason
    enrolments.right(reference, source)
    offer.check()                                            # CodeRefused: only who has the code is told why
    …
    with database.writing() as connection:
        …                                                    # record the certificate
        enrolments.take(connection, reference, serial=…)     # exactly once, or CodeRefused and nothing is recorded

From outside a reference that nobody was given, one that is locked and a wrong code look alike: for the first two
``secret_for`` gives, after as much work, a secret that no message fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, update

from dojang.authority import audit, tables
from dojang.authority.audit.record import moment_text
from dojang.authority.database import Database
from dojang.authority.enrolment import records, tries
from dojang.authority.enrolment.codes import CodeKey, check_same, code_of, decoy_for, reference_in
from dojang.authority.enrolment.policy import EnrolmentPolicy
from dojang.authority.enrolment.records import Enrolment, Terms
from dojang.authority.enrolment.sources import source_of
from dojang.authority.enrolment.states import EXPIRING, WHY, State
from dojang.errors import CodeRefused, Phrase
from dojang.secret import Secret

_UNKNOWN = Phrase("it is unknown")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a message under this reference must be protected with, and why that would not help."""

    secret: Secret
    refusal: CodeRefused | None = None

    def check(self) -> None:
        """Raise ``CodeRefused`` unless the code may be used now. For those who have proved to know it."""
        if self.refusal is not None:
            raise self.refusal


class Enrolments:
    """The enrolments of one authority, for many threads and processes; ``code_key`` opens the token when asked."""

    def __init__(
        self,
        database: Database,
        authority: str,
        policy: EnrolmentPolicy,
        code_key: Callable[[], CodeKey],
        clock: Callable[[], datetime],
    ) -> None:
        self._database, self._authority, self._policy = database, authority, policy
        self._code_key, self._clock = code_key, clock

    def secret_for(self, reference: str, source: str) -> Offer:
        """The code, which the token computes. ``source`` is the address of who asks.

        Raises ``TooManyTries``; ``StateUnreadable`` when the token's key is not the one that made the code.
        """
        at, reference, source = self._clock(), reference_in(reference), source_of(source)
        with self._database.reading() as connection:
            tries.refuse_blocked(connection, source, self._policy, at, self._authority)
            row = records.row_of(connection, reference)
        key = self._code_key()
        if row is None or row.state == "locked" or row.wrong_tries >= self._policy.tries:
            return Offer(decoy_for(key, reference), self._refusal(reference, _UNKNOWN))
        secret = code_of(key, reference, row.salt)
        check_same(secret, row.salt, row.code_hash, self._authority)
        state = records.enrolment_of(row, at).state
        return Offer(secret, None if state == "ready" else self._refusal(reference, WHY[state], state))

    def wrong(self, reference: str, source: str) -> None:
        """Count a code that did not fit; durable when this returns. The one too many locks the reference."""
        at, reference, source = self._clock(), reference_in(reference), source_of(source)
        self._database.together(lambda connection: tries.count_wrong(connection, reference, source, self._policy, at))

    def right(self, reference: str, source: str) -> None:
        """A code fitted: its reference's wrong tries are taken back. Those of ``source`` are not."""
        with self._database.reading() as connection:
            row = records.row_of(connection, reference)
        if row is not None and row.wrong_tries:
            self._database.together(lambda connection: tries.forgive(connection, reference, self._policy))

    def terms(self, reference: str) -> Terms:
        """What the code stands for. ``CodeRefused`` for an unknown reference."""
        with self._database.reading() as connection:
            row = records.row_of(connection, reference)
        if row is None:
            raise self._refusal(reference, _UNKNOWN)
        return records.enrolment_of(row, self._clock()).terms

    def take(self, connection: Connection, reference: str, *, serial: str) -> Enrolment:
        """Use the code up, in the transaction that records the certificate ``serial``. ``CodeRefused`` if it is not
        ready: then that transaction must not be committed.
        """
        at, table, reference = self._clock(), tables.enrolment, reference_in(reference)
        mine = (table.c.reference == reference) & (table.c.state == "ready")
        usable = mine & (table.c.expires_at > at) & (table.c.uses_left > 0)
        taken = connection.execute(update(table).where(usable).values(uses_left=table.c.uses_left - 1, used_at=at))
        row = records.row_of(connection, reference)
        if row is None:
            raise self._refusal(reference, _UNKNOWN)
        if taken.rowcount != 1:
            state = records.enrolment_of(row, at).state
            raise self._refusal(reference, WHY[state], state)
        if row.uses_left == 0:
            connection.execute(update(table).where(table.c.reference == reference).values(state="used"))
        details = {"serial": serial, "uses_left": row.uses_left}
        audit.record(connection, event="enrolment-used", subject=reference, at=at, **details)
        return records.found(connection, reference, at, self._authority)

    def expire(self) -> list[str]:
        """Write down which codes have run out of time, and name their references. For a job; nothing waits for it."""
        at, table = self._clock(), tables.enrolment
        due = table.c.state.in_(EXPIRING) & (table.c.expires_at <= at)
        with self._database.writing() as connection:
            query = update(table).where(due).values(state="expired").returning(table.c.reference, table.c.expires_at)
            expired = connection.execute(query).all()
            for reference, expires_at in expired:
                moment = moment_text(expires_at)
                audit.record(connection, event="enrolment-expired", subject=reference, at=at, expires_at=moment)
        return [reference for reference, _ in expired]

    def _refusal(self, reference: str, problem: Phrase, state: State | None = None) -> CodeRefused:
        return CodeRefused(
            authority=self._authority, reference=reference_in(reference), problem=problem, state=state or "unknown"
        )
