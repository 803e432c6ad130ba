"""``dojang key``: import, wrap, unwrap."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data, credential_lines
from dojang.cli.frame import FilePath, argument, command, option
from dojang.cli.key import parse
from dojang.cli.language import N_, _, say
from dojang.cli.workplace import password_tries, plan_words, workplace

if TYPE_CHECKING:
    from dojang.lifecycle.import_key import ImportedKey
    from dojang.lifecycle.wrap import Unwrapped
    from dojang.npki.pkcs8 import Pkcs8
    from dojang.secret import Secret

CHECKS = {
    "opened-again": N_("opened again: {detail}"),
    "attributes": N_("the token says that it is private, sensitive, does not leave and only signs"),
    "signature": N_("a challenge was signed and verified"),
}
R_LEFT_OUT = N_("R (proof of whose the certificate is) was left behind: {location} does not keep it.")

file_argument = argument("file", metavar="FILE", type=FilePath())
under_option = option(
    "--under", "under", required=True, metavar="KEK", help=N_("The wrapping key, by label or address.")
)
without_r_option = option(
    "--without-r",
    is_flag=True,
    help=N_("Leave R, by which the owner is identified, behind where the token cannot keep it."),
)


@command(
    help=N_(
        "Bring a private key out of a file to a token, where it never leaves again: PKCS#8, a Korean key file "
        "(signPri.key), PKCS#12 or PEM. R comes along. The key signs before it counts; the file stays as it is."
    ),
    examples=[
        "dojang key import 'pkcs11:token=Hong;object=old' key.pem",
        "dojang key import pkcs11:token=Hong signPri.key --label hong --password-source prompt",
    ],
)
@argument("address", metavar="ADDRESS")
@file_argument
@option("--label", help=N_("Label of the key; otherwise the address's object, otherwise the file's name."))
@without_r_option
def import_(invocation: Invocation, address: str, file: Path, label: str | None, without_r: bool) -> None:
    """Import one key, without a certificate."""
    from dojang.cli.files import read_file
    from dojang.lifecycle.import_key import ImportKeyOrder, import_key, plan_import_key

    where, named = invocation.address(address), parse(invocation, address).object
    key = _key_in(invocation, file, read_file(file))
    order = ImportKeyOrder(where, label or named or file.stem, key, str(file), without_r)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_import_key(order, place)), address=where, label=order.label)
            return
        done = import_key(order, place)
    _tell_left_out(invocation, done)
    shown = _key_address(done)
    text = N_("Imported the key {label} ({algorithm}): {address}")
    if done.already:
        text = N_("Nothing to do: the key {label} ({algorithm}) is there already, and works: {address}")
    head = say(text, label=done.label, algorithm=done.algorithm, address=shown)
    hint = say("The file still has the key; destroy it when it is no longer needed: {file}", file=file)
    data = _data(done, shown)
    invocation.result(data, "\n".join([head, *_checked(done), hint]), quiet=[shown])


@command(
    help=N_(
        "Write a key to a file, encrypted by its token under a wrapping key (AES-KWP, RFC 5649), with R, certificate "
        "and chain. Only keys made with --backup-under leave in this way."
    ),
    examples=[
        "dojang key wrap 'pkcs11:token=HSM;object=seal' --under backup -o seal.wrapped",
    ],
)
@argument("address", metavar="ADDRESS")
@under_option
@option("-o", "--output", "output", required=True, metavar="FILE", type=FilePath(), help=N_("File to write."))
@option("--replace", is_flag=True, help=N_("Write over a file that is there."))
def wrap(invocation: Invocation, address: str, under: str, output: Path, replace: bool) -> None:
    """Nothing on the token changes."""
    from dojang.lifecycle.scratch import refuse_present
    from dojang.lifecycle.wrap import look_into, plan_wrap, wrap_credential

    where = invocation.address(address)
    refuse_present(output, replace)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_wrap(place, where, invocation.address(under))), file=output)
            return
        blob = wrap_credential(place, where, invocation.address(under))
        _write(output, blob)
    file = look_into(blob, str(output))
    facts = {"label": file.label, "kek": file.kek_label, "check": file.kek_check, "file": output}
    text = say("Wrapped {label} under {kek} ({check}): {file}", **facts)
    hint = say(
        "Try it before you rely on it: dojang key unwrap {file} --to ADDRESS --under {kek}",
        file=quote(str(output)),
        kek=quote(file.kek_label),
    )
    data = {
        "file": output,
        "label": file.label,
        "algorithm": file.wrapped.algorithm,
        "under": file.kek_label,
        "check": file.kek_check,
        "certificate": bool(file.certificate_der),
        "r": bool(file.wrapped.random_number),
    }
    invocation.result(data, f"{text}\n{hint}", quiet=[str(output)])


@command(
    help=N_(
        "Bring a wrapped key to a token that has the same wrapping key. It is opened again, signs and is compared with "
        "its certificate before it counts; it never leaves that token again."
    ),
    examples=[
        "dojang key unwrap seal.wrapped --to pkcs11:token=Spare --under backup",
    ],
)
@file_argument
@option("--to", required=True, metavar="ADDRESS", help=N_("The token that it is brought to."))
@under_option
@option("--label", help=N_("What it is called there; as before unless said."))
@without_r_option
def unwrap(invocation: Invocation, file: Path, to: str, under: str, label: str | None, without_r: bool) -> None:
    """Complete and proven, or as before."""
    unwrap_from(invocation, file, invocation.address(to), under, label, without_r)


def unwrap_from(invocation: Invocation, file: Path, to: str, under: str, label: str | None, without_r: bool) -> None:
    """Bring the key in ``file`` to ``to``, and print what was checked."""
    from dojang.cli.files import read_file
    from dojang.lifecycle.wrap import UnwrapOrder, plan_unwrap, unwrap_credential

    blob = read_file(file)
    order = UnwrapOrder(to, invocation.address(under), label, str(file), without_r)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_unwrap(place, blob, order)), to=order.to, file=file)
            return
        done = unwrap_credential(place, blob, order)
    _tell_left_out(invocation, done)
    shown = done.credential.stored.address if done.credential else _key_address(done)
    head = _("Nothing to do: it is there already, and works.") if done.already else _("Unwrapped.")
    data = _data(done, shown)
    lines = [head, say("Key: {label}", label=done.label), say("Address: {address}", address=shown)]
    if done.credential is not None:
        data["credential"] = credential_data(done.credential)
        lines = [head, *credential_lines(done.credential)]
    invocation.result(data, lambda: "\n".join([*lines, *_checked(done)]), quiet=[shown])


class _Locked(Exception):
    """The file has a password."""


def _key_in(invocation: Invocation, file: Path, data: bytes) -> "Pkcs8":
    """The key in a file; wrong passwords are counted, and nobody is asked for one that would not be tried."""
    from dojang.lifecycle.key_file import read_key

    def locked() -> "Secret":
        raise _Locked

    path, counted_as = str(file), str(file.absolute())
    try:
        return read_key(data, path, locked)
    except _Locked:
        tries = password_tries(invocation)
    tries.check(counted_as, data)
    password = invocation.password(path)
    with tries.counted(counted_as, data):
        return read_key(data, path, lambda: password)


def _write(path: Path, content: bytes) -> None:
    """For its owner alone, although nobody else could open it."""
    from dojang.npki.files import write_file

    write_file(path, content)


def _key_address(done: "ImportedKey | Unwrapped") -> str:
    from dojang.pkcs11.uri import Pkcs11Uri

    return Pkcs11Uri.from_text(done.location).for_object(object=done.label, id=None).to_text()


def _data(done: "ImportedKey | Unwrapped", address: str) -> dict[str, Any]:
    return {
        "key": {"label": done.label, "id": done.key_id, "algorithm": done.algorithm, "address": address},
        "already": done.already,
        "checks": [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in done.checks],
        "left_out": sorted(done.left_out),
    }


def _checked(done: "ImportedKey | Unwrapped") -> list[str]:
    return [_("Checked:"), *(f"  {say(CHECKS[one.name], detail=one.detail)}" for one in done.checks)]


def _tell_left_out(invocation: Invocation, done: "ImportedKey | Unwrapped") -> None:
    if done.left_out:
        invocation.out.warning(say(R_LEFT_OUT, location=done.location))
