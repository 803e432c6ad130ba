"""Where to keep a key: a table of what is there now, with what each place protects, the best first."""

from typing import NamedTuple

from dojang.cli.context import Invocation
from dojang.cli.language import N_, _, message_of, say
from dojang.cli.place_words import (
    ADVICE,
    NOT_HERE,
    PATIENCE,
    can_take_a_key,
    free_room,
    kind_title,
    place_title,
    state_words,
    yes_no,
)
from dojang.errors import InputRequired

_COLUMNS = [N_("Place"), N_("Now"), N_("Key leaves"), N_("Can be copied"), N_("Advice")]
_BEST_FIRST = ("token", "removable", "disk", "pkcs12")
_FILE = "pkcs12"
_USUAL_FILE = "dojang.p12"


class Offer(NamedTuple):
    """One line of the table; without an address it stands for a file whose name is asked for."""

    kind: str
    address: str | None
    title: str
    state: str


def place_given(
    invocation: Invocation,
    to: str | None,
    *,
    what: str = N_("The location of the new key"),
    question: str = N_("Where to keep the key"),
    not_at: str | None = None,
    option: str = "--to ADDRESS",
) -> str:
    """The address that ``--to`` gave, else of the place that a person chooses; ``not_at`` is not offered.

    ``InputRequired`` where nobody is there to choose.
    """
    if to is not None:
        return invocation.address(to)
    if not invocation.can_ask:
        raise InputRequired(what=_(what), option=option)
    offers, others = offered(invocation, not_at)
    for name, reason in others:
        invocation.out.note(say("Not available: {name} ({reason})", name=name, reason=reason))
    chosen = offers[invocation.choose(question, _COLUMNS, [_row(one) for one in offers], option=option)]
    return chosen.address or _file_address(invocation)


def offered(invocation: Invocation, not_at: str | None = None) -> tuple[list[Offer], list[tuple[str, str]]]:
    """Every place that a key could go now, the one that protects best first; and the others, each with the reason."""
    from dojang.locations.address import parse_address
    from dojang.locations.present import present_places

    present = present_places(invocation.search(), PATIENCE)
    room, away = free_room(present.places), None if not_at is None else parse_address(not_at)
    offers, others = [Offer(_FILE, None, _("PKCS#12 file …"), _("its name is asked for"))], []
    for here in present.places:
        title, state = place_title(here), state_words(here, room.get(here.address))
        if away is not None and here.is_at(away):
            continue
        if can_take_a_key(here):
            offers.append(Offer(here.kind, here.address, title, state))
        else:
            others.append((title, state))
    others += [(address, message_of(error)) for address, error in present.failures]
    others += [(kind_title(kind), _(reason)) for kind, reason in NOT_HERE.items()]
    return sorted(offers, key=lambda offer: _BEST_FIRST.index(offer.kind)), others


def _row(offer: Offer) -> list[str]:
    from dojang.locations.registry import location_kinds

    traits = next(row.traits for row in location_kinds() if row.kind == offer.kind)
    return [offer.title, offer.state, yes_no(traits.key_leaves), yes_no(traits.copyable), _(ADVICE[offer.kind])]


def _file_address(invocation: Invocation) -> str:
    from pathlib import Path

    from dojang.locations.address import Pkcs12Address

    name = invocation.ask(N_("Name of the file"), option="--to", default=_USUAL_FILE)
    return Pkcs12Address(str(Path(name).expanduser().absolute())).to_text()
