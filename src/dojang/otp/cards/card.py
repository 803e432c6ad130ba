"""One security card as a value, and why it is not to be used."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from dojang.errors import NotPermitted, OtpLocked, Phrase


@dataclass(frozen=True, slots=True)
class Card:
    """A card as everybody may see it; ``first`` and ``second`` are the places that are asked for, if any are.

    ``replaced`` are the numbers of those that have just ended with its print.
    """

    number: str
    applicant: str
    entries: int
    state: str
    wrong_tries: int
    created_at: datetime
    first: int | None = None
    second: int | None = None
    challenged_at: datetime | None = None
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card and its codes, for as long as it takes to print them. They are kept nowhere in plain."""

    card: Card
    codes: Sequence[str] = field(repr=False)


def card_in(row: Row[Any]) -> Card:
    """What a row of the table tells."""
    return Card(
        number=row.id,
        applicant=row.applicant,
        entries=row.entries,
        state=row.state,
        wrong_tries=row.wrong_tries,
        created_at=row.created_at,
        first=row.first,
        second=row.second,
        challenged_at=row.challenged_at,
    )


def named(number: str) -> Phrase:
    """A card in words."""
    return Phrase("Security card {number}", number=number[:64])


def refused(number: str, problem: Phrase | str, command: str = "dojang otp card list") -> NotPermitted:
    """The card cannot do that as it stands."""
    return NotPermitted(
        problem=Phrase("security card {number} is not to be used: {problem}", number=number, problem=problem),
        remedy=Phrase("See: {command}", command=command),
    )


def locked(number: str) -> OtpLocked:
    return OtpLocked(what=named(number), command=f"dojang otp card unlock {number}")


def unusable(row: Row[Any]) -> OtpLocked | NotPermitted:
    """Why a card that is not active is asked for nothing."""
    if row.state == "removed":
        return refused(row.id, Phrase("it was removed"))
    if row.state == "unprinted":
        return refused(row.id, Phrase("it was never printed"))
    return locked(row.id)
