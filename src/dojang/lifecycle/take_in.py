"""Import and restore: credentials from a file brought into a location."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dojang.errors import Ambiguous, FileMalformed, NotFound, Phrase
from dojang.lifecycle.copy import deliver
from dojang.lifecycle.offers import Offer, offered
from dojang.lifecycle.transfer import Brought, Errand, plan_bringing
from dojang.lifecycle.workplace import Step, Workplace

_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class TakeInOrder:
    """What to take out of ``file`` and where to put it. ``verb`` is ``import`` or ``restore``.

    ``name`` chooses one by its name, ``every`` takes all; otherwise there may be but one. ``label`` renames that one.
    ``without_r``: leave R behind where it cannot be kept.
    """

    file: Path
    to: str
    name: str | None = None
    every: bool = False
    label: str | None = None
    verb: str = "import"
    without_r: bool = False


def take_in(
    order: TakeInOrder, place: Workplace, arrived: Callable[[Brought], object] = lambda _: None
) -> list[Brought]:
    """Bring each in turn, complete and proven; ``arrived`` is told of each. What is there already is proven and left.

    All keys are opened before the first is brought, so that a wrong password or a damaged key changes nothing. A run
    that fails or is killed between two leaves the first; run again, it brings the rest.
    """
    done = []
    with offered(order.file, place) as offers:
        place.say("take")
        parcels = [offer.take() for offer in chosen(order, offers)]
    for parcel in parcels:
        done.append(deliver(parcel, Errand(order.verb, order.to, order.label, without_r=order.without_r), place))
        arrived(done[-1])
    return done


def plan_take_in(order: TakeInOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``take_in`` would take, after the refusals that need no key."""
    with offered(order.file, place) as offers:
        wanted = [(order.label or offer.name, offer.certificate_der) for offer in chosen(order, offers)]
    steps = [step for label, der in wanted for step in plan_bringing(label, der, order.to, place)]
    return (Step("take", {"address": str(order.file)}), *steps)


def chosen(order: TakeInOrder, offers: list[Offer]) -> list[Offer]:
    """The offers that the order names. ``NotFound``, ``Ambiguous``, ``FileMalformed`` where there is none at all."""
    offers = _told_apart(offers)
    names = ", ".join([*(offer.name for offer in offers[:_MOST_NAMED]), *(["…"] if offers[_MOST_NAMED:] else [])])
    if not offers:
        raise FileMalformed(
            path=str(order.file), expected=Phrase("a credential"), problem=Phrase("no certificate with a key is in it")
        )
    found = offers if order.name is None else [offer for offer in offers if offer.name == order.name]
    if not found:
        raise NotFound(what=f"'{order.name}'", where=str(order.file), names=names, next_step="It holds: {names}.")
    if len(found) > 1 and not order.every:
        raise Ambiguous(
            what=str(order.file), matches=names, next_step="Choose one with --name NAME, or all with --all."
        )
    return found


def _told_apart(offers: list[Offer]) -> list[Offer]:
    """Names that several have get a number, so that each can be chosen; what it is called afterwards stays."""
    seen: Counter[str] = Counter()
    found = []
    for offer in offers:
        seen[offer.name] += 1
        number = seen[offer.name]
        found.append(offer if number == 1 else replace(offer, name=f"{offer.name} {number}"))
    return found
