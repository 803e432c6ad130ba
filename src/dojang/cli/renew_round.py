"""``dojang renew run --in-turn``: one round of the service, for a timer."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.language import N_, message_of, say
from dojang.cli.renew_orders import hooked, orders_of, window_of
from dojang.cli.where import survey
from dojang.cli.workplace import workplace
from dojang.errors import Usage

if TYPE_CHECKING:
    from dojang.lifecycle.notices import Delivery


def one_round(
    invocation: Invocation,
    addresses: tuple[str, ...],
    window: str | None,
    jobs: int | None,
    wait: float,
    hooks: tuple[str | None, str | None],
) -> int:
    """A person may have changed something since the last run, so what waits for that is tried again."""
    from dataclasses import replace

    from dojang.cli.renew_report import copies_left, report, tell_outcome
    from dojang.lifecycle.rounds import go_round

    if invocation.flags.plan:
        raise Usage(problem=N_("--in-turn has no plan; leave it out to see what is due"))
    with workplace(invocation) as opened:
        place, warnings = hooked(invocation, opened, *hooks)
        if window is not None:
            place = replace(place, window=window_of(window))
        looked = survey(invocation, place, addresses, wait)
        done = go_round(looked.place, looked.addresses, orders_of(invocation, jobs), datetime.now(UTC))
        copies = copies_left(place, [one.renewal for one in done.outcomes if one.renewal is not None])
    for address, error in (*looked.failures, *done.unreachable):
        invocation.out.note(f"{address}: {message_of(error)}")
    for outcome in done.outcomes:
        tell_outcome(invocation, outcome)
    for delivery in done.deliveries:
        tell_delivery(invocation, delivery)
        warnings += [delivery.error] if delivery.error is not None else []
    more = {"notices": [delivery_data(one) for one in done.deliveries], "next_at": done.next_at}
    return report(invocation, done.outcomes, done.recovered, warnings, copies, **more)


def tell_delivery(invocation: Invocation, delivery: "Delivery") -> None:
    """A notice that was given, or was not."""
    if delivery.error is not None:
        invocation.out.warning(message_of(delivery.error))
        return
    text = N_("Notice by {channel}: {subject}, {days} days left")
    facts = {"subject": delivery.notice.subject, "days": delivery.notice.days_left}
    invocation.out.note(say(text, channel=delivery.channel, **facts))


def delivery_data(delivery: "Delivery") -> dict[str, Any]:
    error = delivery.error
    return {
        **delivery.notice.to_json(),
        "channel": delivery.channel,
        "delivered": error is None,
        "error": None if error is None else {"code": error.code, "message": message_of(error)},
    }
