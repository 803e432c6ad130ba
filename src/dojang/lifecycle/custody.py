"""Custody: a wrapping key that custodians can bring to another HSM together, and none of them alone.

The key is made in this process, because an HSM that never lets it go could not split it; it is here for the moment it
takes, and goes into the HSM as one that never leaves. What the ledger knows of it: who, when, and its check value.
"""

import getpass
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_bytes
from typing import TYPE_CHECKING

from dojang.errors import DojangError, NotFound, Phrase, SharesUnusable, UnsupportedOperation
from dojang.ledger import Event, Fact
from dojang.lifecycle.journal import KEY_ID_BYTES, key_id_of, name_in, take_back, taken_back_on_failure
from dojang.lifecycle.recover import recover
from dojang.lifecycle.shares import Share, check_numbers, join_value, split_value
from dojang.lifecycle.workplace import Step, Workplace
from dojang.locations.base import KeepsWrappingKeys, Location
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.wrapping import WrappingKey

KEK_BYTES = 32


@dataclass(frozen=True, slots=True)
class SplitOrder:
    """Where the wrapping key is to be, what it is called, how many custodians there are and how many must meet."""

    to: str
    label: str
    shares: int
    threshold: int


@dataclass(frozen=True, slots=True)
class JoinOrder:
    """Where the wrapping key goes, and what it is called there. ``check``: the check value that it must have."""

    to: str
    label: str
    check: str | None = None


@dataclass(frozen=True, slots=True)
class Custody:
    """A wrapping key that is in its HSM; ``already`` when it had been there before."""

    kek: "WrappingKey"
    location: str
    already: bool = False


HandOut = Callable[[Share, str], None]
"""Is given each share once, with the check value of its key; it shows it or writes it, and keeps nothing."""


def split(order: SplitOrder, place: Workplace, hand_out: HandOut) -> Custody:
    """Make a wrapping key in the HSM and hand out its shares; when this fails, the key is gone from the HSM.

    ``AlreadyExists`` for a label in use, ``NotPermitted`` for numbers that make no sense.
    """
    check_numbers(order.shares, order.threshold)
    value = bytearray(os.urandom(KEK_BYTES))
    try:
        shares = split_value(bytes(value), order.shares, order.threshold)
        numbers: dict[str, Fact] = {"shares": order.shares, "threshold": order.threshold}

        def hand_out_all(kek: "WrappingKey") -> None:
            for share in shares:
                hand_out(share, kek.check)

        return _keep(order.to, order.label, value, place, "kek-split", numbers, hand_out_all)
    finally:
        _forget(value)


def join(order: JoinOrder, place: Workplace, shares: Sequence[Secret]) -> Custody:
    """Bring the wrapping key that the shares make to an HSM; there already, it is left.

    ``SharesUnusable`` says what is wrong with the shares; ``AlreadyExists`` when another key has the label.
    """
    from dojang.pkcs11.wrapping import check_value

    value = bytearray(join_value(shares))
    try:
        check = check_value(bytes(value))
        if order.check is not None and order.check.lower() != check:
            raise SharesUnusable(
                problem=Phrase("the key has the check value {check}, not {wanted}", check=check, wanted=order.check),
                remedy=Phrase("Take the shares on which {wanted} stands.", wanted=order.check),
            )
        there = _there(order, place, check)
        return there or _keep(order.to, order.label, value, place, "kek-joined", {"shares": len(shares)})
    finally:
        _forget(value)


def plan_split(order: SplitOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``split`` would take, after the same refusals but that of a label in use."""
    check_numbers(order.shares, order.threshold)
    with place.open_location(order.to) as location:
        _keeping(location)
        where = {"location": location.address, "label": order.label}
        numbers = {"shares": str(order.shares), "threshold": str(order.threshold)}
        return Step("make-kek", where), Step("hand-out", numbers)


def plan_join(order: JoinOrder, place: Workplace) -> tuple[Step, ...]:
    """What ``join`` would do; no share is asked for."""
    with place.open_location(order.to) as location:
        _keeping(location)
        return (Step("join", {"location": location.address, "label": order.label}),)


def _keep(
    to: str,
    label: str,
    value: bytearray,
    place: Workplace,
    event: str,
    numbers: dict[str, Fact],
    then: Callable[["WrappingKey"], None] = lambda kek: None,
) -> Custody:
    """Into the HSM, proven by what it wraps; ``then`` what it is for. Taken back when any of it fails or is cut off."""
    with place.open_location(to) as location:
        keeps = _keeping(location)
        recover(place, location)
        facts: dict[str, Fact] = {
            "location": location.address,
            "address": location.address,
            "key_id": token_bytes(KEY_ID_BYTES).hex(),
            "label": label,
            "by": _user(),
            **numbers,
        }
        with (
            place.ledger.begin("make-kek", name_in(location, f"wrapping key {label}"), facts) as operation,
            taken_back_on_failure(place, operation, location),
        ):
            place.say("make-kek")
            kek = keeps.keep_wrapping_key(bytes(value), key_id=key_id_of(operation), label=label)
            try:
                then(kek)
            except (KeyboardInterrupt, EOFError):  # a custodian went away: nobody waits for the next run
                with suppress(DojangError):
                    take_back(place, operation, location, "interrupted")
                raise
            operation.finish(event, Event(event, location.address, "", {**facts, "check": kek.check}))
        return Custody(kek, location.address)


def _there(order: JoinOrder, place: Workplace, check: str) -> Custody | None:
    """The key where it is there under this label already; another one under it is found by whoever keeps it."""
    with place.open_location(order.to) as location:
        keeps = _keeping(location)
        recover(place, location)
        with suppress(NotFound):
            kek = keeps.wrapping_key(order.label)
            if kek.check == check:
                return Custody(kek, location.address, already=True)
    return None


def _keeping(location: Location) -> KeepsWrappingKeys:
    if not isinstance(location, KeepsWrappingKeys):
        raise UnsupportedOperation(where=location.address, operation=Phrase("wrap keys; only tokens and HSMs can"))
    return location


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.getuid())


def _forget(value: bytearray) -> None:
    """Overwrite the key; copies that Python and the libraries made on the way are theirs to drop."""
    value[:] = bytes(len(value))
