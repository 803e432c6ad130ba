"""Put credentials under a new password or PIN, and prove afterwards that it opens them."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from dojang.errors import DojangError, NotFound, PasswordIncorrect, UnsupportedOperation
from dojang.lifecycle.held import Held, damaged_in, look_at, names_credential
from dojang.lifecycle.recover import recover
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import ChangesPassword, Location, StoredCredential


@dataclass(frozen=True, slots=True)
class PasswordOrder:
    """The credential, or with ``every`` all in its location, retired ones too: none stays under the old password."""

    address: str
    every: bool = False


@dataclass(frozen=True, slots=True)
class PasswordsChanged:
    """What opens with the new password and has signed, and what could not be changed, with the reason.

    ``already``: it was under the new one before.
    """

    held: tuple[Held, ...]
    failures: tuple[tuple[str, DojangError], ...] = ()
    already: bool = False


def change_passwords(order: PasswordOrder, place: Workplace, after: Workplace) -> PasswordsChanged:
    """Change the password of key files. ``place`` gives the old and the new one, ``after`` opens with the new one.

    What fails for one of several does not stop the others. Killed at any moment, every key opens with the old or the
    new password, and the same again finishes. ``UnsupportedOperation`` where no credential has a password of its own.
    """
    try:
        return _change(order, place, after)
    except PasswordIncorrect:
        # A place that shows nothing without its password, as a run before has left it.
        with contextlib.suppress(PasswordIncorrect), after.open_location(order.address) as location:
            if location.traits.listed_by == "password":
                return PasswordsChanged(prove_opened(_chosen(order, location), order.address, after), already=True)
        raise


def _change(order: PasswordOrder, place: Workplace, after: Workplace) -> PasswordsChanged:
    failures: list[tuple[str, DojangError]] = []
    changed: list[StoredCredential] = []
    with place.open_location(order.address) as location:
        recover(place, location)
        changer, chosen = _changer(location), _chosen(order, location)
        failures += damaged_in(location) if order.every else []
        for one in chosen:
            place.say("change-password")
            try:
                changer.change_password(one.key_id)
                changed.append(one)
            except DojangError as error:
                if len(chosen) == 1:
                    raise
                failures.append((one.address, error))
    return PasswordsChanged(prove_opened(changed, order.address, after), tuple(failures))


def plan_passwords(order: PasswordOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``change_passwords`` would take, after the same refusals; nothing is changed."""
    with place.open_location(order.address) as location:
        _changer(location)
        chosen = _chosen(order, location)
    return (*(Step("change-password", {"address": one.address}) for one in chosen), Step("prove", {}))


def prove_opened(chosen: Iterable[StoredCredential], address: str, place: Workplace) -> tuple[Held, ...]:
    """Open each key as it is now and have it sign; what its location or the proof raises passes through."""
    from dojang.x509.challenge import prove_possession

    place.say("prove")
    with place.open_location(address) as location:
        found = []
        for one in chosen:
            prove_possession(location.private_key(one.key_id), one.certificate_der)
            found.append(look_at(place, location.traits, one))
        return tuple(found)


def prove_pin(address: str, place: Workplace) -> tuple[Held, ...]:
    """Log in to the token with the PIN that ``place`` gives, and have the keys sign that the address names."""
    with place.open_location(address) as location:
        location.has_key(bytes(8))  # logs in, where there is no key to sign with
        if names_credential(address):
            chosen = [location.find(address)]
        else:
            chosen = [one for one in location.credentials() if one.live and location.has_key(one.key_id)]
        return prove_opened(chosen, address, place)


def _changer(location: Location) -> ChangesPassword:
    if not isinstance(location, ChangesPassword):
        raise UnsupportedOperation(where=location.address, operation="put a credential under a password of its own")
    return location


def _chosen(order: PasswordOrder, location: Location) -> list[StoredCredential]:
    """One for each key, those in use first: several certificates may be for the same."""
    if not order.every:
        return [location.find(order.address)]
    found = sorted((one for one in location.credentials() if not one.staged), key=lambda one: one.retired)
    chosen = {one.key_id: one for one in reversed(found) if location.has_key(one.key_id)}
    if not chosen:
        for _address, error in damaged_in(location):
            raise error
        raise NotFound(what="A key", where=location.address, command=f"dojang cert list '{location.address}'")
    return list(reversed(chosen.values()))
