"""``dojang renew``: now, due, run."""

from datetime import timedelta
from typing import TYPE_CHECKING

from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data, credential_lines, credential_table
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.cli.where import days_of, known_addresses
from dojang.cli.workplace import plan_words, workplace
from dojang.errors import DojangError, NothingDue

if TYPE_CHECKING:
    from dojang.lifecycle.held import Held
    from dojang.lifecycle.renew import Renewal
    from dojang.lifecycle.workplace import Workplace

SOME_FAILED = 15

window_option = option(
    "--window", metavar="DAYS", help=N_("How long before its expiry a certificate is due, written 30d or 30.")
)


@command(
    help=N_(
        "Renew one certificate: a new key and a successor certificate; the old pair is retired, not destroyed. What "
        "was renewed already is renewed again only when it is due."
    ),
    examples=[
        "dojang renew now 'pkcs11:token=Hong;object=sign'",
        "dojang renew now 'npki:?cn=Hong Gildong' --keep-key",
    ],
)
@argument("address", metavar="ADDRESS")
@option("--keep-key", is_flag=True, help=N_("Certify the same key again, where the profile allows it."))
@option("--again", is_flag=True, help=N_("Renew even what was renewed before and is not due yet."))
@window_option
def now(invocation: Invocation, address: str, keep_key: bool, again: bool, window: str | None) -> None:
    """The old pair works until the new one is proven and confirmed."""
    from dojang.lifecycle.renew import RenewOrder, plan_renewal, renew

    order = RenewOrder(invocation.address(address), keep_key=keep_key, again=again, window=_window(window))
    with workplace(invocation) as place:
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_renewal(order, place)), address=order.address)
            return
        renewal = renew(order, place)
    invocation.result(_data(renewal), lambda: _text(renewal), quiet=[renewal.credential.stored.address])


@command(
    help=N_(
        "List what is due for renewal, at the addresses given or everywhere that is known; exit status 14 for none."
    ),
    examples=["dojang renew due", "dojang renew due 'pkcs11:token=Hong' --window 60d --json"],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@window_option
def due(invocation: Invocation, addresses: tuple[str, ...], window: str | None) -> int:
    """No PIN is asked; nothing due is an empty list and the status of ``NothingDue``."""
    with workplace(invocation) as place:
        held = _due(invocation, place, addresses, window)
    data = {"credentials": [credential_data(one) for one in held]}
    nothing = NothingDue()
    text = credential_table(invocation, held) if held else f"{message_of(nothing)} {advice_of(nothing)}"
    invocation.result(data, text, quiet=[one.stored.address for one in held])
    return 0 if held else nothing.exit_status


@command(
    help=N_(
        "Finish what earlier runs left behind, then renew everything that is due, at the addresses given or everywhere "
        "that is known."
    ),
    examples=["dojang renew run", "dojang renew run 'pkcs11:token=Hong' --pin-source file:/etc/dojang/pin"],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@window_option
def run(invocation: Invocation, addresses: tuple[str, ...], window: str | None) -> int:
    """One that cannot be renewed never stops the others."""
    from dojang.lifecycle.recover import recover

    with workplace(invocation) as place:
        recovered = [] if invocation.flags.plan else recover(place)
        held = _due(invocation, place, addresses, window)
        if invocation.flags.plan:
            steps = [
                say("Renew {subject} ({address})", subject=one.facts.subject, address=one.stored.address)
                for one in held
            ]
            invocation.planned(steps)
            return 0
        done, failed = _renew_all(invocation, place, held, _window(window))
    data = {
        "renewed": [_data(renewal) for renewal in done],
        "failed": [{"address": address, "code": error.code, "message": message_of(error)} for address, error in failed],
        "recovered": [{"verb": one.record.verb, "outcome": one.outcome} for one in recovered],
    }
    invocation.result(
        data, lambda: _run_text(done, failed), quiet=[renewal.credential.stored.address for renewal in done]
    )
    if failed:
        return SOME_FAILED
    return 0 if done or recovered else NothingDue.exit_status


def _renew_all(
    invocation: Invocation, place: "Workplace", held: "list[Held]", window: timedelta | None
) -> "tuple[list[Renewal], list[tuple[str, DojangError]]]":
    from dojang.lifecycle.renew import RenewOrder, renew

    done: list[Renewal] = []
    failed: list[tuple[str, DojangError]] = []
    for one in held:
        address = one.stored.address
        invocation.out.note(say("Renewing {address} …", address=address))
        try:
            done.append(renew(RenewOrder(address, window=window), place))
        except NothingDue:
            invocation.out.note(say("{address} was renewed meanwhile.", address=address))
        except DojangError as error:
            invocation.out.warning(f"{address}: {message_of(error)} {advice_of(error)}")
            failed.append((address, error))
    return done, failed


def _due(invocation: Invocation, place: "Workplace", addresses: tuple[str, ...], window: str | None) -> "list[Held]":
    """What is due; a place that was not named and cannot be looked into is only noted."""
    from dojang.lifecycle.held import due_in

    if addresses:
        return list(due_in(place, map(invocation.address, addresses), _window(window)))
    found: list[Held] = []
    for address in known_addresses(invocation, place.ledger):
        try:
            found += due_in(place, [address], _window(window))
        except DojangError as error:
            invocation.out.note(f"{address}: {message_of(error)}")
    return found


def _window(text: str | None) -> timedelta | None:
    return None if text is None else days_of(text)


def _data(renewal: "Renewal") -> dict[str, object]:
    return {"credential": credential_data(renewal.credential), "previous": credential_data(renewal.previous)}


def _text(renewal: "Renewal") -> str:
    previous = renewal.previous.stored.address
    return "\n".join(
        [
            _("Renewed."),
            *credential_lines(renewal.credential),
            say("Retired: {address}", address=previous),
            "",
            _("Try next:"),
            f"  dojang sign cms --key '{renewal.credential.stored.address}' FILE",
            f"  dojang cert delete '{previous}'",
        ]
    )


def _run_text(done: "list[Renewal]", failed: "list[tuple[str, DojangError]]") -> str:
    if failed and not done:
        return say("Due, but not renewed: {number}", number=len(failed))
    lines = [
        say(
            "Renewed {subject} until {not_after}: {address}",
            subject=one.credential.facts.subject,
            not_after=one.credential.facts.not_after_at,
            address=one.credential.stored.address,
        )
        for one in done
    ]
    return "\n".join(lines) or message_of(NothingDue())
