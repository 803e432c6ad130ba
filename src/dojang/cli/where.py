"""``dojang where``: every certificate, the place it lives in and the days it has left."""

import gc
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import click

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data, mentions, where_table
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, message_of, say
from dojang.errors import DojangError, Phrase, TokenNotFound, Usage

if TYPE_CHECKING:
    from dojang.ledger import Ledger
    from dojang.lifecycle.where import Found
    from dojang.lifecycle.workplace import Workplace
    from dojang.locations.present import Present
    from dojang.pkcs11.uri import Pkcs11Uri

KINDS = ("token", "disk", "removable", "pkcs12", "pem")
WAIT = 10.0


wait_option = option(
    "--wait", type=float, metavar="SECONDS", help=N_("How long to wait for the slowest place; 10 unless given.")
)


class Known(NamedTuple):
    """The addresses of every place worth a look, what could not be asked for its own, by which module each token is
    reached, and what of it all is there now.
    """

    addresses: list[str]
    failures: list[tuple[str, DojangError]]
    modules: dict[str, str]
    present: "Present"


@command(
    help=N_(
        "Show every certificate on the tokens that are present, on the disks of this machine and those plugged in, and "
        "in the places that dojang has used before, soonest expiry first. All places are asked at once; none keeps the "
        "others waiting. No PIN is asked. With TEXT, only what has it in its names, its purpose or its address."
    ),
    examples=["dojang where", "dojang where --expiring 30d --json", "dojang where Hong --kind token --kind disk"],
)
@argument("text", metavar="[TEXT]", required=False)
@option("--expiring", metavar="DAYS", help=N_("Only what expires within so many days, written 30d or 30."))
@option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help=N_("Only in places of this kind; repeatable."))
@wait_option
def where(
    invocation: Invocation, text: str | None, expiring: str | None, kinds: tuple[str, ...], wait: float | None
) -> None:
    """Print the credentials; a place that cannot be looked into is a note, not an end."""
    from dojang.cli.workplace import workplace

    within = days_of(expiring) if expiring is not None else None
    with workplace(invocation) as place:
        found = look_everywhere(invocation, place, within, frozenset(kinds) or None, checked_wait(wait))
    held = [one for one in found.held if text is None or mentions(one, text)]
    data = {
        "credentials": [credential_data(one) for one in held],
        "unreachable": [{"address": address, "code": error.code} for address, error in found.failures],
        "needs_password": list(found.needs_password),
    }

    def words() -> str:
        note_failures(invocation, found)
        return where_table(invocation, held)

    invocation.result(data, words, quiet=[one.stored.address for one in held])


def look_everywhere(
    invocation: Invocation,
    place: "Workplace",
    expiring: timedelta | None = None,
    kinds: frozenset[str] | None = None,
    wait: float = WAIT,
) -> "Found":
    """What is in every known place; half of ``wait`` is for the modules to say which tokens there are."""
    from time import monotonic

    from dojang.cli.waiting import bar_of_places
    from dojang.lifecycle.where import find_everywhere

    end = monotonic() + wait
    known = known_places(invocation, place.ledger, wait / 2, kinds)
    flags, settings = invocation.flags, invocation.settings
    gc.disable()  # nothing becomes garbage here, and looking for it among thousands takes an eighth of the time
    with bar_of_places(invocation, len(known.addresses)) as looked_at:
        found = find_everywhere(
            by_known_modules(invocation, place, known),
            known.addresses,
            expiring,
            wait=max(end - monotonic(), wait / 2),
            passwords=bool(flags.password_source or settings.password_source),
            looked_at=looked_at,
        )
    return replace(found, failures=(*known.failures, *found.failures))


def known_addresses(invocation: Invocation, ledger: "Ledger") -> list[str]:
    """Every place worth a look: tokens, NPKI folders, saved addresses and what the ledger remembers."""
    return known_places(invocation, ledger).addresses


def known_places(
    invocation: Invocation, ledger: "Ledger", wait: float = WAIT, kinds: frozenset[str] | None = None
) -> Known:
    """The same, with what did not answer within ``wait`` seconds and the tokens that are known and not there."""
    from dojang.lifecycle.where import holding
    from dojang.locations.present import present_places

    present = present_places(invocation.search(), wait, kinds)
    events = ledger.history()
    expected = holding(events)
    recorded = dict.fromkeys(str(event.facts["location"]) for event in events if "location" in event.facts)
    tokens = [here for here in present.places if here.token is not None]
    addresses = [here.address for here in present.places if here.exists]
    missed: list[tuple[str, DojangError]] = []
    saved = list(invocation.settings.aliases.values())
    for text, uri in _remembered([*saved, *recorded], kinds):
        if uri is None:
            addresses.append(text)
        elif not any(here.is_at(uri) for here in tokens) and (text in expected or text in saved):
            missed.append((text, TokenNotFound(wanted=text)))
    if missed or invocation.flags.module or invocation.settings.module:
        missed += present.silent
    failures = [*present.failures, *missed]
    modules = {here.address: here.token.module.path for here in tokens if here.token is not None}
    return Known(list(dict.fromkeys(addresses)), failures, modules, present)


def by_known_modules(invocation: Invocation, place: "Workplace", known: Known) -> "Workplace":
    """The workplace in which a token is opened by its own module alone: another that hangs is nothing to it."""
    from dojang.cli.workplace import open_location_at

    search = invocation.search()

    def opened(address: str):  # type: ignore[no-untyped-def]
        module = known.modules.get(address)
        narrowed = search if module is None else search._replace(module=module, named_by="option")
        return open_location_at(invocation, address, search=narrowed)

    return replace(place, open_location=opened)


def days_of(text: str) -> timedelta:
    matched = re.fullmatch(r"(\d{1,5})d?", text)
    if matched is None:
        raise Usage(problem=Phrase(N_("'{text}' is not a number of days; write 30d"), text=text))
    return timedelta(days=int(matched[1]))


def note_failures(invocation: Invocation, found: "Found") -> None:
    """What could not be looked into, a line each."""
    for address, error in found.failures:
        invocation.out.note(f"{address}: {message_of(error)}")
    for address in found.needs_password:
        invocation.out.note(
            say("{address} needs a password to look into; give it with --password-source.", address=address)
        )


def checked_wait(wait: float | None) -> float:
    """The seconds that ``--wait`` gave, or the usual ones."""
    if wait is None:
        return WAIT
    if not 0 < wait <= 3600:
        raise Usage(problem=N_("--wait takes seconds, more than 0 and at most 3600"))
    return wait


def _remembered(texts: list[str], kinds: frozenset[str] | None) -> "Iterator[tuple[str, Pkcs11Uri | None]]":
    """The places that these addresses lie in, each once; of a token also what is asked of it."""
    from dojang.locations.address import parse_address
    from dojang.locations.registry import kind_at
    from dojang.pkcs11.uri import Pkcs11Uri

    for text in dict.fromkeys(texts):
        kind = kind_at(text)
        if kinds is not None and (kind is None or kind.kind not in kinds):
            continue
        try:
            location = parse_address(text).location()
        except DojangError:
            yield text, None  # who opens it says what is wrong with it
            continue
        yield location.to_text(), location if isinstance(location, Pkcs11Uri) else None
