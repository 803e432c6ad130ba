"""``dojang renew status``: one line and an exit status for whoever watches over this machine."""

from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, advice_of, message_of, say
from dojang.cli.renew_orders import SOME_FAILED, failed_data
from dojang.cli.where import days_of, survey
from dojang.cli.workplace import workplace
from dojang.errors import DojangError, NothingDue

if TYPE_CHECKING:
    from dojang.lifecycle.health import Health, Trouble

NAGIOS = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
EXITS = {"ok": 0, "warning": SOME_FAILED, "critical": SOME_FAILED, "unknown": NothingDue.exit_status}
TROUBLES = {
    "expired": N_("{subject} has expired"),
    "expiring": N_("{subject} expires in {days} days and is not renewed by itself"),
    "failing": N_("{subject} could not be renewed ({code}), {days} days left"),
    "overdue": N_("{subject} should have been renewed by now, {days} days left"),
    "out-of-reach": N_("{subject} expires in {days} days and is not where it was seen"),
    "unfinished": N_("an earlier '{code}' of {subject} waits to be finished"),
}


@command(
    help=N_(
        "Say in one line whether certificates will go on being renewed, with figures for monitoring after the bar. "
        "Exit status 0 when all is well, 15 when somebody should see to something, 14 when there is no certificate; "
        "with --nagios 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. No PIN is asked."
    ),
    examples=["dojang renew status", "dojang renew status --nagios --warning 30d --critical 7d"],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@option("--warning", metavar="DAYS", default="30d", help=N_("Warn of what is not renewed by itself from so many days."))
@option("--critical", metavar="DAYS", default="7d", help=N_("Call it critical from so many days."))
@option("--nagios", is_flag=True, help=N_("Exit status as monitoring plugins have it."))
def status(invocation: Invocation, addresses: tuple[str, ...], warning: str, critical: str, nagios: bool) -> int:
    """What the last tries came to stands in the ledger, whoever made them."""
    try:
        limits = {"warning_days": days_of(warning).days, "critical_days": days_of(critical).days}
        health = _look(invocation, addresses, **limits)
    except DojangError as error:
        if nagios:
            _unknown(invocation, error)
        raise
    line = f"{_words(health)} | {_figures(health, **limits)}"
    invocation.result(_data(health), line, quiet=[health.status.upper()])
    return (NAGIOS if nagios else EXITS)[health.status]


def _look(invocation: Invocation, addresses: tuple[str, ...], **limits: int) -> "Health":
    from dojang.lifecycle.health import health_of
    from dojang.lifecycle.schedule import this_machine

    with workplace(invocation) as place:
        looked = survey(invocation, place, addresses)
        health = health_of(looked.place, looked.addresses, this_machine(), **limits)
    health.unreachable = (*looked.failures, *health.unreachable)
    return health


def _unknown(invocation: Invocation, error: DojangError) -> None:
    """A check that could not be made, as monitoring reads it: a line on standard output, and its own exit status."""
    error.exit_status = NAGIOS["unknown"]
    if not invocation.flags.json:
        line = f"UNKNOWN: {message_of(error)}".replace("|", "/").replace("\n", " ")
        invocation.result({}, line, quiet=["UNKNOWN"])


def _words(health: "Health") -> str:
    """One line, the worst first."""
    name = health.status.upper()
    if health.troubles:
        worst = sorted(health.troubles, key=lambda one: (-NAGIOS[one.level], one.days_left or 0))
        damaged = dict(health.unreachable)
        said = [_damage(damaged[one.address]) if one.kind == "damaged" else _trouble(one) for one in worst]
        return f"{name}: " + "; ".join(said).replace("|", "/").replace("\n", " ")
    if not health.certificates:
        return f"{name}: " + say("There is no certificate.")
    text = say(
        "{number} in use, the next expires in {days} days ({subject})",
        number=health.certificates,
        days=health.days_left,
        subject=health.subject,
    )
    return f"{name}: " + text.replace("|", "/").replace("\n", " ")


def _trouble(one: "Trouble") -> str:
    return say(TROUBLES[one.kind], subject=one.subject or one.address, days=one.days_left, code=one.code)


def _damage(error: DojangError) -> str:
    """As whoever looks for certificates says it, and what to do next: only this check may know of the place."""
    return f"{message_of(error)} {advice_of(error)}"


def _figures(health: "Health", *, warning_days: int, critical_days: int) -> str:
    """Performance data as plugins write it: label=value;warning;critical."""
    figures = [f"certificates={health.certificates}", f"due={health.due}"]
    figures += [f"{kind}={health.count(kind)}" for kind in ("overdue", "failing", "expired", "unfinished", "damaged")]
    if health.days_left is not None:
        figures.append(f"days_left={health.days_left};{warning_days}:;{critical_days}:")
    return " ".join(figures)


def _data(health: "Health") -> dict[str, Any]:
    return {
        "status": health.status,
        "certificates": health.certificates,
        "due": health.due,
        "days_left": health.days_left,
        "subject": health.subject or None,
        "troubles": [
            {
                "level": one.level,
                "kind": one.kind,
                "address": one.address,
                "subject": one.subject,
                "days_left": one.days_left,
                "code": one.code or None,
            }
            for one in health.troubles
        ],
        "unreachable": [failed_data(address, error) for address, error in health.unreachable],
    }
