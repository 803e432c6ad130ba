"""Seeds for one-time passwords: put into a token or removed from it, whole or not at all.

A seed on a token is a key and a data object beside it. The journal names its CKA_ID before either is made, and the next
run removes what a killed one left. Where a device does both in one step, nothing need be written down.
"""

from secrets import token_bytes
from typing import Final, Protocol, runtime_checkable

from dojang.ledger import Event, Operation
from dojang.lifecycle.journal import identity_of, taken_back_on_failure
from dojang.lifecycle.recover import recover
from dojang.lifecycle.workplace import Workplace
from dojang.otp.base import NewSeed, OtpDevice, Seed

ADD: Final = "otp-add"
DELETE: Final = "otp-delete"
ID_BYTES: Final = 20


@runtime_checkable
class MadeInSteps(Protocol):
    """A device where a seed is more than one object, and so can be cut short."""

    def add_under(self, new: NewSeed, key_id: bytes) -> Seed: ...

    def check_free(self, name: str) -> None: ...


def add_seed(place: Workplace, device: OtpDevice, new: NewSeed) -> Seed:
    """Put a seed into a device and have it prove itself; nothing of it is left when this fails or is cut short."""
    if not isinstance(device, MadeInSteps):
        return device.add(new)
    key_id = token_bytes(ID_BYTES)
    with place.open_location(device.address) as location:
        recover(place, location)
        device.check_free(new.name)
        with (
            _begun(place, ADD, device.address, key_id, new.name) as operation,
            taken_back_on_failure(place, operation, location),
        ):
            seed = device.add_under(new, key_id)
            operation.finish("added", _event("otp-added", seed, device))
    return seed


def delete_seed(place: Workplace, device: OtpDevice, seed: Seed) -> None:
    """Remove a seed for good; cut short, the next run goes on."""
    if not isinstance(device, MadeInSteps):
        device.delete(seed)
        return
    with _begun(place, DELETE, device.address, seed.key_id, seed.name) as operation:
        device.delete(seed)
        operation.finish("deleted", _event("otp-deleted", seed, device))


def _begun(place: Workplace, verb: str, location: str, key_id: bytes, label: str) -> Operation:
    facts = {"location": location, "address": location, "key_id": key_id.hex(), "label": label}
    return place.ledger.begin(verb, f"{identity_of(location)}#id={key_id.hex()}", facts)


def _event(name: str, seed: Seed, device: OtpDevice) -> Event:
    facts = {"location": device.address, "label": seed.name, "key_id": seed.key_id.hex()}
    return Event(name, seed.address, "", facts)
