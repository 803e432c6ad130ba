"""``dojang location``: copy, move."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dojang.cli.chooser import place_given
from dojang.cli.context import Invocation
from dojang.cli.credentials import STATES, credential_data, credential_lines
from dojang.cli.flags import key_file_options
from dojang.cli.frame import argument, command, option
from dojang.cli.key_wrap import without_r_option
from dojang.cli.language import N_, _, say
from dojang.cli.new_passwords import NewPasswords, new_password_option
from dojang.cli.workplace import open_location_at, password_tries, plan_words, workplace
from dojang.errors import PasswordIncorrect, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.copy import Transferred
    from dojang.lifecycle.transfer import Brought
    from dojang.lifecycle.workplace import Check, Workplace

CHECKS = {
    "stored": N_("stored, and found again: {detail}"),
    "validity": N_("valid {detail}"),
    "issuer": N_("issued by {detail}"),
    "opened-again": N_("opened again: {detail}"),
    "restored": N_("restored to a scratch folder, and opened again there"),
    "attributes": N_("the token says that it is private, sensitive, does not leave and only signs"),
    "signature": N_("a challenge was signed and verified with the certificate"),
    "r": N_("R (proof of whose the certificate is) is the same"),
    "chain": N_("certificates above it: {detail}"),
    "km": N_("the pair that decrypts (km) is the same"),
    "ca_pubs": N_("CaPubs is the same"),
}
LEFT_OUT = {
    "r": N_("R (proof of whose the certificate is)"),
    "km": N_("the pair that decrypts (km)"),
    "ca_pubs": N_("CaPubs"),
    "chain": N_("the certificates above it"),
}
to_option = option(
    "--to", metavar="ADDRESS", help=N_("The location that it is brought to; chosen from what is there unless said.")
)
label_option = option("--label", help=N_("What it is called there; as here unless said."))


@command(
    help=N_(
        "Make a second copy of a credential in another location: key, R, certificates and what else belongs to it. "
        "The copy is opened again and signs before it counts. A key on a token does not leave it. With --replace, "
        "after a renewal, it takes the place of the copy that it succeeds, which is retired."
    ),
    examples=[
        "dojang location copy 'npki:?cn=Hong Gildong' --to pkcs11:token=Hong",
        "dojang location copy 'npki:?cn=Hong Gildong' --to npki:/media/usb/NPKI --new-password-source prompt",
        "dojang location copy 'npki:?cn=Hong Gildong' --to pkcs11:token=Hong --replace",
    ],
)
@argument("address", metavar="ADDRESS")
@to_option
@label_option
@option("--replace", is_flag=True, help=N_("Take the place of the copy that it succeeds there, which is retired."))
@without_r_option
@new_password_option
@key_file_options
def copy(
    invocation: Invocation,
    address: str,
    to: str | None,
    label: str | None,
    replace: bool,
    without_r: bool,
    new_password_source: str | None,
) -> None:
    """The original stays as it is."""
    from dojang.lifecycle.copy import CopyOrder, plan_copy
    from dojang.lifecycle.copy import copy as copy_credential

    if replace and label is not None:
        raise Usage(problem=N_("--replace keeps the name of the copy that is there; leave --label out"))
    origin = invocation.address(address)
    order = CopyOrder(origin, target_of(invocation, to, origin), label, without_r, replace)
    with two_sided(invocation, new_password_source) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_copy(order, place)), address=order.address, to=order.to)
            return
        done = copy_credential(order, place)
    tell_remarks(invocation, done)
    retired = done.brought.retired
    previous = {} if retired is None else {"previous": credential_data(retired)}
    data = {**brought_data(done.brought), **previous}
    invocation.result(data, lambda: _copied(done), quiet=[done.brought.credential.stored.address])


@command(
    help=N_(
        "Bring a credential to another location and remove it where it was. It is removed only after the copy has been "
        "opened again and has signed; a command that is cut short is finished by the next one."
    ),
    examples=[
        "dojang location move 'npki:?cn=Hong Gildong' --to pkcs11:token=Hong",
        "dojang location move 'npki:?cn=Hong Gildong' --to npki:/media/usb/NPKI --plan",
    ],
)
@argument("address", metavar="ADDRESS")
@to_option
@label_option
@new_password_option
@key_file_options
def move(
    invocation: Invocation, address: str, to: str | None, label: str | None, new_password_source: str | None
) -> None:
    """Afterwards there is one, in the other place."""
    from dojang.lifecycle.copy import CopyOrder
    from dojang.lifecycle.move import move as move_credential
    from dojang.lifecycle.move import plan_move

    origin = invocation.address(address)
    order = CopyOrder(origin, target_of(invocation, to, origin), label)
    with two_sided(invocation, new_password_source) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_move(order, place)), address=order.address, to=order.to)
            return
        done = move_credential(order, place)
    tell_remarks(invocation, done)
    previous = {} if done.original is None else {"previous": credential_data(done.original)}
    data = {**brought_data(done.brought), **previous}
    invocation.result(data, lambda: _moved(done), quiet=[done.brought.credential.stored.address])


def target_of(invocation: Invocation, to: str | None, origin: str | None = None) -> str:
    """Where a credential is brought: as ``--to`` says, else as a person chooses; not where it comes from."""
    what, question = N_("The location that it is brought to"), N_("Where to bring it")
    return place_given(invocation, to, what=what, question=question, not_at=origin)


@contextlib.contextmanager
def two_sided(invocation: Invocation, new_password_source: str | None) -> "Iterator[Workplace]":
    """A workplace whose second location takes its passwords from ``--new-password-source``."""
    passwords = NewPasswords(invocation, new_password_source)
    with workplace(invocation) as place:
        try:
            yield replace(
                place,
                open_other=lambda address: open_location_at(invocation, address, passwords),
                passwords=lambda path, new: invocation.password(path, new=new),
                tries=password_tries(invocation),
            )
        except PasswordIncorrect as error:
            if error.facts["path"] not in passwords.guessed:
                raise
            advice = N_("It was tried with the password of the original; say another with --new-password-source.")
            raise PasswordIncorrect(path=error.facts["path"], next_step=advice) from error


def brought_data(brought: "Brought") -> dict[str, Any]:
    """A credential that was brought somewhere, as every command prints it with ``--json``."""
    return {
        "credential": credential_data(brought.credential),
        "already": brought.already,
        "left_out": sorted(brought.left_out),
        "checks": checks_data(brought.checks),
    }


def checks_data(checks: "tuple[Check, ...]") -> list[dict[str, Any]]:
    """What was checked, as every command prints it with ``--json``."""
    return [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in checks]


def checked_lines(checks: "tuple[Check, ...]") -> list[str]:
    """What was checked, for people, one a line."""
    return [
        _("Checked:"),
        *(f"  {'✓' if one.ok else '✗'} {say(CHECKS[one.name], detail=one.detail)}" for one in checks),
    ]


def brought_lines(brought: "Brought") -> list[str]:
    """A credential that was brought somewhere, and what was checked, for people."""
    return [*credential_lines(brought.credential), *checked_lines(brought.checks)]


def _copied(done: "Transferred") -> str:
    head = _("Nothing to do: it is there already, and works.") if done.brought.already else _("Copied.")
    retired = done.brought.retired
    gone = [] if retired is None else [say("Retired: {address}", address=retired.stored.address)]
    return "\n".join([head, *brought_lines(done.brought), *gone])


def _moved(done: "Transferred") -> str:
    lines = brought_lines(done.brought)
    if done.original is None:
        return "\n".join([_("Nothing to do: it is there already, and works."), *lines])
    return "\n".join([_("Moved."), *lines, say("Removed: {address}", address=done.original.stored.address)])


def tell_remarks(invocation: Invocation, done: "Transferred") -> None:
    """What a person should know of a copy that works: it has ended, is not valid yet, or is not whole."""
    tell_left_out(invocation, done.brought)
    if done.original is None:
        return
    state, not_before = done.original.state, done.original.facts.not_before_at
    if state in ("expired", "revoked", "suspended", "retired"):
        invocation.out.note(say("What was copied is {state}.", state=_(STATES[state])))
    if not_before > datetime.now(UTC):
        invocation.out.note(say("What was copied is not valid before {not_before}.", not_before=not_before))


def tell_left_out(invocation: Invocation, brought: "Brought") -> None:
    """What of a credential is not where it was brought."""
    for name in sorted(brought.left_out):
        text = N_("{what} could not go along: {location} does not keep it.")
        invocation.out.warning(say(text, what=LEFT_OUT[name], location=brought.location))
