"""``dojang cert revoke``."""

from typing import TYPE_CHECKING

from dojang.cli.ca import RECORD_STATES, record_data
from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data
from dojang.cli.elsewhere import authority_options
from dojang.cli.frame import command, option
from dojang.cli.language import N_, _, say
from dojang.cli.meant import ca_option, meant_by, serial_option, source_argument
from dojang.cli.workplace import plan_words, workplace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dojang.authority.store import Record
    from dojang.lifecycle.revoke import Revocation


@command(
    help=N_(
        "Have the authority that issued a certificate revoke it for good. Nobody can take that back; the certificate's "
        "serial must be typed or passed. To get a new one for the rest of its term, use 'dojang cert reissue'."
    ),
    examples=[
        "dojang cert revoke 'pkcs11:token=Hong;object=sign' --reason keyCompromise",
        "dojang cert revoke hong.pem --yes-revoke 3f2a91",
        "dojang cert revoke 3f2a91 --reason cessationOfOperation",
    ],
)
@source_argument
@serial_option
@option("--reason", default="unspecified", show_default=True, help=N_("Why, as RFC 5280 spells it."))
@option("--yes-revoke", metavar="SERIAL", help=N_("The certificate's serial, to show that this one is meant."))
@ca_option
@authority_options
def revoke(
    invocation: Invocation,
    source: str | None,
    serial: str | None,
    reason: str,
    yes_revoke: str | None,
    ca: str | None,
) -> None:
    """The certificate and its key stay where they are."""
    from dojang.lifecycle.revoke import RevokeOrder, look_up, plan_revocation, revoke_meant

    order = RevokeOrder(meant_by(invocation, source, serial, ca), reason)
    with workplace(invocation) as place:
        if invocation.flags.plan:
            found = look_up(order, place)
            steps = plan_words(plan_revocation(order, place))
            invocation.planned(steps, authority=found.authority, serial=found.record.serial)
            return
        _confirm(invocation, look_up(order, place), yes_revoke)
        done = revoke_meant(order, place)
    warn_of_standing(invocation, done.standing)
    data = {"certificate": record_data(done.record), "authority": done.authority}
    data["still_valid"] = [one.serial for one in done.standing]
    if done.credential is not None:
        data["credential"] = credential_data(done.credential)
    invocation.result(data, lambda: _revoked(done), quiet=[done.record.serial])


def _confirm(invocation: Invocation, found: "Revocation", given: str | None) -> None:
    invocation.confirm_serial(
        found.record.serial,
        given,
        what=say("the certificate of {subject}", subject=found.record.subject),
        option="--yes-revoke SERIAL",
        question=N_("The certificate's serial"),
        warning=N_("This revokes {what} for good."),
    )


def warn_of_standing(invocation: Invocation, standing: "Iterable[Record]") -> None:
    """Say which certificates whoever has a compromised key may have too."""
    for one in standing:
        text = N_(
            "An older certificate of it, {serial}, is valid until {not_after}; whoever has the key may have that too. "
            "To revoke it: dojang cert revoke {serial} --reason keyCompromise"
        )
        invocation.out.warning(say(text, serial=one.serial, not_after=one.not_after_at))


def _revoked(done: "Revocation") -> str:
    record = done.record
    state = _(RECORD_STATES[record.state])
    lines = [
        say("{serial} ({subject}): {state}", serial=record.serial, subject=record.subject, state=state),
        say("Reason: {reason}, since {revoked_at}", reason=record.reason, revoked_at=record.revoked_at),
    ]
    return "\n".join(lines)
