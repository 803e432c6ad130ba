"""Delete: destroy a credential, key and all."""

import contextlib
from collections.abc import Iterator

from dojang.errors import DojangError, NotPermitted, Phrase, UnsupportedOperation
from dojang.ledger import Fact, Operation
from dojang.lifecycle.finish import finish_delete
from dojang.lifecycle.held import Held, look_at
from dojang.lifecycle.journal import key_in
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.recover import recover
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import KeepsKeys, Location, StoredCredential


def delete(address: str, place: Workplace) -> Held:
    """Destroy the certificate and the key at ``address`` for good; cut short, the next run destroys the rest.

    After an error that came before anything was destroyed, the credential stays.

    ``NotPermitted`` for a retired certificate whose key the one in use still needs.
    """
    with place.open_location(address) as location:
        recover(place, location)
        _refuse_kept_keys(location)
        credential = location.find(address)
        _refuse_shared_key(location, credential)
        facts: dict[str, Fact] = {
            "location": location.address,
            "address": credential.address,
            "key_id": credential.key_id.hex(),
            "fingerprint": fingerprint_of(credential.certificate_der),
        }
        location.has_key(credential.key_id)  # asks for the PIN, so that a wrong one ends here
        with (
            place.ledger.begin("delete", key_in(location, credential.key_id), facts) as operation,
            _called_off_when_whole(operation, location, credential),
        ):
            held = look_at(place, location.traits, credential)
            finish_delete(place, operation, location)
    return held


def plan_delete(address: str, place: Workplace) -> tuple[Step, ...]:
    """What ``delete`` would destroy, after the same refusals."""
    with place.open_location(address) as location:
        _refuse_kept_keys(location)
        credential = location.find(address)
        _refuse_shared_key(location, credential)
        return (Step("delete", {"address": credential.address, "label": credential.label}),)


@contextlib.contextmanager
def _called_off_when_whole(operation: Operation, location: Location, credential: StoredCredential) -> Iterator[None]:
    """What failed before anything was destroyed is over: a later run must not destroy what the user still has."""
    try:
        yield
    except DojangError as error:
        with contextlib.suppress(DojangError):
            there = {(one.key_id, one.certificate_der) for one in location.credentials()}  # found under any address
            if (credential.key_id, credential.certificate_der) in there and location.has_key(credential.key_id):
                operation.undo(error.code)
        raise


def _refuse_kept_keys(location: Location) -> None:
    if isinstance(location, KeepsKeys):
        raise UnsupportedOperation(
            where=location.address,
            operation=Phrase("destroy a key"),
            next_step="Remove it with the program that put it there.",
        )


def _refuse_shared_key(location: Location, credential: StoredCredential) -> None:
    """A renewal that kept the key leaves two certificates for one key: the old one goes when the new one goes."""
    if not credential.retired:
        return
    for other in location.credentials():
        if other.live and other.key_id == credential.key_id:
            raise NotPermitted(
                problem="the certificate in use still needs this key",
                remedy="It goes together with the one in use; delete that one to destroy both.",
            )
