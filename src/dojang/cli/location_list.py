"""``dojang location list`` and ``show``: the places there are for keys, what each can do, and what is there now."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.credentials import STATES
from dojang.cli.frame import argument, command
from dojang.cli.language import N_, _, message_of, say
from dojang.cli.place_words import (
    ADVICE,
    NOT_HERE,
    OPENED_BY,
    free_room,
    kind_title,
    place_title,
    state_data,
    state_words,
    traits_data,
    yes_no,
)
from dojang.cli.where import Known, checked_wait, known_places, wait_option

if TYPE_CHECKING:
    from dojang.lifecycle.held import Held
    from dojang.locations.address import Address
    from dojang.locations.base import Traits
    from dojang.locations.present import Here
    from dojang.locations.registry import LocationKind


@command(
    help=N_(
        "List every kind of place for keys with what it can do and what it is good for, and the places that are there "
        "now: tokens with the state of their PINs, disks with the room on them. No PIN is asked."
    ),
    examples=["dojang location list", "dojang location list --json"],
)
@wait_option
def list_(invocation: Invocation, wait: float | None) -> None:
    """Kinds first, then places, those that protect best first."""
    from dojang.cli.workplace import workplace
    from dojang.locations.registry import location_kinds

    with workplace(invocation) as place:
        known = known_places(invocation, place.ledger, checked_wait(wait))
    room, kinds = free_room(known.present.places), location_kinds()
    by_kind = {row.kind: row.traits for row in kinds}
    addresses = [here.address for here in known.present.places]
    remembered = [address for address in known.addresses if address not in addresses]
    data = {
        "kinds": [_kind_data(row) for row in kinds],
        "locations": [_place_data(here, by_kind[here.kind], room.get(here.address)) for here in known.present.places],
        "remembered": remembered,
        "aliases": dict(invocation.settings.aliases),
        "unreachable": [{"address": address, "code": error.code} for address, error in known.failures],
    }
    invocation.result(data, lambda: _list_text(invocation, known, room, remembered), quiet=[*addresses, *remembered])


@command(
    help=N_(
        "Show one place for keys: what it can do, its state, how much room it has, and how many certificates are in it."
    ),
    examples=["dojang location show npki:", "dojang location show 'pkcs11:token=Hong' --json"],
)
@argument("address", metavar="ADDRESS")
@wait_option
def show(invocation: Invocation, address: str, wait: float | None) -> None:
    """The place itself is opened, no key is touched."""
    from dojang.locations.address import parse_address
    from dojang.locations.registry import kind_of

    parsed, seconds = parse_address(invocation.address(address)).location(), checked_wait(wait)
    kind, location = kind_of(parsed), parsed.to_text()
    here = _here(invocation, parsed, kind, seconds)
    held, hidden = _contents(invocation, location, seconds)
    free = None if here is None else free_room([here]).get(here.address)
    states = [one.state for one in held]
    data = {
        **(_place_data(here, kind.traits, free) if here is not None else {"location": kind.kind}),
        "address": location,
        "credentials": {state: states.count(state) for state in sorted(set(states))},
        "needs_password": hidden,
    }
    lines = _kind_lines(kind) if here is None else [place_title(here), state_words(here, free), *_kind_lines(kind)]
    invocation.result({"location": data}, lambda: "\n".join([*lines, *_count_lines(states, hidden)]), quiet=[location])


def _contents(invocation: Invocation, location: str, wait: float) -> "tuple[tuple[Held, ...], bool]":
    """What is there, and whether it is hidden under a password that nobody gave. Raises what opening it raises."""
    from dojang.cli.workplace import workplace
    from dojang.lifecycle.where import find_everywhere

    passwords = bool(invocation.flags.password_source or invocation.settings.password_source)
    with workplace(invocation) as place:
        found = find_everywhere(place, [location], wait=wait, passwords=passwords)
    for address, error in found.failures:
        if address == location:
            raise error
        invocation.out.note(f"{address}: {message_of(error)}")
    return found.held, bool(found.needs_password)


def _here(invocation: Invocation, location: "Address", kind: "LocationKind", wait: float) -> "Here | None":
    """The place as it stands among those that are there; ``None`` for a file."""
    from dojang.locations.address import DiskAddress
    from dojang.locations.present import folder_here, present_places

    if isinstance(location, DiskAddress):
        return folder_here(Path(location.root))
    if kind.kind not in ("token", "removable"):
        return None
    present = present_places(invocation.search(), wait, frozenset((kind.kind,)))
    return next((here for here in present.places if here.is_at(location)), None)


def _kind_data(row: "LocationKind") -> dict[str, Any]:
    return {
        "location": row.kind,
        "example": row.example,
        **traits_data(row.traits),
        "available": row.kind not in NOT_HERE,
        "advice": ADVICE[row.kind],
    }


def _place_data(here: "Here", traits: "Traits", free_bytes: int | None) -> dict[str, Any]:
    state = state_data(here, free_bytes)
    return {"address": here.address, "location": here.kind, "name": here.name, **traits_data(traits), **state}


def _list_text(invocation: Invocation, known: Known, room: dict[str, int], remembered: list[str]) -> str:
    for address, error in known.failures:
        invocation.out.note(f"{address}: {message_of(error)}")
    rows = [
        [place_title(one), kind_title(one.kind), state_words(one, room.get(one.address)), one.address]
        for one in known.present.places
    ]
    rows += [["", _kind_at(address), _("used before"), address] for address in remembered]
    places = invocation.out.table([N_("Place"), N_("Kind"), N_("Now"), N_("Address")], rows)
    return "\n\n".join([_kinds_text(invocation), places])


def _kinds_text(invocation: Invocation) -> str:
    from dojang.locations.registry import location_kinds

    columns = [N_("Kind"), N_("Key leaves"), N_("Can be copied"), N_("Opened by"), N_("Holds R"), N_("Advice")]
    rows = []
    for row in location_kinds():
        traits, advice = row.traits, _(ADVICE[row.kind]) + _not_here(row.kind)
        answers = [yes_no(traits.key_leaves), yes_no(traits.copyable), _(OPENED_BY[traits.opened_by])]
        rows.append([kind_title(row.kind), *answers, yes_no(traits.holds_r), advice])
    return invocation.out.table(columns, rows)


def _kind_at(address: str) -> str:
    from dojang.locations.registry import kind_at

    kind = kind_at(address)
    return "" if kind is None else kind_title(kind.kind)


def _not_here(kind: str) -> str:
    return " " + say("Not available: {reason}.", reason=_(NOT_HERE[kind])) if kind in NOT_HERE else ""


def _kind_lines(kind: "LocationKind") -> list[str]:
    traits = kind.traits
    return [
        say("Kind: {kind}", kind=kind_title(kind.kind)),
        say("Key leaves: {answer}", answer=yes_no(traits.key_leaves)),
        say("Can be copied: {answer}", answer=yes_no(traits.copyable)),
        say("Opened by: {answer}", answer=_(OPENED_BY[traits.opened_by])),
        say("Holds R: {answer}", answer=yes_no(traits.holds_r)),
        say("Tells when it comes and goes: {answer}", answer=yes_no(traits.watchable)),
        _(ADVICE[kind.kind]),
    ]


def _count_lines(states: list[str], hidden: bool) -> list[str]:
    if hidden:
        return [_("What is in it is seen with its password only; give it with --password-source.")]
    if not states:
        return [_("There is no certificate.")]
    counts = ", ".join(f"{_(STATES[state])} {states.count(state)}" for state in STATES if state in states)
    return [say("Certificates: {counts}", counts=counts)]
