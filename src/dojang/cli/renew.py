"""``dojang renew``: now, due, run."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dojang.cli.aftercare import Aftercare
from dojang.cli.context import Invocation
from dojang.cli.credentials import credential_data, credential_lines, credential_table
from dojang.cli.elsewhere import authority_options
from dojang.cli.factors import applicant_option, factor_options
from dojang.cli.flags import key_file_options
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, _, advice_of, message_of, say
from dojang.cli.renew_orders import (
    SOME_FAILED,
    hooked,
    jobs_of,
    jobs_option,
    post_hook_option,
    pre_hook_option,
    warnings_data,
    window_of,
)
from dojang.cli.renew_report import Copies, copies_left, copy_lines, renewal_data, report, tell_outcome
from dojang.cli.where import checked_wait, note_failure, note_failures, survey, wait_option
from dojang.cli.workplace import plan_words, workplace
from dojang.errors import NothingDue, NotRenewable

if TYPE_CHECKING:
    from dojang.cli.where import Survey
    from dojang.lifecycle.held import Held
    from dojang.lifecycle.renew import Renewal
    from dojang.lifecycle.renewals import Outcome
    from dojang.lifecycle.workplace import Workplace

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
@authority_options
@factor_options
@applicant_option
@key_file_options
@pre_hook_option
@post_hook_option
def now(
    invocation: Invocation,
    address: str,
    keep_key: bool,
    again: bool,
    window: str | None,
    pre_hook: str | None,
    post_hook: str | None,
) -> int:
    """The old pair works until the new one is proven and confirmed."""
    from dojang.lifecycle.renew import RenewOrder, plan_renewal, renew

    after = Aftercare()
    order = RenewOrder(invocation.address(address), keep_key=keep_key, again=again, window=window_of(window))
    with workplace(invocation) as opened:
        place, warnings = hooked(invocation, opened, pre_hook, post_hook)
        place = replace(place, tell_checked=after.heard)
        if invocation.flags.plan:
            invocation.planned(plan_words(plan_renewal(order, place)), address=order.address)
            return 0
        renewal = renew(order, place)
        copies = copies_left(place, [renewal])
    new = renewal.credential
    data = {**renewal_data(renewal, copies), **after.data(new), "warnings": warnings_data(warnings)}
    invocation.result(data, lambda: _text(renewal, after, copies), quiet=[new.stored.address])
    return SOME_FAILED if warnings else after.exit_status


@command(
    help=N_(
        "List what is due for renewal, at the addresses given or everywhere that is known; exit status 14 for none."
    ),
    examples=["dojang renew due", "dojang renew due 'pkcs11:token=Hong' --window 60d --json"],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@window_option
@wait_option
def due(invocation: Invocation, addresses: tuple[str, ...], window: str | None, wait: float | None) -> int:
    """No PIN is asked; nothing due is an empty list and the status of ``NothingDue``."""
    seconds = checked_wait(wait)
    with workplace(invocation) as place:
        held = _due(invocation, survey(invocation, place, addresses, seconds), window, seconds, named=bool(addresses))
    data = {"credentials": [credential_data(one) for one in held]}
    nothing = NothingDue()
    text = credential_table(invocation, held) if held else f"{message_of(nothing)} {advice_of(nothing)}"
    invocation.result(data, text, quiet=[one.stored.address for one in held])
    return 0 if held else nothing.exit_status


@command(
    help=N_(
        "Finish what earlier runs left behind, then renew everything that is due, at the addresses given or everywhere "
        "that is known. With --in-turn only what has its turn: each machine spreads its renewals over the first third "
        "of the window, and what failed is tried again after a pause."
    ),
    examples=[
        "dojang renew run",
        "dojang renew run 'pkcs11:token=Hong' --pin-source file:/etc/dojang/pin",
        "dojang renew run --in-turn --no-input --post-hook 'systemctl reload nginx'",
    ],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@window_option
@option("--in-turn", is_flag=True, help=N_("Renew only what has its turn on this machine, and give the notices."))
@jobs_option
@wait_option
@authority_options
@key_file_options
@pre_hook_option
@post_hook_option
def run(
    invocation: Invocation,
    addresses: tuple[str, ...],
    window: str | None,
    in_turn: bool,
    jobs: int | None,
    wait: float | None,
    pre_hook: str | None,
    post_hook: str | None,
) -> int:
    """One that cannot be renewed never stops the others."""
    seconds = checked_wait(wait)
    if in_turn:
        from dojang.cli.renew_round import one_round

        return one_round(invocation, addresses, window, jobs, seconds, (pre_hook, post_hook))
    from dojang.lifecycle.recover import recover

    with workplace(invocation) as opened:
        place, warnings = hooked(invocation, opened, pre_hook, post_hook)
        looked = survey(invocation, place, addresses, seconds)
        recovered = [] if invocation.flags.plan else recover(looked.place)
        held = _due(invocation, looked, window, seconds, named=bool(addresses))
        if invocation.flags.plan:
            invocation.planned(_steps(invocation, looked.place, held))
            return 0
        outcomes = _renew_all(invocation, looked.place, held, window, jobs_of(invocation, jobs))
        copies = copies_left(place, [one.renewal for one in outcomes if one.renewal is not None])
    return report(invocation, outcomes, recovered, warnings, copies)


def _renew_all(
    invocation: Invocation, place: "Workplace", held: "list[Held]", window: str | None, jobs: int
) -> "list[Outcome]":
    from dojang.lifecycle.renewals import renew_all

    if jobs > 1 and len(held) > 1:
        place = replace(place, say=_unsaid)  # whose step it is could not be told
    outcomes = []

    def begins(one: "Held") -> None:
        invocation.out.note(say("Renewing {address} …", address=one.stored.address))

    for outcome in renew_all(place, held, window=window_of(window), jobs=jobs, begins=begins):
        tell_outcome(invocation, outcome)
        outcomes.append(outcome)
    return outcomes


def _steps(invocation: Invocation, place: "Workplace", held: "list[Held]") -> list[str]:
    """One for each certificate that would be renewed: one of several copies, and none that nobody here can renew."""
    from dojang.lifecycle.origin import origin_of

    steps = dict[bytes, str]()
    for one in held:
        try:
            origin_of(place, one.stored)
        except NotRenewable as error:
            invocation.out.note(message_of(error))
            continue
        step = say("Renew {subject} ({address})", subject=one.facts.subject, address=one.stored.address)
        steps.setdefault(one.stored.certificate_der, step)
    return list(steps.values())


def _unsaid(_step: str) -> None:
    """Nobody is told."""


def _due(invocation: Invocation, looked: "Survey", window: str | None, wait: float, *, named: bool) -> "list[Held]":
    """What is due; a place that was not named and cannot be looked into is only noted."""
    from dojang.lifecycle.held import due_in
    from dojang.lifecycle.where import find_everywhere

    if named:
        return list(due_in(looked.place, looked.addresses, window_of(window), partial(note_failure, invocation)))
    place = looked.place if window is None else replace(looked.place, window=window_of(window))
    given = bool(invocation.flags.password_source or invocation.settings.password_source)
    found = find_everywhere(place, looked.addresses, wait=wait / 2, passwords=given)
    note_failures(invocation, replace(found, failures=(*looked.failures, *found.failures)))
    return [one for one in found.held if one.state == "due"]


def _text(renewal: "Renewal", after: Aftercare, copies: "Copies") -> str:
    previous = renewal.previous.stored.address
    return "\n".join(
        [
            _("Renewed."),
            *credential_lines(renewal.credential),
            say("Retired: {address}", address=previous),
            *copy_lines(renewal, copies),
            *after.lines(renewal.credential),
            "",
            _("Try next:"),
            f"  dojang sign cms --key '{renewal.credential.stored.address}' FILE",
            f"  dojang cert delete '{previous}'",
        ]
    )
