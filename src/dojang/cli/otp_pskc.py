"""Seeds in PSKC files (RFC 6030): ``dojang otp import`` and ``export`` at an authority; one for a device at hand."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dojang.cli.ca import ca_option
from dojang.cli.context import Invocation
from dojang.cli.files import check_writable
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import chosen_authority, open_authority_named
from dojang.errors import (
    AlreadyExists,
    FileMalformed,
    FileUnreadable,
    InvalidOtp,
    NotFound,
    Phrase,
    TransportKeyWrong,
    Usage,
)

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.otp.base import NewSeed
    from dojang.otp.pskc import Container
    from dojang.secret import Secret

_SHOWN = 20
_CIPHERS = ("kw-aes128", "kw-aes256", "aes128-cbc", "aes256-cbc")

key_source_option = option(
    "--key-source", metavar="SRC", help=N_("Where the key (in hex or base64) or the password of the file comes from.")
)


@command(
    help=N_(
        "Register the devices of a PSKC file (RFC 6030), all of them or none. Seeds that come under AES key wrap are "
        "unwrapped by the authority's token itself. What is registered already, with the same seed, is left alone."
    ),
    examples=[
        "dojang otp import seeds.xml --ca office --key-source file:transport.key",
        "dojang otp import seeds.xml --key-source prompt --map owners.csv --json",
    ],
)
@argument("file", metavar="FILE", type=FilePath())
@key_source_option
@option("--applicant", metavar="ID", help=N_("Whose devices they all are."))
@option(
    "--map", "owners", metavar="FILE", type=FilePath(), help=N_("Whose device each is: CSV of serial and applicant.")
)
@option("--exportable", is_flag=True, help=N_("Their seeds may be given out again with 'dojang otp export'."))
@ca_option
def import_(
    invocation: Invocation,
    file: Path,
    key_source: str | None,
    applicant: str | None,
    owners: Path | None,
    exportable: bool,
    ca: str | None,
) -> None:
    """One transaction: a run that is killed has registered nothing."""
    from dojang.otp.pskc.transfer import Transfer, ids_in

    if applicant is not None and owners is not None:
        raise Usage(problem=N_("either --applicant or --map"))
    authority = chosen_authority(invocation, ca)
    container = _container(invocation, file)
    names = list(ids_in(container))
    plan = [say("Register the devices of {file}: {count}", count=len(names), file=file)]
    if invocation.planned(plan, authority=authority, devices=names):
        return
    given = _key(invocation, container, key_source)
    whose: Mapping[str, str | None] = dict.fromkeys(names, applicant) if owners is None else _owners(owners, names)
    with open_authority_named(invocation, authority) as opened:
        _check_applicants(opened, {one for name in names if (one := whose.get(name)) is not None})
        transfer = Transfer(opened.database, opened.devices, authority)
        with invocation.out.progress(_("Devices"), len(names), unit="items") as bar:
            taken = transfer.take(container, given, whose, exportable=exportable, progress=bar.reached)
    data = {
        "authority": authority,
        "added": [one.id for one in taken.added],
        "present": taken.present,
        "left_out": list(container.left_out),
    }
    text = say(
        "Devices registered: {added}; there already: {present}.", added=len(taken.added), present=len(taken.present)
    )
    invocation.result(data, text, quiet=data["added"])


@command(
    help=N_(
        "Write the seeds of devices into a PSKC file (RFC 6030), encrypted: only of devices that were registered with "
        "--exportable. Under AES key wrap, as is usual, the authority's token encrypts them itself."
    ),
    examples=[
        "dojang otp export 5f0c3a9b21 --ca office --to seeds.xml --key-source file:transport.key",
        "dojang otp export 5f0c3a9b21 --to seeds.xml --by-password --key-source prompt",
    ],
)
@argument("devices", metavar="ID...", nargs=-1, required=True)
@option("--to", metavar="FILE", type=FilePath(), required=True, help=N_("File to write."))
@option("--key-source", metavar="SRC", required=True, help=N_("Where the key, or the password, comes from."))
@option("--by-password", is_flag=True, help=N_("It is a password, and no key in hex or base64."))
@option("--cipher", type=click.Choice(_CIPHERS), help=N_("How seeds are encrypted; AES key wrap unless said."))
@ca_option
def export(
    invocation: Invocation,
    devices: tuple[str, ...],
    to: Path,
    key_source: str,
    by_password: bool,
    cipher: str | None,
    ca: str | None,
) -> None:
    """Each is put on record before the file is there."""
    from dojang.npki.files import write_file
    from dojang.otp.pskc.transfer import Transfer
    from dojang.otp.pskc.writing import Transport

    authority = chosen_authority(invocation, ca)
    plan = [say("Write seeds into {file}, encrypted: {count}", count=len(devices), file=to)]
    if invocation.planned(plan, authority=authority, devices=list(devices)):
        return
    if to.exists():
        raise AlreadyExists(what=str(to), where=to.absolute().parent)
    check_writable(to)
    given = _typed(invocation, key_source)
    transport = Transport.by_password(given, cipher) if by_password else Transport.by_key(given, cipher)
    with open_authority_named(invocation, authority) as opened:
        write_file(to, Transfer(opened.database, opened.devices, authority).give(devices, transport))
    text = say("Seeds written into {file}: {count}", count=len(devices), file=to)
    invocation.result({"authority": authority, "devices": list(devices), "file": to}, text, quiet=[str(to)])


def seeds_in(invocation: Invocation, file: Path, key_source: str | None) -> "list[NewSeed]":
    """The seeds of a file, for a device at hand; each is in memory, which its device takes it from."""
    from dojang.otp.base import NewSeed
    from dojang.otp.otpauth import SHORTEST_SEED
    from dojang.otp.pskc.protection import KeyRefused
    from dojang.secret import Secret

    container, found = _container(invocation, file), []
    try:
        for one in container.open(_key(invocation, container, key_source)):
            seed = one.seed()
            if len(seed) < SHORTEST_SEED:
                raise InvalidOtp(problem=Phrase("a seed has at least {shortest} bytes", shortest=SHORTEST_SEED))
            found.append(NewSeed(one.key.name, one.key.parameters, Secret(bytes(seed)), one.key.counter))
            seed[:] = bytes(len(seed))
    except KeyRefused as error:
        raise TransportKeyWrong(path=str(file), problem=error.problem) from None
    return found


def _container(invocation: Invocation, file: Path) -> "Container":
    from dojang.npki.files import read_file
    from dojang.otp.pskc import read_container
    from dojang.otp.pskc.xml import LARGEST

    container = read_container(read_file(file, at_most=LARGEST), str(file))
    if not container.keys:
        raise NotFound(what=Phrase(N_("A key for one-time passwords")), where=file, command=f"less {file}")
    if not container.is_encrypted:
        invocation.out.warning(say("The seeds in {file} are not encrypted; whoever has read it has them.", file=file))
    if container.is_signed:
        invocation.out.warning(say("The signature of {file} is not checked.", file=file))
    if container.left_out:
        more = " …" if len(container.left_out) > _SHOWN else ""
        left = ", ".join(container.left_out[:_SHOWN]) + more
        invocation.out.note(say("Left out, for they are not for codes: {ids}", ids=left))
    return container


def _key(invocation: Invocation, container: "Container", source: str | None) -> "Secret | None":
    """``TransportKeyWrong`` where one is given and nothing is encrypted: another file may have taken its place."""
    if container.is_encrypted:
        return _typed(invocation, source)
    if source is not None:
        raise TransportKeyWrong(path=container.path, problem=Phrase("nothing in it is encrypted"))
    return None


def _typed(invocation: Invocation, source: str | None) -> "Secret":
    purpose = Phrase(N_("key or password of the PSKC file"))
    return invocation.secrets.typed(source, "--key-source", purpose, _("Key or password of the PSKC file"))


def _owners(path: Path, names: Sequence[str]) -> dict[str, str | None]:
    """``serial,applicant`` a line; more columns are not read, nor is a line that begins with '#'. Each of ``names`` may
    stand there once, and nothing else.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileUnreadable(path=path, problem=getattr(error, "strerror", None) or str(error)) from error
    owners: dict[str, str | None] = {}
    known = set(names)
    for number, (serial, applicant) in enumerate((_cells(row) for row in rows), start=1):
        problem = None
        if not applicant:
            problem = Phrase("row {row} has no applicant", row=number)
        elif serial not in known:
            problem = Phrase("row {row} names a device that is not in the file", row=number)
        elif serial in owners:
            problem = Phrase("row {row} names a device a second time", row=number)
        if problem is not None:
            raise FileMalformed(path=path, expected=Phrase("a list of serial and applicant"), problem=problem)
        owners[serial] = applicant
    return owners


def _cells(row: Sequence[str]) -> tuple[str, str]:
    return row[0].strip(), row[1].strip() if len(row) > 1 else ""


def _check_applicants(authority: "LocalAuthority", applicants: set[str]) -> None:
    """``NotFound`` for one that the authority does not know."""
    for one in sorted(applicants):
        authority.counter.office.applicant(one)
