"""Many renewals: what is due is renewed, several at once, and one that fails never stops the others."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from queue import SimpleQueue
from threading import Event as Flag
from threading import RLock
from typing import TYPE_CHECKING

from dojang.errors import CredentialBusy, DojangError, Interrupted, NothingDue
from dojang.ledger import Event, Fact
from dojang.lifecycle.held import Held
from dojang.lifecycle.origin import fingerprint_of
from dojang.lifecycle.renew import Renewal, RenewOrder, renew
from dojang.lifecycle.schedule import FAILED
from dojang.lifecycle.workplace import Workplace
from dojang.locations.address import parse_address
from dojang.locations.base import StoredCredential
from dojang.pkcs11.uri import Pkcs11Uri

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority

_FOLDERS = ("disk", "removable")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one that was due: renewed, failed, or neither, when somebody else was quicker or is at it."""

    held: Held
    renewal: Renewal | None = None
    error: DojangError | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None and not isinstance(self.error, (NothingDue, CredentialBusy))


def _unheard(_held: Held) -> None:
    """Nobody wants to know."""


def renew_all(
    place: Workplace,
    held: Sequence[Held],
    *,
    window: timedelta | None = None,
    jobs: int = 1,
    begins: Callable[[Held], object] = _unheard,
    stop: Flag | None = None,
) -> Iterator[Outcome]:
    """Renew each of ``held``, soonest expiry first, ``jobs`` at a time; an outcome as soon as it is there.

    Those on one token take turns. What failed is kept in the ledger, from where the next try and the monitoring know
    it. Once ``stop`` is set nothing more is begun.
    """
    stop = stop or Flag()
    lanes = _lanes(sorted(held, key=lambda one: one.facts.not_after_at))
    with _sharing_authorities(place) as shared:

        def attempt(one: Held) -> Outcome:
            begins(one)
            return _attempt(shared, one, window)

        if min(jobs, len(lanes)) <= 1:
            for lane in lanes:
                for one in lane:
                    if not stop.is_set():
                        yield attempt(one)
        else:
            yield from _at_once(lanes, attempt, min(jobs, len(lanes)), stop)


def _lanes(held: Sequence[Held]) -> list[list[Held]]:
    """What may go on at the same time: folders each for itself, what lies on one token or in one file together."""
    lanes: dict[str, list[Held]] = {}
    for one in held:
        lanes.setdefault(_lane_of(one.stored), []).append(one)
    return list(lanes.values())


def _lane_of(stored: StoredCredential) -> str:
    if stored.kind in _FOLDERS:
        return stored.address
    address = parse_address(stored.address)
    return str(address.token_part() if isinstance(address, Pkcs11Uri) else address.location())


def _at_once(
    lanes: Sequence[Sequence[Held]], attempt: Callable[[Held], Outcome], jobs: int, stop: Flag
) -> Iterator[Outcome]:
    """Making keys and encrypting them takes nearly all the time, and both leave the other threads the interpreter."""
    ended: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
    abandoned = Flag()

    def go_along(lane: Sequence[Held]) -> None:
        try:
            for one in lane:
                if not (stop.is_set() or abandoned.is_set()):
                    ended.put(attempt(one))
            ended.put(None)
        except BaseException as error:  # raised again where somebody waits
            ended.put(error)

    with ThreadPoolExecutor(jobs, "renew") as pool:
        for lane in lanes:
            pool.submit(go_along, lane)
        left = len(lanes)
        try:
            while left:
                outcome = ended.get()
                if outcome is None:
                    left -= 1
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    yield outcome
        finally:
            abandoned.set()  # whoever stops listening waits for what was begun and begins nothing more


def _attempt(place: Workplace, held: Held, window: timedelta | None) -> Outcome:
    fingerprint = fingerprint_of(held.stored.certificate_der)
    order = RenewOrder(held.stored.address, window=window, fingerprint=fingerprint)
    try:
        return Outcome(held, renewal=renew(order, place))
    except Interrupted:  # by whoever was asked for something; he means all of it
        raise
    except DojangError as error:
        outcome = Outcome(held, error=error)
        if outcome.failed:
            facts: dict[str, Fact] = {"code": error.code, "retryable": error.retryable, "subject": held.facts.subject}
            place.ledger.record(Event(FAILED, held.stored.address, fingerprint, facts))
        return outcome


@contextlib.contextmanager
def _sharing_authorities(place: Workplace) -> "Iterator[Workplace]":
    """Each authority is opened once for all, and so is the token with its key."""
    with contextlib.ExitStack() as opened:
        turn, authorities = RLock(), dict[str, "CertificateAuthority"]()

        def open_authority(name: str) -> "contextlib.AbstractContextManager[CertificateAuthority]":
            with turn:
                if name not in authorities:
                    authorities[name] = opened.enter_context(place.open_authority(name))
                return contextlib.nullcontext(authorities[name])

        yield replace(place, open_authority=open_authority)
