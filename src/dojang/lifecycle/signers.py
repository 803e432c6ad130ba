"""The journal of giving an authority a key: a run that is killed leaves the key on record, or no key without use."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.ledger import Fact, Operation
from dojang.lifecycle.founding import kept_or_removed, settle_key
from dojang.lifecycle.workplace import Workplace

if TYPE_CHECKING:
    from dojang.pkcs11.opened import OpenToken

VERB = "ca signer"


def subject_of(store: Path, role: str) -> str:
    """The subject of giving the authority in ``store`` another key for that role."""
    return f"{store}#{role}+"


@contextlib.contextmanager
def giving(
    place: Workplace,
    token: "OpenToken",
    store: Path,
    role: str,
    *,
    address: str,
    location: str,
    key_id: bytes,
    made: bool,
    is_kept: Callable[[str], bool],
) -> Iterator[None]:
    """Give the authority in ``store`` the key at ``address`` in this block.

    ``made`` says that the key is not there yet: where ``is_kept`` does not find it on record it goes again when the
    block fails, or by the next run after a kill.
    """
    facts: dict[str, Fact] = {"location": location, "store": str(store), "key_id": key_id.hex(), "made": made}
    facts |= {"key_address": address, "label": store.name}
    with (
        place.ledger.begin(VERB, subject_of(store, role), facts) as operation,
        kept_or_removed(operation, token, "certified", lambda: is_kept(address)),
    ):
        yield


def settle_giving(place: Workplace, operation: Operation) -> str:
    """Of a run that was killed: a key that is on record stays, another that was made for nothing goes."""
    from dojang.authority.hierarchy.signers import is_known
    from dojang.authority.local import LocalAuthority

    facts = operation.record.facts
    with place.open_authority(Path(str(facts["store"])).name) as authority:
        assert isinstance(authority, LocalAuthority)
        with authority.database.reading() as connection:
            kept = is_known(connection, str(facts["key_address"]))
    if kept:
        operation.finish("certified")
        return "finished"
    return settle_key(place, operation)
