"""The journal of founding an authority: a run that is killed leaves all of it, or nothing and no key without use."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.errors import DojangError
from dojang.ledger import Fact, Operation
from dojang.lifecycle.journal import key_id_of
from dojang.lifecycle.workplace import Workplace

if TYPE_CHECKING:
    from dojang.pkcs11.opened import OpenToken

VERB = "ca init"


def subject_of(store: Path, role: str) -> str:
    """The subject of founding one half of an authority: its ``root`` or the ``issuing`` one below."""
    return f"{store}#{role}"


@contextlib.contextmanager
def founding(
    place: Workplace, token: "OpenToken", store: Path, role: str, *, location: str, key_id: bytes, made: bool
) -> Iterator[None]:
    """Found the authority whose folder will be ``store`` in this block, with the key ``key_id`` on ``token``.

    ``made`` says that the key is not there yet: it goes again when the block fails, or by the next run after a kill.
    """
    facts: dict[str, Fact] = {"location": location, "store": str(store), "key_id": key_id.hex(), "made": made}
    with (
        place.ledger.begin(VERB, subject_of(store, role), facts | {"label": store.name}) as operation,
        kept_or_removed(operation, token, "founded", lambda: False),
    ):
        yield


@contextlib.contextmanager
def kept_or_removed(
    operation: Operation, token: "OpenToken", outcome: str, is_kept: Callable[[], bool]
) -> Iterator[None]:
    """When the block fails, the key that was made for it goes, unless something has it by then."""
    try:
        yield
    except DojangError as error:
        if is_kept():
            operation.finish(outcome)
        else:
            if operation.record.facts["made"]:
                token.destroy(key_id_of(operation))
            operation.undo(error.code)
        raise
    operation.finish(outcome)


def settle_key(place: Workplace, operation: Operation) -> str:
    """The key of a run that was killed, where nothing has it: what was made goes."""
    facts = operation.record.facts
    if facts["made"]:
        with place.open_signer(str(facts["location"])) as location:
            location.discard(key_id_of(operation))
    operation.undo("cut short")
    return "undone"


def settle_founding(place: Workplace, operation: Operation) -> str:
    """Of a run that was killed: what is founded stays, otherwise its key and what lies half made are removed."""
    from dojang.authority.folder import is_authority
    from dojang.authority.founding import remove_rests, settle

    facts = operation.record.facts
    store = Path(str(facts["store"]))
    if is_authority(store):
        settle(store)
        operation.finish("founded")
        return "finished"
    remove_rests(store.parent, store.name)
    return settle_key(place, operation)
