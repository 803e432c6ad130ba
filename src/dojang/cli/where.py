"""``dojang where``: every certificate, the place it lives in and the days it has left."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data, credential_table
from dojang.cli.frame import command, option
from dojang.cli.language import N_, message_of
from dojang.errors import DojangError, Phrase, Usage

if TYPE_CHECKING:
    from dojang.ledger import Ledger
    from dojang.lifecycle.where import Found


@command(
    help=N_(
        "Show every certificate on the tokens that are present, in the NPKI folder of this machine and in the places "
        "that dojang has used before, soonest expiry first. No PIN is asked."
    ),
    examples=["dojang where", "dojang where --expiring 30d --json"],
)
@option("--expiring", metavar="DAYS", help=N_("Only what expires within so many days, written 30d or 30."))
def where(invocation: Invocation, expiring: str | None) -> None:
    """Print the credentials; a place that cannot be looked into is a note, not an end."""
    from dojang.cli.workplace import workplace
    from dojang.lifecycle.where import find_everywhere

    within = days_of(expiring) if expiring is not None else None
    with workplace(invocation) as place:
        found = find_everywhere(place, known_addresses(invocation, place.ledger), within)
    data = {
        "credentials": [credential_data(held) for held in found.held],
        "unreachable": [{"address": address, "code": error.code} for address, error in found.failures],
    }
    invocation.result(data, lambda: _text(invocation, found), quiet=[held.stored.address for held in found.held])


def days_of(text: str) -> timedelta:
    matched = re.fullmatch(r"(\d{1,5})d?", text)
    if matched is None:
        raise Usage(problem=Phrase(N_("'{text}' is not a number of days; write 30d"), text=text))
    return timedelta(days=int(matched[1]))


def known_addresses(invocation: Invocation, ledger: "Ledger") -> list[str]:
    """Every place worth a look: tokens, the NPKI folder, saved addresses and what the ledger remembers."""
    return list(dict.fromkeys(_addresses(invocation, ledger)))


def _addresses(invocation: Invocation, ledger: "Ledger") -> Iterator[str]:
    from dojang.lifecycle.where import recorded_locations
    from dojang.locations.address import parse_address
    from dojang.pkcs11 import list_tokens
    from dojang.pkcs11.uri import Pkcs11Uri

    for token in list_tokens(invocation.search()).tokens:
        yield token.address
    remembered = [*invocation.settings.aliases.values(), *recorded_locations(ledger)]
    for text in ("npki:", *remembered):
        try:
            address = parse_address(text)
        except DojangError:
            yield text  # who opens it says what is wrong with it
            continue
        if not isinstance(address, Pkcs11Uri):  # tokens that are there have been found
            yield address.location().to_text()


def _text(invocation: Invocation, found: "Found") -> str:
    for address, error in found.failures:
        invocation.out.note(f"{address}: {message_of(error)}")
    return credential_table(invocation, found.held)
