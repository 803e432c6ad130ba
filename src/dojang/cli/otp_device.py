"""``dojang otp`` verbs that only an authority has: ask, unlock, suspend and restore a device, and rotate its key."""

from typing import TYPE_CHECKING, Any

from dojang.cli.ca import ca_option
from dojang.cli.ca_orders import officer_option, ordered
from dojang.cli.context import Invocation
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, say
from dojang.cli.otp_registered import decide
from dojang.cli.workplace import chosen_authority, open_authority_named

if TYPE_CHECKING:
    from dojang.authority.local import LocalAuthority
    from dojang.otp.rotation import Rotated

device_argument = argument("device", metavar="ID")
reason_option = option("--reason", metavar="TEXT", help=N_("Why, for the record."))


@command(
    help=N_(
        "Ask an OCRA device something. It is answered once, with 'dojang otp verify --ca'; the next question takes its "
        "place. A question of your own binds the answer to it."
    ),
    examples=["dojang otp challenge 5f0c3a9b21 --ca office", "dojang otp challenge 5f0c3a9b21 --question 50000123"],
)
@device_argument
@option("--question", metavar="TEXT", help=N_("What the answer is bound to, such as an amount and an account."))
@ca_option
@officer_option
def challenge(invocation: Invocation, device: str, question: str | None, ca: str | None, officer: str | None) -> None:
    """Without a question of one's own, eight characters that nobody can know before."""
    authority = chosen_authority(invocation, ca)
    if invocation.planned([say("Ask device {id} something", id=device)], authority=authority):
        return
    wanted = {"device": device, "question": question}
    answer = ordered(invocation, authority, "otp.challenge", wanted, officer)
    invocation.result({"authority": authority, **answer}, answer["challenge"], quiet=[answer["challenge"]])


@command(
    help=N_("Unlock a device after too many wrong codes; none is counted any more. Only an officer does it."),
    examples=["dojang otp unlock 5f0c3a9b21 --ca office", "dojang otp unlock 5f0c3a9b21 --officer officers/kim"],
)
@device_argument
@ca_option
@officer_option
def unlock(invocation: Invocation, device: str, ca: str | None, officer: str | None) -> None:
    """Time does not."""
    decide(invocation, ca, officer, "otp.unlock", {"device": device}, say("Unlock device {id}", id=device))


@command(
    help=N_("Have no code of a device accepted until it is restored, as when it was lost and may be found again."),
    examples=["dojang otp suspend 5f0c3a9b21 --reason lost --ca office"],
)
@device_argument
@reason_option
@ca_option
@officer_option
def suspend(invocation: Invocation, device: str, reason: str | None, ca: str | None, officer: str | None) -> None:
    """Wrong codes that were counted stay counted."""
    wanted: dict[str, Any] = {"device": device, "reason": reason}
    decide(invocation, ca, officer, "otp.suspend", wanted, say("Suspend device {id}", id=device))


@command(
    help=N_("Accept the codes of a suspended device again."),
    examples=["dojang otp restore 5f0c3a9b21 --ca office"],
)
@device_argument
@ca_option
@officer_option
def restore(invocation: Invocation, device: str, ca: str | None, officer: str | None) -> None:
    """One that was locked is so again."""
    decide(invocation, ca, officer, "otp.restore", {"device": device}, say("Restore device {id}", id=device))


@command(
    help=N_(
        "Make a new key on the authority's token and bring every seed and security card under it, on the token, while "
        "codes go on being checked. The old key is destroyed last. A run that was cut short is finished by the next."
    ),
    examples=["dojang otp kek rotate --ca office", "dojang otp kek rotate --ca office --plan"],
)
@ca_option
def rotate(invocation: Invocation, ca: str | None) -> None:
    """Where one is under way, no other key is made."""
    authority = chosen_authority(invocation, ca)
    plan = [
        _("Make a new key on the authority's token"),
        _("Bring every seed and security card under it"),
        _("Destroy the old key"),
    ]
    if invocation.planned(plan, authority=authority):
        return
    with open_authority_named(invocation, authority) as opened:
        done = _rotated(invocation, opened)
    text = say("{count} are under the key {id}.", count=done.brought, id=done.current)
    data = {"authority": authority, "kek": done.current, "destroyed": done.destroyed, "brought": done.brought}
    invocation.result(data, text, quiet=[done.current])


def _rotated(invocation: Invocation, authority: "LocalAuthority") -> "Rotated":
    from dojang.authority.factors.vaults import rotation_of

    with invocation.out.progress(_("Seeds"), None, unit="items") as bar:
        return rotation_of(authority).run(bar.reached)
