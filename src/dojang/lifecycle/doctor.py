"""What is wrong with the modules, the tokens, their PINs and dojang's own records, and the command that mends each."""

import shlex
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.errors import (
    AmbiguousToken,
    DojangError,
    ModuleUnloadable,
    NoModule,
    OperationUnfinished,
    PinLastTry,
    PinLocked,
    PinNotSet,
    StateUnreadable,
    TokenNotFound,
)
from dojang.ledger import OperationRecord

if TYPE_CHECKING:
    from dojang.pkcs11.listing import TokenListing
    from dojang.pkcs11.objects import TokenObject
    from dojang.pkcs11.opened import OpenToken
    from dojang.pkcs11.token import Token


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; ``mend`` is a command line. What is not ``serious`` is only a remark."""

    code: str
    exit_status: int
    facts: Mapping[str, object] = field(default_factory=dict)
    mend: str = ""
    serious: bool = True


def examine_modules(listing: "TokenListing", *, named: bool) -> Iterator[Finding]:
    """Modules that did not load: serious when the user named one, a remark when they were only lying about."""
    for failure in listing.failures:
        yield Finding(failure.code, ModuleUnloadable.exit_status, failure.facts, serious=named)
    if not listing.tokens and not listing.empty_slots:
        leaf = TokenNotFound if listing.modules else NoModule
        yield Finding(leaf.code, leaf.exit_status, serious=not (named and listing.failures))
    elif not listing.tokens:
        yield Finding("no-token", TokenNotFound.exit_status, mend="dojang token init --label NAME", serious=False)


def examine_tokens(tokens: Iterable["Token"]) -> Iterator[Finding]:
    """PINs that are locked, nearly locked, not set or due for a change, and labels that two tokens share."""
    by_label: dict[str, list[str]] = defaultdict(list)
    for token in tokens:
        by_label[token.info.label].append(token.address)
        yield from _examine_pins(token)
    for label, addresses in by_label.items():
        if len(addresses) > 1:
            facts = {"label": label, "matches": addresses}
            yield Finding("same-label", AmbiguousToken.exit_status, facts, serious=False)


def _examine_pins(token: "Token") -> Iterator[Finding]:
    info, address = token.info, shlex.quote(token.address)
    unblock, change = f"dojang token pin unblock {address}", f"dojang token pin change {address}"
    facts = {"token": info.label, "address": token.address}
    if info.so_pin.locked:
        yield Finding("so-pin-locked", PinLocked.exit_status, facts)
    if not info.user_pin_set:
        yield Finding(PinNotSet.code, PinNotSet.exit_status, facts, unblock)
    elif info.user_pin.locked:
        yield Finding(PinLocked.code, PinLocked.exit_status, facts, unblock)
    elif info.user_pin.final_try:
        yield Finding(PinLastTry.code, PinLastTry.exit_status, facts, unblock)
    elif info.user_pin.count_low:
        yield Finding("pin-count-low", PinLastTry.exit_status, facts, serious=False)
    if info.user_pin.to_be_changed:
        yield Finding("pin-to-be-changed", PinNotSet.exit_status, facts, change)


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


def examine_state(state_dir: Path) -> Iterator[Finding]:
    """A state folder that others may read or write."""
    if state_dir.exists() and state_dir.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mend = f"chmod 700 {shlex.quote(str(state_dir))}"
        yield Finding("state-not-private", StateUnreadable.exit_status, {"path": str(state_dir)}, mend)


def sign_test(
    token: "OpenToken", *, label: str | None, key_id: bytes | None
) -> Iterator[tuple[str, DojangError | None]]:
    """Sign a random challenge with every key that matches; yields its address and what went wrong, if anything did."""
    from dojang.pkcs11.uri import Pkcs11Uri

    for key in list(token.keys(label=label, key_id=key_id)):
        address = str(Pkcs11Uri.from_text(token.address).for_object(object=key.label or None, id=key.key_id or None))
        try:
            _prove(token, key)
        except DojangError as error:
            yield address, error
        else:
            yield address, None


def _prove(token: "OpenToken", key: "TokenObject") -> None:
    """With the certificate that shares the key's CKA_ID where there is one, else with its own public key."""
    from dojang.x509.challenge import prove_key, prove_possession

    private_key = token.private_key(label=key.label or None, key_id=key.key_id or None)
    certificate = next(token.certificates(key_id=key.key_id), None) if key.key_id else None
    if certificate is None:
        prove_key(private_key)
    else:
        prove_possession(private_key, certificate.value)
