"""Notices about certificates that nobody renews unless a person sees to it: once for each threshold and channel.

Those are the ones whose authority is not known here, those of other institutions, and those on a token or disk that is
not there. What was delivered stands in the ledger, so that it is not said twice, by whatever process; what was not is
tried again in the next round. Certificates that were seen before are remembered there too, so that one on a token in a
drawer is thought of in time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final, Protocol

from dojang.errors import DojangError, NotRenewable
from dojang.ledger import Event, Fact, Ledger
from dojang.lifecycle.held import Held
from dojang.lifecycle.journal import moment
from dojang.lifecycle.origin import fingerprint_of, history_of, origin_of
from dojang.lifecycle.workplace import Workplace

NOTIFIED: Final = "notified"
SEEN: Final = "seen"
PATIENCE: Final = 30.0
"""Seconds of failures after which a channel is left alone for the rest of a round."""
_OVER: Final = frozenset(("retired", "deleted", "revoked"))
_MOVED: Final = frozenset(("copied", "moved", "imported", "restored"))

UNKNOWN_ORIGIN, OUT_OF_REACH, FAILING = "unknown-origin", "out-of-reach", "failing"
"""Why a certificate is not renewed by itself. Failing is what waits for a person, or has nearly run out of time."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What there is to say of one certificate, and the number of days that it falls under."""

    fingerprint: str
    address: str
    subject: str
    not_after_at: datetime
    days_left: int
    threshold: int
    reason: str

    def to_json(self) -> dict[str, object]:
        return {
            "fingerprint": self.fingerprint,
            "address": self.address,
            "subject": self.subject,
            "not_after": moment(self.not_after_at),
            "days_left": self.days_left,
            "threshold": self.threshold,
            "reason": self.reason,
        }


class Channel(Protocol):
    """One way to reach a person."""

    @property
    def name(self) -> str: ...

    def deliver(self, notice: Notice, subject: str, text: str) -> None:
        """``NoticeUndelivered`` when it did not arrive, as far as can be told."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice by one channel: ``error`` says why it did not arrive."""

    notice: Notice
    channel: str
    error: DojangError | None = None


def is_renewed_by_itself(place: Workplace, held: Held) -> bool:
    """Whether dojang knows the authority that its certificate came from."""
    try:
        origin_of(place, held.stored)
    except NotRenewable:
        return False
    return True


def remember(place: Workplace, held: Iterable[Held]) -> None:
    """Keep for later what was seen of certificates that the ledger knows nothing of."""
    new = []
    for one in held:
        if one.stored.live and not any("not_after" in event.facts for event in history_of(place, one.stored)):
            facts: dict[str, Fact] = {"subject": one.facts.subject, "not_after": moment(one.facts.not_after_at)}
            new.append(Event(SEEN, one.stored.address, fingerprint_of(one.stored.certificate_der), facts))
    if new:
        place.ledger.record(*new)


def find_notices(
    place: Workplace, held: Sequence[Held], unattended: Sequence[tuple[Held, str]], thresholds: Sequence[int]
) -> list[Notice]:
    """What there is to say now, soonest expiry first: of ``unattended``, each with its reason, and of what the ledger
    knows to be in use and is not among ``held``, which is all that can be seen.
    """
    found: dict[str, Notice | None] = {}
    for one, reason in unattended:
        fingerprint = fingerprint_of(one.stored.certificate_der)
        found[fingerprint] = _notice(
            Notice(
                fingerprint=fingerprint,
                address=one.stored.address,
                subject=one.facts.subject,
                not_after_at=one.facts.not_after_at,
                days_left=one.facts.days_left,
                threshold=0,
                reason=reason,
            ),
            thresholds,
        )
    seen = {fingerprint_of(one.stored.certificate_der) for one in held}
    for fingerprint, event in in_use_by(place.ledger):
        if fingerprint not in seen:
            found[fingerprint] = _notice(_out_of_reach(place, fingerprint, event), thresholds)
    return sorted((one for one in found.values() if one is not None), key=lambda one: one.not_after_at)


def give(
    place: Workplace,
    notices: Iterable[Notice],
    channels: Sequence[Channel],
    words: Callable[[Notice], tuple[str, str]],
) -> Iterator[Delivery]:
    """Say each notice by each channel that has not said it, and note it; ``words`` gives subject and text.

    A channel that has failed for longer than ``PATIENCE`` is left for the next round: a server that does not answer
    is not to hold up the renewals for as many timeouts as there are notices.
    """
    lost = dict.fromkeys((channel.name for channel in channels), 0.0)
    for notice in notices:
        told = _told(place.ledger, notice.fingerprint)
        for channel in channels:
            if told.get(channel.name, notice.threshold + 1) <= notice.threshold or lost[channel.name] > PATIENCE:
                continue
            begun = monotonic()
            try:
                channel.deliver(notice, *words(notice))
            except DojangError as error:
                lost[channel.name] += monotonic() - begun
                yield Delivery(notice, channel.name, error)
                continue
            facts: dict[str, Fact] = {"channel": channel.name, "threshold": notice.threshold}
            place.ledger.record(Event(NOTIFIED, notice.address, notice.fingerprint, facts))
            yield Delivery(notice, channel.name)


def next_notice_at(not_after_at: datetime, thresholds: Sequence[int], now: datetime) -> datetime | None:
    """When a certificate falls under its next threshold."""
    moments = [not_after_at - timedelta(days=days + 1) + timedelta(seconds=1) for days in thresholds]
    return min((one for one in moments if one > now), default=None)


def _out_of_reach(place: Workplace, fingerprint: str, event: Event) -> Notice:
    from dojang.x509.status import days_between

    ends_at = datetime.fromisoformat(str(event.facts["not_after"])).astimezone(UTC)
    return Notice(
        fingerprint=fingerprint,
        address=event.address,
        subject=str(event.facts.get("subject", "")),
        not_after_at=ends_at,
        days_left=days_between(place.now(), ends_at),
        threshold=0,
        reason=UNKNOWN_ORIGIN if event.event == "registered" else OUT_OF_REACH,
    )


def _notice(about: Notice, thresholds: Sequence[int]) -> Notice | None:
    """With the lowest threshold that it falls under; ``None`` while its end is far, and once that has passed."""
    under = [threshold for threshold in thresholds if 0 <= about.days_left <= threshold]
    return replace(about, threshold=min(under)) if under else None


def in_use_by(ledger: Ledger) -> Iterator[tuple[str, Event]]:
    """The certificates whose end the ledger knows and nothing that ended them before, with the event that tells it;
    its address is where the certificate was seen last.
    """
    known: dict[str, Event] = {}
    for event in ledger.history():
        if event.event in _OVER:
            known.pop(event.fingerprint, None)
        elif "not_after" in event.facts:
            known[event.fingerprint] = event
        elif event.event in _MOVED and event.fingerprint in known:
            known[event.fingerprint] = replace(known[event.fingerprint], address=event.address)
    yield from known.items()


def _told(ledger: Ledger, fingerprint: str) -> Mapping[str, int]:
    """The lowest threshold that each channel has been told of."""
    told: dict[str, int] = {}
    for event in ledger.history(fingerprint=fingerprint):
        if event.event == NOTIFIED:
            channel, threshold = str(event.facts["channel"]), int(str(event.facts["threshold"]))
            told[channel] = min(threshold, told.get(channel, threshold))
    return told
