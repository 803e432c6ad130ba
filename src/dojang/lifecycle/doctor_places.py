"""Folders and files on disks of which something cannot be read: nobody renews, backs up or copies what is in there."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from dojang.errors import DojangError, FileMalformed
from dojang.lifecycle.held import damaged_in
from dojang.lifecycle.where import LONGER, failure_of
from dojang.locations.address import parse_address
from dojang.locations.base import Location
from dojang.locations.registry import kind_of
from dojang.pkcs11.roll_call import PATIENCE, ask_all

Failures = list[tuple[str, DojangError]]


def unreadable(
    open_location: Callable[[str], AbstractContextManager[Location]], addresses: Iterable[str], wait: float = PATIENCE
) -> Failures:
    """What ``where`` leaves out at these places, with the reason; what shows nothing without a password is not asked.

    A place that is away has nothing wrong with it. No ledger is needed.
    """

    def look(address: str) -> tuple[str, Failures]:
        return parse_address(address).location().identity(), _unreadable_in(open_location, address)

    asked = list(dict.fromkeys(addresses))
    failures: Failures = []
    seen: set[str] = set()
    for address, outcome in zip(asked, ask_all(look, asked, wait, at_work=LONGER * wait), strict=True):
        if outcome.answer is not None:
            identity, here = outcome.answer
            failures += here if identity not in seen else []
            seen.add(identity)
        else:
            failures.append(failure_of(address, outcome.error, wait))
    return failures


def _unreadable_in(open_location: Callable[[str], AbstractContextManager[Location]], address: str) -> Failures:
    from dojang.x509.status import credential_facts

    if kind_of(parse_address(address)).traits.listed_by == "password":
        return []
    now, failures = datetime.now(UTC), []
    with open_location(address) as location:
        for one in location.credentials():
            try:
                credential_facts(one.certificate_der, now, seen=one.seen)
            except FileMalformed as error:
                failures.append((one.address, error))
        return [*damaged_in(location), *failures]
