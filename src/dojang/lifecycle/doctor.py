"""What is wrong with the modules, the tokens, their PINs and dojang's own records, and the command that mends each.

What lies on the tokens is examined in ``doctor_contents``.
"""

import shlex
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.errors import (
    AmbiguousToken,
    DeviceFailure,
    ModuleUnloadable,
    NoModule,
    OperationUnfinished,
    PinLastTry,
    PinLocked,
    PinNotSet,
    StateUnreadable,
    TimedOut,
    TokenNotFound,
)
from dojang.ledger import OperationRecord

if TYPE_CHECKING:
    from dojang.pkcs11.listing import TokenListing
    from dojang.pkcs11.token import Token

_CLOCK_TOLERANCE = timedelta(minutes=5)
_HANGS = "no-answer"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; ``mend`` is a command line. What is not ``serious`` is only a remark."""

    code: str
    exit_status: int
    facts: Mapping[str, object] = field(default_factory=dict)
    mend: str = ""
    serious: bool = True


def examine_modules(listing: "TokenListing", *, named: bool) -> Iterator[Finding]:
    """Modules that do not load, daemons that are away, slots that cannot be read.

    What the user did not name and is only lying about is a remark; a module that hangs is not.
    """
    for failure in listing.failures:
        serious = named or failure.facts.get("reason") == _HANGS
        yield Finding(failure.code, ModuleUnloadable.exit_status, failure.facts, serious=serious)
    for module in listing.modules:
        if (silence := module.silence()) is not None:
            yield Finding(silence.code, silence.exit_status, silence.facts, serious=named)
    yield from _examine_slots(listing)
    if not listing.tokens and not listing.empty_slots:
        leaf = TokenNotFound if listing.modules else NoModule
        yield Finding(leaf.code, leaf.exit_status, serious=not (named and listing.failures))
    elif not listing.tokens and any(slot.info is not None for slot in listing.empty_slots):
        yield Finding("no-token", TokenNotFound.exit_status, mend="dojang token init --label NAME", serious=False)


def _examine_slots(listing: "TokenListing") -> Iterator[Finding]:
    for slot in listing.empty_slots:
        if slot.problem:
            facts = {"slot": slot.description, "module": slot.module.path, "result": slot.problem}
            unknown_card = "CKR_TOKEN_NOT_RECOGNIZED" in slot.problem
            yield Finding("slot-unreadable", DeviceFailure.exit_status, facts, serious=not unknown_card)


def examine_tokens(tokens: Iterable["Token"]) -> Iterator[Finding]:
    """PINs that are locked, nearly locked, not set or due for a change; labels and serials that two tokens share."""
    by_label: dict[str, list[str]] = defaultdict(list)
    for token in tokens:
        by_label[token.info.label].append(token.address)
        yield from _examine_pins(token)
        if token.serial_shared or not token.info.serial:
            facts = {"token": token.info.label, "address": token.address, "serial": token.info.serial}
            yield Finding("serial-doubtful", AmbiguousToken.exit_status, facts, serious=False)
    for label, addresses in by_label.items():
        if len(addresses) > 1:
            shared = {"label": label, "matches": addresses}
            yield Finding("same-label", AmbiguousToken.exit_status, shared, serious=False)


def _examine_pins(token: "Token") -> Iterator[Finding]:
    info, address = token.info, shlex.quote(token.address)
    unblock, change = f"dojang token pin unblock {address}", f"dojang token pin change {address}"
    facts = {"token": info.label, "address": token.address}
    if info.so_pin.locked:
        yield Finding("so-pin-locked", PinLocked.exit_status, facts)
    elif info.so_pin.final_try:
        yield Finding("so-pin-last-try", PinLastTry.exit_status, facts)
    elif info.so_pin.count_low:
        yield Finding("so-pin-count-low", PinLastTry.exit_status, facts, serious=False)
    if info.so_pin.to_be_changed:
        yield Finding("so-pin-to-be-changed", PinNotSet.exit_status, facts, serious=False)
    if not info.user_pin_set:
        if info.login_required:
            yield Finding(PinNotSet.code, PinNotSet.exit_status, facts, unblock)
    elif info.user_pin.locked:
        yield Finding(PinLocked.code, PinLocked.exit_status, facts, unblock)
    elif info.user_pin.final_try:
        yield Finding(PinLastTry.code, PinLastTry.exit_status, facts, unblock)
    elif info.user_pin.count_low:
        yield Finding("pin-count-low", PinLastTry.exit_status, facts, serious=False)
    if info.user_pin.to_be_changed:
        yield Finding("pin-to-be-changed", PinNotSet.exit_status, facts, change)


def not_answering(token: "Token", seconds: float) -> Finding:
    """A token that had not answered when the others had."""
    facts = {"token": token.info.label, "address": token.address, "seconds": f"{seconds:g}"}
    return Finding("token-slow", TimedOut.exit_status, facts)


def examine_operations(records: Iterable[OperationRecord]) -> Iterator[Finding]:
    """Operations that a killed run left behind."""
    for record in records:
        facts = {
            "verb": record.verb,
            "subject": record.facts.get("address", record.subject_key),
            "step": record.step,
            "begun_at": record.begun_at,
            "operation_id": record.operation_id,
        }
        yield Finding("operation-incomplete", OperationUnfinished.exit_status, facts, "dojang renew run")


def examine_clock(newest: datetime | None, now: datetime) -> Iterator[Finding]:
    """A clock that is behind what dojang wrote down before: every date it judges by would be wrong."""
    if newest is not None and newest - now > _CLOCK_TOLERANCE:
        yield Finding("clock-behind", StateUnreadable.exit_status, {"now": now, "newest": newest})


def examine_state(state_dir: Path) -> Iterator[Finding]:
    """A state folder that others may read or write."""
    if state_dir.exists() and state_dir.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mend = f"chmod 700 {shlex.quote(str(state_dir))}"
        yield Finding("state-not-private", StateUnreadable.exit_status, {"path": str(state_dir)}, mend)


def examine_secret_files(sources: Iterable[str]) -> Iterator[Finding]:
    """Files with a PIN or password, named as sources (``file:PATH``), that others may read or write."""
    for source in dict.fromkeys(sources):
        kind, _, name = source.partition(":")
        path = Path(name.removeprefix("//localhost").removeprefix("//")).expanduser()
        if kind != "file" or not path.is_file():
            continue
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            facts = {"path": str(path), "mode": f"{stat.S_IMODE(mode):04o}"}
            mend = f"chmod 600 {shlex.quote(str(path))}"
            yield Finding("secret-file-exposed", StateUnreadable.exit_status, facts, mend)
