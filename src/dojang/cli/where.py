"""``dojang where``: every certificate, the place it lives in and the days it has left."""

import gc
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data, mentions, where_table
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, message_of, say
from dojang.errors import DojangError, ModuleUnloadable, Phrase, TokenNotFound, Usage

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from dojang.authority.base import CertificateAuthority
    from dojang.ledger import Ledger
    from dojang.lifecycle.where import Found
    from dojang.lifecycle.workplace import Workplace
    from dojang.locations.base import Location
    from dojang.locations.present import Present
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.uri import Pkcs11Uri

KINDS = ("token", "disk", "removable", "pkcs12", "pem")
WAIT = 10.0


wait_option = option(
    "--wait", type=float, metavar="SECONDS", help=N_("How long to wait for the slowest place; 10 unless given.")
)


class Known(NamedTuple):
    """The addresses of every place worth a look, what could not be asked for its own, and what is there now."""

    addresses: list[str]
    failures: list[tuple[str, DojangError]]
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


class Survey(NamedTuple):
    """Where a command looks, what could not be asked, and the workplace that opens what is there."""

    place: "Workplace"
    addresses: list[str]
    failures: Sequence[tuple[str, DojangError]] = ()


def survey(invocation: Invocation, place: "Workplace", addresses: Sequence[str] = (), wait: float = WAIT) -> Survey:
    """The addresses that were typed, else every place worth a look: tokens, NPKI folders, saved addresses and what the
    ledger remembers. Of those no module that hangs keeps anybody waiting; half of ``wait`` is for finding them.
    """
    if addresses:
        return Survey(place, list(map(invocation.address, addresses)))
    known = known_places(invocation, place.ledger, wait / 2)
    return Survey(by_known_modules(invocation, place, known), known.addresses, known.failures)


def known_places(
    invocation: Invocation, ledger: "Ledger | None", wait: float = WAIT, kinds: frozenset[str] | None = None
) -> Known:
    """Every place worth a look, what did not answer within ``wait`` seconds, and what is known and not there.

    Of what was used before the ``ledger`` tells, where there is one.
    """
    from dojang.lifecycle.where import holding
    from dojang.locations.present import present_places

    present = present_places(invocation.search(), wait, kinds)
    events = ledger.history() if ledger is not None else []
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
    return Known(list(dict.fromkeys(addresses)), failures, present)


def by_known_modules(invocation: Invocation, place: "Workplace", known: Known) -> "Workplace":
    """The workplace in which a token is opened by its own module alone: another that hangs is nothing to it.

    While some module has not answered, a token that no other has is ``TokenNotFound``: asking on would not end.
    """
    from dojang.cli.workplace import open_authority_named, open_location_at, open_signer_at
    from dojang.cmp.urls import is_url

    search = partial(_search_for, invocation, known)

    def authority(name: str) -> "AbstractContextManager[CertificateAuthority]":
        return place.open_authority(name) if is_url(name) else open_authority_named(invocation, name, search)

    def opened(address: str) -> "AbstractContextManager[Location]":
        return open_location_at(invocation, address, search=search(address))

    return replace(
        place,
        open_location=opened,
        open_authority=authority,
        open_authoritys_token=lambda address: open_signer_at(invocation, address, search(address)),
    )


def _search_for(invocation: Invocation, known: Known, address: str) -> "ModuleSearch":
    """Where to look for the token that an address names; everywhere if that may be several, or none."""
    from dojang.locations.address import parse_address
    from dojang.pkcs11.uri import Pkcs11Uri

    search, uri = invocation.search(), parse_address(address)
    if not isinstance(uri, Pkcs11Uri):
        return search
    modules = [here.token.module.path for here in known.present.places if here.token is not None and here.is_at(uri)]
    if len(modules) == 1:
        return search._replace(module=modules[0], named_by="option")
    if not modules and any(isinstance(error, ModuleUnloadable) for _address, error in known.present.failures):
        raise TokenNotFound(wanted=address)
    return search


def days_of(text: str) -> timedelta:
    matched = re.fullmatch(r"(\d{1,5})d?", text)
    if matched is None:
        raise Usage(problem=Phrase(N_("'{text}' is not a number of days; write 30d"), text=text))
    return timedelta(days=int(matched[1]))


def note_failure(invocation: Invocation, address: str, error: DojangError) -> None:
    """What could not be looked into."""
    invocation.out.note(f"{address}: {message_of(error)}")


def note_failures(invocation: Invocation, found: "Found") -> None:
    """What could not be looked into, a line each."""
    for address, error in found.failures:
        note_failure(invocation, address, error)
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
