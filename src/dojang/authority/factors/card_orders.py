"""What an office orders of security cards. The answer of ``card.new`` holds the codes, once, for who prints them,
and what the issuer is called there.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dojang.errors import Phrase, UnsupportedOperation

if TYPE_CHECKING:
    from dojang.authority.enrolment.arguments import Arguments
    from dojang.authority.enrolment.orders import Counter
    from dojang.otp.cards import Card, Cards

Answer = dict[str, Any]


def _new(counter: "Counter", given: "Arguments") -> Answer:
    applicant = given.text("applicant")
    given.finish()
    counter.office.applicant(applicant)
    made = _cards(counter).make(applicant)
    return {"card": _answer(made.card), "codes": list(made.codes), "issuer": counter.called}


def _printed(counter: "Counter", given: "Arguments") -> Answer:
    number = _number(given)
    card = _cards(counter).printed(number)
    return {"card": _answer(card), "replaced": list(card.replaced)}


def _list(counter: "Counter", given: "Arguments") -> Answer:
    applicant, (after, limit) = given.maybe_text("applicant"), given.page()
    given.finish()
    found = _cards(counter).listed(applicant=applicant, after=after, limit=limit)
    return {"cards": [_answer(one) for one in found]}


def _challenge(counter: "Counter", given: "Arguments") -> Answer:
    number = _number(given)
    return {"card": _answer(_cards(counter).challenge(number))}


def _verify(counter: "Counter", given: "Arguments") -> Answer:
    from dojang.secret import Secret

    answer, number = given.maybe_secret("answer"), _number(given)
    return {"card": _answer(_cards(counter).verify(number, answer or Secret("")))}


def _unlock(counter: "Counter", given: "Arguments") -> Answer:
    number = _number(given)
    return {"card": _answer(_cards(counter).unlock(number))}


def _remove(counter: "Counter", given: "Arguments") -> Answer:
    reason, number = given.maybe_text("reason"), _number(given)
    return {"card": _answer(_cards(counter).remove(number, reason or ""))}


def _number(given: "Arguments") -> str:
    """The number of a card, the last argument to be taken, with hyphens or without."""
    number = given.text("card").replace("-", "")
    given.finish()
    return number


def _cards(counter: "Counter") -> "Cards":
    if counter.cards is None:
        raise UnsupportedOperation(where=Phrase("This authority"), operation=Phrase("keep security cards"))
    return counter.cards()


def _answer(card: "Card") -> Answer:
    return {
        "number": card.number,
        "applicant": card.applicant,
        "entries": card.entries,
        "state": card.state,
        "wrong_tries": card.wrong_tries,
        "created_at": card.created_at.isoformat(),
        "first": card.first,
        "second": card.second,
    }


CARD_ORDERS: Final[Mapping[str, tuple[Callable[["Counter", "Arguments"], Answer], bool]]] = MappingProxyType(
    {
        "card.new": (_new, True),
        "card.printed": (_printed, True),
        "card.list": (_list, False),
        "card.challenge": (_challenge, True),
        "card.verify": (_verify, True),
        "card.unlock": (_unlock, True),
        "card.remove": (_remove, True),
    }
)
"""By name: what is done, and whether it changes anything. A registrar may order each."""
