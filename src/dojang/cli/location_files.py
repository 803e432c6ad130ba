"""``dojang location``: export and import, between a location and a file that other programs read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dojang.cli.context import Invocation
from dojang.cli.credentials import certificate_data
from dojang.cli.flags import key_file_options, pkcs12_profile_option
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.key_wrap import without_r_option
from dojang.cli.language import N_, _, say
from dojang.cli.location import (
    brought_data,
    brought_lines,
    label_option,
    target_of,
    tell_left_out,
    tell_remarks,
    to_option,
    two_sided,
)
from dojang.cli.new_passwords import new_password_option
from dojang.cli.workplace import plan_words, workplace
from dojang.errors import Phrase, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.take_in import TakeInOrder
    from dojang.lifecycle.transfer import Brought

FORMATS = ("pkcs12", "pem")
_PEM_ENDINGS = (".pem", ".crt", ".cer", ".key")
_FOLDER_ENDINGS = (".zip", ".der")

file_option = option("--to", "file", required=True, metavar="FILE", type=FilePath(), help=N_("The file to write."))


@command(
    help=N_(
        "Write a credential to a file that other programs read: PKCS#12 or PEM, under a new password, or the "
        "certificate alone. A private key is never written without a password."
    ),
    examples=[
        "dojang location export 'npki:?cn=Hong Gildong' --to hong.p12",
        "dojang location export 'pkcs11:token=Hong;object=hong' --to hong.pem --certificate-only",
    ],
)
@argument("address", metavar="ADDRESS")
@file_option
@option("--format", "form", type=click.Choice(FORMATS), help=N_("The form of the file; by its name unless said."))
@option("--certificate-only", is_flag=True, help=N_("Write the certificate and those above it, without the key."))
@label_option
@new_password_option
@pkcs12_profile_option
def export(
    invocation: Invocation,
    address: str,
    file: Path,
    form: str | None,
    certificate_only: bool,
    label: str | None,
    new_password_source: str | None,
) -> None:
    """The file is opened again and its key signs before this counts as done."""
    from dojang.lifecycle.export import ExportOrder, export_credential, plan_export

    if certificate_only:
        _export_certificate(invocation, invocation.address(address), file)
        return
    order = ExportOrder(invocation.address(address), file, form or _form_of(file), label)
    with two_sided(invocation, new_password_source) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_export(order, place)), address=order.address, file=file)
            return
        done = export_credential(order, place)
    tell_remarks(invocation, done)
    head = _("Nothing to do: the file has it already, and it works.") if done.brought.already else _("Exported.")
    data = {"file": file, **brought_data(done.brought)}
    invocation.result(data, lambda: "\n".join([head, *brought_lines(done.brought)]), quiet=[str(file)])


def _form_of(file: Path) -> str:
    """As the name says; a name that promises what is not written is ``Usage``."""
    ending = file.suffix.lower()
    if ending in _FOLDER_ENDINGS or file.is_dir():
        raise Usage(
            problem=Phrase(N_("'{file}' is neither a PKCS#12 nor a PEM file"), file=file.name),
            next_step=N_("For a certificate folder: dojang location copy ADDRESS --to npki:FOLDER; it may be zipped."),
        )
    return "pem" if ending in _PEM_ENDINGS else "pkcs12"


def _export_certificate(invocation: Invocation, address: str, file: Path) -> None:
    """Certificates are public: no password, no PIN; a file that is there already is not written over."""
    from dojang.cli.files import pem_of, write_file
    from dojang.lifecycle.held import held_at
    from dojang.lifecycle.scratch import refuse_present

    refuse_present(file, replace=False)
    with workplace(invocation) as place:
        held, chain_der = held_at(place, address)
    if invocation.planned([say("Write the certificate of {address} to {file}", address=address, file=file)], file=file):
        return
    write_file(file, pem_of([held.stored.certificate_der, *chain_der]).encode())
    data = {"file": file, "certificate_only": True, **certificate_data(held.facts)}
    invocation.result(data, say("Certificate written to {file}.", file=file), quiet=[str(file)])


@command(
    help=N_(
        "Bring credentials from a file into a location: PKCS#12, PEM, a zip of certificate folders, one such folder "
        "(signCert.der, signPri.key) or an NPKI folder; what it is tells itself. All keys are opened before the first "
        "is brought."
    ),
    examples=[
        "dojang location import hong.p12 --to npki:",
        "dojang location import NPKI.zip --to pkcs11:token=Hong --name 'Hong Gildong'",
    ],
)
@argument("file", metavar="FILE", type=FilePath())
@to_option
@option("--name", help=N_("Only the credential of that name, of several."))
@option("--all", "every", is_flag=True, help=N_("Every credential in the file."))
@label_option
@without_r_option
@new_password_option
@key_file_options
def import_(
    invocation: Invocation,
    file: Path,
    to: str | None,
    name: str | None,
    every: bool,
    label: str | None,
    without_r: bool,
    new_password_source: str | None,
) -> None:
    """The file stays as it is."""
    from dojang.lifecycle.take_in import TakeInOrder

    if label is not None and every and name is None:
        raise Usage(problem=N_("--label is for one credential; choose it with --name"))
    order = TakeInOrder(file, target_of(invocation, to), name, every, label, without_r=without_r)
    take_in_from(invocation, order, new_password_source, _("Imported."))


def take_in_from(invocation: Invocation, order: "TakeInOrder", new_password_source: str | None, done: str) -> None:
    """Import or restore, and print each credential with what was checked."""
    from dojang.lifecycle.take_in import plan_take_in, take_in

    with two_sided(invocation, new_password_source) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_take_in(order, place)), file=order.file, to=order.to)
            return
        brought = take_in(order, place)
    for one in brought:
        tell_left_out(invocation, one)
    data = {"file": order.file, "credentials": [_arrived_data(one) for one in brought]}
    quiet = [one.credential.stored.address for one in brought]
    invocation.result(data, lambda: "\n\n".join(_arrived(one, done) for one in brought), quiet=quiet)


def _arrived_data(brought: "Brought") -> dict[str, Any]:
    data = brought_data(brought)
    return {**data.pop("credential"), **data}


def _arrived(brought: "Brought", done: str) -> str:
    head = _("Nothing to do: it is there already, and works.") if brought.already else done
    return "\n".join([head, *brought_lines(brought)])
