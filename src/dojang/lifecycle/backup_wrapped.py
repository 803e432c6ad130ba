"""Backup of a key that leaves its HSM only wrapped: one file (see ``wrapped_file``), tried on a second HSM.

Both HSMs have the wrapping key. What the drill puts on the second one goes by a name of its own and is removed again.
"""

from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from dojang.errors import NotFound, NotPermitted, Phrase
from dojang.ledger import Event, Fact
from dojang.lifecycle.backup import Backup
from dojang.lifecycle.drill import Drilled, DrilledFile
from dojang.lifecycle.held import held_at
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.scratch import (
    MADE,
    clear_second,
    digest_of,
    finish_backup,
    folder_for,
    read_whole,
    refuse_present,
    scratch,
    wipe,
)
from dojang.lifecycle.workplace import Step, Workplace
from dojang.lifecycle.wrap import UnwrapOrder, look_into, plan_wrap, unwrap_credential, wrap_credential
from dojang.npki.files import write_file


@dataclass(frozen=True, slots=True)
class Second:
    """The HSM that a backup is tried on, and its wrapping key."""

    address: str
    under: str


@dataclass(frozen=True, slots=True)
class WrappedBackupOrder:
    """Which credential, under which wrapping key, into which file; ``replace`` an older one there."""

    address: str
    under: str
    file: Path
    second: Second
    replace: bool = False


def wrapped_backup(order: WrappedBackupOrder, place: Workplace) -> Backup:
    """Wrap, bring the file's key to the second HSM, have it sign there, remove it, and only then name the file.

    ``KeyDoesNotLeave`` for a key that was not made for it. After any error and after a kill nothing stays on the
    second HSM, and an older file is what it was.
    """
    file = order.file.resolve()
    refuse_present(file, order.replace)
    held, _chain = held_at(place, order.address)
    facts: dict[str, Fact] = {
        "addresses": [held.stored.address],
        "fingerprints": [fingerprint_of(held.stored.certificate_der)],
        "locations": [held.stored.address.partition(";object")[0]],
        "under": order.under,
        "replace": order.replace,
        **_second_facts(order.second),
    }
    folder = folder_for(file, place)
    with scratch("backup", folder, place, {"file": str(file), **facts}) as operation:
        place.say("write")
        write_file(folder / MADE, wrap_credential(place, order.address, order.under))
        drilled = _tried(folder / MADE, order.second, str(facts["second_label"]), place)
        operation.advance("drilled", sha256=digest_of(folder / MADE))
        finish_backup(operation)
    return Backup(file, str(operation.record.facts["sha256"]), (held,), (drilled,))


def drill_wrapped(file: Path, second: Second, place: Workplace) -> DrilledFile:
    """Bring the key in a wrapped backup to the second HSM, have it sign, and remove it; the file is only read."""
    file = file.resolve()
    folder, facts = folder_for(file, place), _second_facts(second)
    with scratch("drill", folder, place, {"file": str(file), **facts}) as operation:
        drilled = _tried(file, second, str(facts["second_label"]), place)
        done = DrilledFile(file, digest_of(file), (drilled,))
        wipe(folder)
        told: dict[str, Fact] = {"file": str(file), "sha256": done.sha256}
        operation.finish("drilled", Event("drilled", str(file), fingerprint_of(drilled.certificate_der), told))
    return done


def plan_wrapped_backup(order: WrappedBackupOrder, place: Workplace) -> tuple[Step, ...]:
    """The steps that ``wrapped_backup`` would take, after the refusals that say what is meant."""
    refuse_present(order.file.resolve(), order.replace)
    where = {"file": str(order.file), "second": order.second.address}
    return (*plan_wrap(place, order.address, order.under), Step("write-wrapped", where), Step("drill-second", where))


def plan_wrapped_drill(file: Path, second: Second) -> tuple[Step, ...]:
    """What ``drill_wrapped`` would do; a file that is none is refused."""
    look_into(read_whole(file), str(file))
    return (Step("drill-second", {"file": str(file), "second": second.address}),)


def is_wrapped(file: Path) -> bool:
    """Whether a file begins as a wrapped key does. ``FileUnreadable``."""
    return read_whole(file)[:1] == b"{"


def _tried(file: Path, second: Second, label: str, place: Workplace) -> Drilled:
    place.say("drill-second")
    blob = read_whole(file)
    content = look_into(blob, str(file))
    if not content.certificate_der:
        raise NotFound(what="A certificate", where=str(file), next_step="Keep keys without one with 'dojang key wrap'.")
    order = UnwrapOrder(second.address, second.under, label=label, path=str(file), alone=True)
    done = unwrap_credential(place, blob, order)
    if done.already:
        raise NotPermitted(
            problem=Phrase("{second} has this credential already, so nothing is tried there", second=second.address),
            remedy="Name another HSM or slot with --drill-to.",
        )
    clear_second(place, second.address, label)
    return Drilled(content.label, content.certificate_der, done.checks)


def _second_facts(second: Second) -> dict[str, Fact]:
    return {"second": second.address.partition("?")[0], "second_label": f"drill {token_hex(4)}"}
