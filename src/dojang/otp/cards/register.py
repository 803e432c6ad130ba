"""The cards of an authority: made, asked, answered, locked, unlocked.

    made = cards.make(applicant)                    # unprinted: nobody is asked for it
    …                                               # whoever prints it has the codes, and they are nowhere else
    cards.printed(made.card.number)                 # … and the applicant's card of before ends
    asked = cards.challenge(number)                 # the same until it is answered
    cards.verify(number, Secret("2408"))            # OtpWrong, OtpLocked

An answer is charged as a wrong one before it is compared, and nobody hears how it was before that is durable, in the
transaction in which a right one uses its challenge up: it is taken once, whoever else gives it at the same moment. The
HSM opens the two codes before, so that a slow token keeps nobody else from writing.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import Connection, Row, insert, select, update

from dojang.errors import DojangError, NotFound, OtpWrong, Phrase
from dojang.otp import tables
from dojang.otp.cards import codes
from dojang.otp.cards.card import Card, NewCard, card_in, locked, named, refused, unusable
from dojang.otp.cards.policy import CardPolicy

if TYPE_CHECKING:
    from dojang.otp.cards.codes import Sealer
    from dojang.otp.records import Clock, Note, Records
    from dojang.secret import Secret

Entry = Callable[[Connection], None]
"""What is to be recorded in the transaction that takes an answer."""

PAGE: Final = 100
_CARD: Final = tables.security_card
_NOTHING_ASKED: Final[dict[str, Any]] = {"first": None, "second": None, "challenged_at": None}


class CardKeys(Protocol):
    """The keys under which cards are sealed, by the ids of the KEKs beside which they live."""

    def current(self) -> "tuple[str, Sealer]":
        """The id of the one for new cards, which is made when there is none yet."""
        ...

    def of(self, kek: str) -> "Sealer":
        """``NotFound`` for one that is gone."""
        ...

    def for_new(self, kek: str) -> "Sealer":
        """The same, to seal with: made where there is none yet."""
        ...


class Cards:
    """Any number of threads and processes may use the cards of one database."""

    def __init__(
        self, records: "Records", keys: CardKeys, note: "Note", clock: "Clock", policy: CardPolicy, authority: str
    ) -> None:
        self._records, self._keys, self._note, self._clock = records, keys, note, clock
        self.policy, self._authority = policy, authority

    # Making

    def make(self, applicant: str) -> NewCard:
        """A new card, unprinted. What killed runs have left unprinted of this applicant is removed."""
        while True:
            kek, sealer = self._keys.current()
            drawn, number = codes.new_codes(sealer.random, self.policy.entries), codes.new_number(sealer.random)
            sealed = codes.sealed_codes(sealer, number, drawn)
            values = {"id": number, "applicant": applicant, "entries": len(drawn), "sealed": sealed, "kek": kek}
            with self._records.writing() as connection:
                if _row(connection, number) is None and _is_current(connection, kek):
                    return NewCard(self._insert(connection, values), drawn)

    def printed(self, number: str) -> Card:
        """From now on it is asked for, and no other one of its applicant, which end with it.

        Nothing to do for a card that is printed; ``NotPermitted`` for one that was removed.
        """
        with self._records.writing() as connection:
            row = self._found(connection, number)
            if row.state == "removed":
                raise refused(number, Phrase("it was removed"))
            replaced: list[str] = []
            if row.state == "unprinted":
                self._set(connection, number, state="active")
                self._tell(connection, "card-printed", number)
                replaced = self._remove_all(connection, row.applicant, ("active", "locked"), "replaced", but=number)
            return replace(card_in(self._found(connection, number)), replaced=tuple(replaced))

    def remove(self, number: str, reason: str = "") -> Card:
        """It is never asked for again, and nothing of its codes is kept."""
        with self._records.writing() as connection:
            if self._found(connection, number).state != "removed":
                self._remove(connection, number, reason)
            return card_in(self._found(connection, number))

    # Asking

    def challenge(self, number: str) -> Card:
        """The card with the two places that are asked for: those of before, until they were answered."""
        row = self._usable(number)
        if row.first is not None:
            return card_in(row)
        first, second = codes.new_pair(self._keys.current()[1].random, row.entries)
        with self._records.writing() as connection:
            asked = {"first": first, "second": second, "challenged_at": self._clock()}
            mine = (_CARD.c.id == number) & _CARD.c.first.is_(None) & (_CARD.c.state == "active")
            connection.execute(update(_CARD).where(mine).values(**asked))  # unless somebody else has asked meanwhile
            now = self._found(connection, number)
            if now.first is None:
                raise unusable(now)
            return card_in(now)

    def verify(self, number: str, answer: "Secret", entry: Entry | None = None) -> Card:
        """Take the answer to what is asked. ``OtpWrong``, ``OtpLocked``; ``NotPermitted`` where nothing is asked.

        ``entry`` is recorded in the transaction that takes a right one, or that is not taken.
        """
        row, right = self._right(number)
        outcome = self._records.together(lambda connection: self._judged(connection, row, right, answer, entry))
        if isinstance(outcome, DojangError):
            raise outcome
        return outcome

    def unlock(self, number: str) -> Card:
        """After too many wrong answers: none is counted any more, and what was asked still is."""
        with self._records.writing() as connection:
            row = self._found(connection, number)
            if row.state not in ("active", "locked"):
                raise refused(number, Phrase("it is {state}", state=Phrase(row.state)))
            self._set(connection, number, state="active", wrong_tries=0)
            self._tell(connection, "card-unlocked", number, tries=row.wrong_tries)
            return card_in(self._found(connection, number))

    # Looking

    def card(self, number: str) -> Card:
        """Raises ``NotFound``."""
        with self._records.reading() as connection:
            return card_in(self._found(connection, number))

    def listed(self, *, applicant: str | None = None, after: str | None = None, limit: int = PAGE) -> list[Card]:
        """In the order of their numbers; removed ones are left out."""
        query = select(_CARD).where(_CARD.c.state != "removed").order_by(_CARD.c.id).limit(limit)
        if applicant is not None:
            query = query.where(_CARD.c.applicant == applicant)
        if after is not None:
            query = query.where(_CARD.c.id > after)
        with self._records.reading() as connection:
            return [card_in(row) for row in connection.execute(query)]

    def seal_anew(self, old: str, new: str, limit: int = PAGE) -> int:
        """Bring so many cards at most from the key beside one KEK to that beside another; how many there were."""
        with self._records.reading() as connection:
            query = select(_CARD).where((_CARD.c.kek == old) & _CARD.c.kek.is_not(None)).order_by(_CARD.c.id)
            rows = connection.execute(query.limit(limit)).all()
        if not rows:
            return 0
        before, after = self._keys.of(old), self._keys.for_new(new)
        changed = [(row.id, codes.sealed_anew(before, after, row.id, row.sealed)) for row in rows]
        with self._records.writing() as connection:
            for number, sealed in changed:
                mine = (_CARD.c.id == number) & (_CARD.c.kek == old)
                connection.execute(update(_CARD).where(mine).values(sealed=sealed, kek=new))
        return len(changed)

    # One step each

    def _insert(self, connection: Connection, values: dict[str, Any]) -> Card:
        self._remove_all(connection, values["applicant"], ("unprinted",), "unprinted")
        connection.execute(insert(_CARD).values(**values, state="unprinted", created_at=self._clock()))
        told = {name: values[name] for name in ("applicant", "entries")}
        self._tell(connection, "card-made", values["id"], **told)
        return card_in(self._found(connection, values["id"]))

    def _right(self, number: str) -> tuple[Row[Any], bytes]:
        """The card, and the answer to what is asked of it; read again where its key was replaced meanwhile."""
        while True:
            row = self._usable(number)
            if row.first is None:
                raise refused(number, Phrase("nothing is asked of it"), f"dojang otp card challenge {number}")
            try:
                return row, codes.answer_of(self._keys.of(row.kek), number, row.sealed, row.first, row.second)
            except NotFound:
                if self._usable(number).kek == row.kek:
                    raise

    def _judged(
        self, connection: Connection, row: Row[Any], right: bytes, answer: "Secret", entry: Entry | None
    ) -> Card | DojangError:
        """Charge, compare, and take or count; an error is given back, for raising it would undo what is counted."""
        now = self._found(connection, row.id)
        if now.state != "active":
            return unusable(now)
        if (now.answered, now.first, now.second) != (row.answered, row.first, row.second):
            return refused(row.id, Phrase("something else is asked of it by now"))
        tried = now.wrong_tries + 1
        self._set(connection, row.id, wrong_tries=tried)
        if hmac.compare_digest(right, b"".join(answer.reveal().split())):  # people type the two halves apart
            self._set(connection, row.id, answered=now.answered + 1, wrong_tries=0, **_NOTHING_ASKED)
            self._tell(connection, "card-answered", row.id)
            if entry is not None:
                entry(connection)
            return card_in(self._found(connection, row.id))
        self._tell(connection, "card-wrong", row.id, tries=tried)
        if tried < self.policy.tries:
            return OtpWrong(what=named(row.id), left=self.policy.tries - tried)
        self._set(connection, row.id, state="locked")
        self._tell(connection, "card-locked", row.id, tries=tried)
        return locked(row.id)

    def _usable(self, number: str) -> Row[Any]:
        with self._records.reading() as connection:
            row = self._found(connection, number)
        if row.state != "active":
            raise unusable(row)
        return row

    def _remove_all(
        self, connection: Connection, applicant: str, states: Sequence[str], reason: str, but: str = ""
    ) -> list[str]:
        """Those of an applicant that are in these states, but one; their numbers."""
        left = (_CARD.c.applicant == applicant) & _CARD.c.state.in_(states) & (_CARD.c.id != but)
        numbers = list(connection.execute(select(_CARD.c.id).where(left).order_by(_CARD.c.id)).scalars())
        for number in numbers:
            self._remove(connection, number, reason)
        return numbers

    def _remove(self, connection: Connection, number: str, reason: str) -> None:
        self._set(connection, number, state="removed", sealed=None, kek=None, **_NOTHING_ASKED)
        self._tell(connection, "card-removed", number, **({"reason": reason[:200]} if reason else {}))

    def _found(self, connection: Connection, number: str) -> Row[Any]:
        row = _row(connection, number)
        if row is None:
            command = f"dojang otp card list --ca {self._authority}"
            raise NotFound(what=named(number), where=self._authority, command=command)
        return row

    def _set(self, connection: Connection, number: str, **values: Any) -> None:
        connection.execute(update(_CARD).where(_CARD.c.id == number).values(**values))

    def _tell(self, connection: Connection, event: str, number: str, **details: Any) -> None:
        self._note(connection, event=event, subject=number, at=self._clock(), **details)


def _is_current(connection: Connection, kek: str) -> bool:
    """Whether cards are still sealed beside that one: it may have been rotated since it was asked for."""
    table = tables.otp_kek
    return connection.execute(select(table.c.state).where(table.c.id == kek)).scalar() == "current"


def _row(connection: Connection, number: str) -> Row[Any] | None:
    return connection.execute(select(_CARD).where(_CARD.c.id == number)).first()
