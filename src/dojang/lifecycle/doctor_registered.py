"""What has become of certificates that were registered: revoked, suspended, expired, or not looked up for long."""

import shlex
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from dojang.errors import CertificateRevoked, CertificateSuspended, NotRenewable, StatusUnknown
from dojang.ledger import Event
from dojang.lifecycle.doctor import Finding

CHECKED_EVERY = timedelta(days=30)
_CHECKS = ("registered", "checked")
_GONE = ("deleted", "retired")
_STATES = {"revoked": CertificateRevoked.exit_status, "suspended": CertificateSuspended.exit_status}


def examine_registrations(history: Iterable[Event], now: datetime) -> Iterator[Finding]:
    """One finding at most for each certificate, by what the ledger knows; nobody is asked."""
    by_certificate: dict[str, list[Event]] = {}
    for event in history:
        by_certificate.setdefault(event.fingerprint, []).append(event)
    for events in by_certificate.values():
        names = {event.event for event in events}
        if "registered" in names and names.isdisjoint(_GONE):
            yield from _examine(events, now)


def _examine(events: list[Event], now: datetime) -> Iterator[Finding]:
    last = next(event for event in reversed(events) if event.event in _CHECKS)
    state = next((one.event for one in reversed(events) if one.event in (*_STATES, "restored")), None)
    not_after = datetime.fromisoformat(str(last.facts["not_after"]))
    told = {"subject": last.facts["subject"], "address": last.address, "checked_at": last.at, "not_after": not_after}
    again = shlex.join(["dojang", "cert", "register", last.address, "--recheck"])
    if state in _STATES:
        mend = again if state == "suspended" else ""
        yield Finding(f"registration-{state}", _STATES[state], told, mend)
    elif not_after <= now:
        yield Finding("registration-expired", NotRenewable.exit_status, told, serious=False)
    elif last.at is not None and now - last.at > CHECKED_EVERY:
        yield Finding("registration-unchecked", StatusUnknown.exit_status, told, again, serious=False)
