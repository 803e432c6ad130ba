"""``dojang location``: backup and restore."""

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data
from dojang.cli.flags import key_file_options
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.key_wrap import unwrap_from, without_r_option
from dojang.cli.language import N_, _, say
from dojang.cli.location import checked_lines, checks_data, label_option, target_of, to_option, two_sided
from dojang.cli.location_files import take_in_from
from dojang.cli.new_passwords import new_password_option
from dojang.cli.workplace import open_location_at, plan_words, workplace
from dojang.errors import InputRequired, Phrase, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.backup import Backup
    from dojang.lifecycle.backup_wrapped import Second, WrappedBackupOrder
    from dojang.lifecycle.drill import Drilled
    from dojang.lifecycle.workplace import Workplace


drill_to_option = option(
    "--drill-to",
    metavar="ADDRESS",
    help=N_(
        "The second HSM or slot that a wrapped backup is tried on; where its PIN is another, 'ADDRESS?pin-source=SRC'."
    ),
)
drill_pin_option = option(
    "--drill-pin-source", metavar="SRC", help=N_("Where the PIN of that second token comes from, if not its address.")
)
drill_under_option = option(
    "--drill-under",
    metavar="KEK",
    help=N_("The wrapping key there, by label or address; of the same name unless said."),
)


@command(
    help=N_(
        "Write credentials, or all that are in use in a location, into one file under a password of its own: keys, R, "
        "certificates, the pair that decrypts and CaPubs. The backup is restored to a scratch folder and every key in "
        "it signs before it counts; --drill-only repeats that later. A key on an HSM that was made for a backup goes "
        "into the file wrapped, and is tried on a second HSM that has the same wrapping key."
    ),
    examples=[
        "dojang location backup npki: --to hong-backup.p12",
        "dojang location backup 'npki:?cn=Hong Gildong' 'pkcs12:/media/usb/old.p12' --to both.p12 --plan",
        "dojang location backup --drill-only hong-backup.p12",
        "dojang location backup 'pkcs11:token=HSM;object=seal' --to seal.key --under kek --drill-to pkcs11:token=Two",
    ],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@option("--to", "file", metavar="FILE", type=FilePath(), help=N_("The file to write."))
@option("--replace", is_flag=True, help=N_("Replace the file if it is there, once the new one has passed its drill."))
@option("--drill-only", metavar="FILE", type=FilePath(), help=N_("Write nothing; restore this backup on trial."))
@option("--under", metavar="KEK", help=N_("Wrap the key under this wrapping key, by label or address."))
@drill_to_option
@drill_under_option
@drill_pin_option
@new_password_option
def backup(
    invocation: Invocation,
    addresses: tuple[str, ...],
    file: Path | None,
    replace: bool,
    drill_only: Path | None,
    under: str | None,
    drill_to: str | None,
    drill_under: str | None,
    drill_pin_source: str | None,
    new_password_source: str | None,
) -> None:
    """No half of a backup ever stays."""
    second = _second(invocation, under, drill_to, drill_under)
    if drill_only is not None:
        if addresses or file is not None:
            raise Usage(problem=N_("--drill-only takes no address and no --to"))
        _drill(invocation, drill_only, second, drill_pin_source)
    elif not addresses or file is None:
        raise Usage(problem=N_("An address and --to FILE are needed"))
    elif under is not None:
        assert second is not None
        order = _wrapped_order(invocation, addresses, under, file, second, replace)
        _back_up_wrapped(invocation, order, drill_pin_source)
    else:
        _back_up(invocation, addresses, file, replace, new_password_source)


def _second(
    invocation: Invocation, under: str | None, drill_to: str | None, drill_under: str | None
) -> "Second | None":
    from dojang.lifecycle.backup_wrapped import Second
    from dojang.lifecycle.new_key import name_anywhere

    kek = invocation.address(drill_under) if drill_under else under and name_anywhere(invocation.address(under))
    if drill_to is None and kek is None:
        return None
    if drill_to is None:
        raise InputRequired(what=Phrase(N_("The second HSM, which a wrapped backup is tried on,")), option="--drill-to")
    if kek is None:
        raise InputRequired(what=Phrase(N_("The wrapping key")), option="--under")
    return Second(invocation.address(drill_to), kek)


def _back_up(
    invocation: Invocation, addresses: tuple[str, ...], file: Path, replace: bool, new_password_source: str | None
) -> None:
    from dojang.lifecycle.backup import BackupOrder, plan_backup
    from dojang.lifecycle.backup import backup as back_up

    order = BackupOrder(tuple(map(invocation.address, addresses)), file, replace)
    with two_sided(invocation, new_password_source) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_backup(order, place)), addresses=order.addresses, file=file)
            return
        made = back_up(order, place)
    if made.retired:
        invocation.out.note(say("Left out, because retired: {count}. Name them to back them up.", count=made.retired))
    _tell_made(invocation, made)


def _wrapped_order(
    invocation: Invocation, addresses: tuple[str, ...], under: str, file: Path, second: "Second", replace: bool
) -> "WrappedBackupOrder":
    from dojang.lifecycle.backup_wrapped import WrappedBackupOrder

    if len(addresses) != 1:
        raise Usage(problem=N_("A wrapped key has a file of its own: name one address"))
    return WrappedBackupOrder(invocation.address(addresses[0]), under, file, second, replace)


def _back_up_wrapped(invocation: Invocation, order: "WrappedBackupOrder", pin_source: str | None) -> None:
    from dojang.lifecycle.backup_wrapped import plan_wrapped_backup, wrapped_backup

    with _beside_second(invocation, order.second, pin_source) as place:
        if invocation.flags.plan:
            steps = plan_words(plan_wrapped_backup(order, place))
            invocation.planned(steps, addresses=[order.address], file=order.file)
            return
        made = wrapped_backup(order, place)
    _tell_made(invocation, made, order.under)


@contextlib.contextmanager
def _beside_second(invocation: Invocation, second: "Second", pin_source: str | None) -> "Iterator[Workplace]":
    """A workplace whose second location is the second HSM: the PIN of the first is never tried on it."""
    from dojang.locations.address import parse_address
    from dojang.pkcs11.uri import Pkcs11Uri

    uri = parse_address(second.address)
    of_its_own = invocation.secrets.from_uri(uri) if isinstance(uri, Pkcs11Uri) else None
    pins = of_its_own or invocation.secrets.provider(pin_source, "--drill-pin-source")
    with workplace(invocation) as place:
        yield replace(place, open_other=lambda address: open_location_at(invocation, address, pins=pins))


def _tell_made(invocation: Invocation, made: "Backup", under: str | None = None) -> None:
    head = _("Backed up; the backup was restored on trial and is good.")
    words = ["dojang", "location", "restore", str(made.file), "--to", "ADDRESS", *(("--under", under) if under else ())]
    back = say("To bring it back: {command}", command=shlex.join(words))
    text = _drilled_text(head, made.file, made.sha256, made.drilled)
    invocation.result(_backup_data(made), f"{text}\n\n{back}", quiet=[str(made.file)])


def _drill(invocation: Invocation, file: Path, second: "Second | None", pin_source: str | None) -> None:
    """The password that opens the backup is the only one there is, and so is the PIN."""
    from dojang.lifecycle.backup_wrapped import drill_wrapped, is_wrapped, plan_wrapped_drill
    from dojang.lifecycle.drill import drill_file, plan_drill

    wrapped = is_wrapped(file)
    if wrapped and second is None:
        raise InputRequired(what=Phrase(N_("The second HSM, which a wrapped backup is tried on,")), option="--drill-to")
    source = invocation.flags.password_source or invocation.settings.password_source
    pin_source = pin_source or invocation.flags.pin_source or invocation.settings.pin_source
    opened = _beside_second(invocation, second, pin_source) if wrapped and second else two_sided(invocation, source)
    with opened as place:
        if invocation.flags.plan:
            steps = plan_wrapped_drill(file, second) if wrapped and second else plan_drill(file)
            invocation.planned(plan_words(steps), file=file)
            return
        done = drill_wrapped(file, second, place) if wrapped and second else drill_file(file, place)
    data = {"file": done.file, "sha256": done.sha256, "checks": _drilled_data(done.credentials)}
    text = _drilled_text(_("The backup is good."), done.file, done.sha256, done.credentials)
    invocation.result(data, text, quiet=[str(done.file)])


@command(
    help=N_(
        "Bring everything in a backup into a location; what is there already is proven and left. All keys are opened "
        "before the first is brought."
    ),
    examples=[
        "dojang location restore hong-backup.p12 --to npki:",
        "dojang location restore hong-backup.p12 --to pkcs11:token=Hong --name 'Hong Gildong'",
        "dojang location restore seal.key --to pkcs11:token=Two --under kek",
    ],
)
@argument("file", metavar="FILE", type=FilePath())
@to_option
@option("--name", help=N_("Only the credential of that name, of several."))
@label_option
@option("--under", metavar="KEK", help=N_("The wrapping key there, for a backup of a wrapped key."))
@without_r_option
@new_password_option
@key_file_options
def restore(
    invocation: Invocation,
    file: Path,
    to: str | None,
    name: str | None,
    label: str | None,
    under: str | None,
    without_r: bool,
    new_password_source: str | None,
) -> None:
    """The backup stays as it is."""
    from dojang.lifecycle.backup_wrapped import is_wrapped
    from dojang.lifecycle.take_in import TakeInOrder

    if not file.is_dir() and is_wrapped(file):
        if under is None:
            raise InputRequired(what=Phrase(N_("The wrapping key")), option="--under")
        unwrap_from(invocation, file, target_of(invocation, to), under, label, without_r)
        return
    if label is not None and name is None:
        raise Usage(problem=N_("--label is for one credential; choose it with --name"))
    order = TakeInOrder(
        file, target_of(invocation, to), name, every=True, label=label, verb="restore", without_r=without_r
    )
    take_in_from(invocation, order, new_password_source, _("Restored."))


def _backup_data(made: "Backup") -> dict[str, Any]:
    return {
        "file": made.file,
        "sha256": made.sha256,
        "credentials": [credential_data(one) for one in made.credentials],
        "checks": _drilled_data(made.drilled),
        "retired": made.retired,
    }


def _drilled_data(drilled: "tuple[Drilled, ...]") -> list[dict[str, Any]]:
    return [{"name": one.name, "checks": checks_data(one.checks)} for one in drilled]


def _drilled_text(head: str, file: Path, sha256: str, drilled: "tuple[Drilled, ...]") -> str:
    lines = [head, say("File: {file}", file=file), say("SHA-256: {sha256}", sha256=sha256)]
    for one in drilled:
        lines += ["", one.name, *checked_lines(one.checks)]
    return "\n".join(lines)
