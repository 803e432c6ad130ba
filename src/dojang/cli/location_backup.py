"""``dojang location``: backup and restore."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data
from dojang.cli.flags import key_file_options
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.key_wrap import without_r_option
from dojang.cli.language import N_, _, say
from dojang.cli.location import checked_lines, checks_data, label_option, target_of, to_option, two_sided
from dojang.cli.location_files import take_in_from
from dojang.cli.new_passwords import new_password_option
from dojang.cli.workplace import plan_words
from dojang.errors import Usage

if TYPE_CHECKING:
    from dojang.lifecycle.backup import Backup
    from dojang.lifecycle.drill import Drilled


@command(
    help=N_(
        "Write credentials, or all that are in use in a location, into one file under a password of its own: keys, R, "
        "certificates, the pair that decrypts and CaPubs. The backup is restored to a scratch folder and every key in "
        "it signs before it counts; --drill-only repeats that later."
    ),
    examples=[
        "dojang location backup npki: --to hong-backup.p12",
        "dojang location backup 'npki:?cn=Hong Gildong' 'pkcs12:/media/usb/old.p12' --to both.p12 --plan",
        "dojang location backup --drill-only hong-backup.p12",
    ],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@option("--to", "file", metavar="FILE", type=FilePath(), help=N_("The file to write."))
@option("--replace", is_flag=True, help=N_("Replace the file if it is there, once the new one has passed its drill."))
@option("--drill-only", metavar="FILE", type=FilePath(), help=N_("Write nothing; restore this backup on trial."))
@new_password_option
def backup(
    invocation: Invocation,
    addresses: tuple[str, ...],
    file: Path | None,
    replace: bool,
    drill_only: Path | None,
    new_password_source: str | None,
) -> None:
    """No half of a backup ever stays."""
    if drill_only is not None:
        if addresses or file is not None:
            raise Usage(problem=N_("--drill-only takes no address and no --to"))
        _drill(invocation, drill_only)
        return
    if not addresses or file is None:
        raise Usage(problem=N_("An address and --to FILE are needed"))
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
    head = _("Backed up; the backup was restored on trial and is good.")
    text = _drilled_text(head, made.file, made.sha256, made.drilled)
    invocation.result(_backup_data(made), text, quiet=[str(made.file)])


def _drill(invocation: Invocation, file: Path) -> None:
    """The password that opens the backup also keeps the scratch copies."""
    from dojang.lifecycle.drill import drill_file, plan_drill

    source = invocation.flags.password_source or invocation.settings.password_source
    with two_sided(invocation, source) as place:
        if invocation.planned(plan_words(plan_drill(file)), file=file):
            return
        done = drill_file(file, place)
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
    ],
)
@argument("file", metavar="FILE", type=FilePath())
@to_option
@option("--name", help=N_("Only the credential of that name, of several."))
@label_option
@without_r_option
@new_password_option
@key_file_options
def restore(
    invocation: Invocation,
    file: Path,
    to: str | None,
    name: str | None,
    label: str | None,
    without_r: bool,
    new_password_source: str | None,
) -> None:
    """The backup stays as it is."""
    from dojang.lifecycle.take_in import TakeInOrder

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
