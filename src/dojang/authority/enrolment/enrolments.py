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
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, update

from dojang.authority import audit, tables
from dojang.authority.audit.record import moment_text
from dojang.authority.database import Database
from dojang.authority.enrolment import records, tries
from dojang.authority.enrolment.codes import CodeKey, check_same, code_of, decoy_for, reference_in
from dojang.authority.enrolment.lookup import Found, Known, look_up
from dojang.authority.enrolment.policy import EnrolmentPolicy
from dojang.authority.enrolment.records import Terms
from dojang.authority.enrolment.sources import source_of
from dojang.authority.enrolment.states import EXPIRING, OPEN, WHY, State
from dojang.authority.glance import Aside
from dojang.authority.swift import Prepared
from dojang.errors import CodeRefused, Phrase, TooManyTries
from dojang.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNKNOWN = Phrase("it is unknown")
_ENROLMENT = tables.enrolment
_USABLE = (_ENROLMENT.c.state == "ready") & (_ENROLMENT.c.uses_left > 0)
# Prepared once: it is on the way of every certificate.
_USE = Prepared(
    update(_ENROLMENT)
    .where(_ENROLMENT.c.reference == bindparam("wanted"), _USABLE, _ENROLMENT.c.expires_at > bindparam("now"))
    .values(
        uses_left=_ENROLMENT.c.uses_left - 1,
        used_at=bindparam("now"),
        state=case((_ENROLMENT.c.uses_left == 1, "used"), else_=_ENROLMENT.c.state),
    )
    .returning(_ENROLMENT.c.uses_left)
)


class Offer(NamedTuple):
    """What a message under this reference must be protected with, and why that would not help.

    ``code`` has the token compute it, once. ``mark`` tells it from every other code; there is none where no message
    fits. ``terms`` are what it stands for where it is known; ``wrong_tries`` what ``right`` would take back.
    ``beside`` are the columns that were to be brought along.
    """

    code: Callable[[], Secret]
    refusal: Callable[[], CodeRefused] | None = None
    mark: bytes | None = None
    terms: Terms | None = None
    wrong_tries: int = 0
    beside: "Sequence[Any]" = ()

    @property
    def secret(self) -> Secret:
        """The code. Raises ``StateUnreadable`` when the token's key is not the one that made it."""
        return self.code()

    def check(self) -> None:
        """Raise ``CodeRefused`` unless the code may be used now. For those who have proved to know it."""
        if self.refusal is not None:
            raise self.refusal()


class _Computed:
    """What the token computes, once it is asked for, and no second time."""

    __slots__ = ("_compute", "_found")

    def __init__(self, compute: Callable[[], Secret]) -> None:
        self._compute = compute
        self._found: Secret | None = None

    def __call__(self) -> Secret:
        if self._found is None:
            self._found = self._compute()
        return self._found


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

    def secret_for(self, reference: str, source: str, aside: Aside | None = None) -> Offer:
        """The code, which the token computes when it is needed. ``source`` is the address of who asks.

        ``aside`` is asked for with the same words. Raises ``TooManyTries``.
        """
        found = self._look_up(reference, source, aside)
        if found.tries >= self._policy.source_tries:
            minutes = int(self._policy.source_window.total_seconds() // 60)
            raise TooManyTries(authority=self._authority, source=source_of(source), minutes=minutes)
        known = found.known
        if known is None or self._is_locked(known):
            code = _Computed(partial(self._decoy, reference))
            return Offer(code, partial(self._refusal, reference, _UNKNOWN), beside=found.beside)
        state = known.state
        refusal = None if state == "ready" else partial(self._refusal, reference, WHY[state], state)
        code = _Computed(partial(self._code, reference, known.salt, known.code_hash))
        return Offer(code, refusal, known.salt + known.code_hash, known.terms, known.wrong_tries, found.beside)

    def wrong(self, reference: str, source: str) -> None:
        """Count a code that did not fit; durable when this returns. The one too many locks the reference."""
        at, reference, source = self._clock(), reference_in(reference), source_of(source)
        self._database.together(lambda connection: tries.count_wrong(connection, reference, source, self._policy, at))

    def right(self, reference: str, source: str) -> None:
        """A code fitted: its reference's wrong tries are taken back. Those of ``source`` are not."""
        known = self._look_up(reference, source).known
        if known is not None and known.wrong_tries:
            self._database.together(lambda connection: tries.forgive(connection, reference))

    def terms(self, reference: str) -> Terms:
        """What the code stands for. ``CodeRefused`` for an unknown reference."""
        known = self._look_up(reference, "-").known
        if known is None:
            raise self._refusal(reference, _UNKNOWN)
        return known.terms

    def take(self, connection: Connection, reference: str, *, serial: str) -> None:
        """Use the code up, in the transaction that records the certificate ``serial``. ``CodeRefused`` if it is not
        ready: then that transaction must not be committed.
        """
        at, reference = self._clock(), reference_in(reference)
        used = _USE.row(connection, {"wanted": reference, "now": at})
        if used is None:
            raise self._why_not(connection, reference, at)
        audit.record(connection, event="enrolment-used", subject=reference, at=at, serial=serial, uses_left=used[0])

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

    def _code(self, reference: str, salt: bytes, code_hash: bytes) -> Secret:
        code = code_of(self._code_key(), reference, salt)
        check_same(code, salt, code_hash, self._authority)
        return code

    def _decoy(self, reference: str) -> Secret:
        return decoy_for(self._code_key(), reference_in(reference))

    def _look_up(self, reference: str, source: str, aside: Aside | None = None) -> Found:
        at = self._clock()
        since = at - self._policy.source_window
        return look_up(self._database, reference_in(reference), source_of(source), since, at, aside)

    def _is_locked(self, known: Known) -> bool:
        """Also what was used or has ended otherwise, once it was guessed at as often."""
        return known.recorded == "locked" or (known.recorded not in OPEN and known.wrong_tries >= self._policy.tries)

    def _why_not(self, connection: Connection, reference: str, at: datetime) -> CodeRefused:
        row = records.row_of(connection, reference)
        if row is None:
            return self._refusal(reference, _UNKNOWN)
        state = records.enrolment_of(row, at).state
        return self._refusal(reference, WHY[state], state)

    def _refusal(self, reference: str, problem: Phrase, state: State | None = None) -> CodeRefused:
        return CodeRefused(
            authority=self._authority, reference=reference_in(reference), problem=problem, state=state or "unknown"
        )
