"""``dojang renew daemon``: goes the rounds in the foreground until it is told to end.

The main thread only waits: for the next round's time, a signal, a token that is put in. Rounds are gone by a second
thread, which may be held up in a driver; so the process still hears, and ends within a second of being told. What is
under way then finishes in that second or is left to the journal.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dojang.cli.context import Invocation
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, advice_of, message_of, say
from dojang.cli.renew_orders import failed_data, hooked, jobs_option, orders_of, post_hook_option, pre_hook_option
from dojang.cli.renew_report import Copies, copies_left, copy_lines, renewal_data
from dojang.cli.renew_round import delivery_data
from dojang.cli.service_manager import reloading, tell_manager, watchdog_seconds
from dojang.cli.where import survey
from dojang.cli.workplace import recovered_words, workplace
from dojang.errors import Bug, DojangError, Usage

if TYPE_CHECKING:
    from dojang.lifecycle.notices import Delivery
    from dojang.lifecycle.renewals import Outcome
    from dojang.lifecycle.rounds import Round

GRACE: Final = 0.7
"""Seconds that a renewal under way has to finish after the word to end."""
LISTEN: Final = 5.0
"""Longest wait in seconds, so that a clock that was set is noticed."""
HELD_UP: Final = 900.0
"""A renewal that goes on for so many seconds is stuck: the service manager's watchdog is left to end the process."""
AGAIN_AFTER: Final = timedelta(minutes=5)

STOP, RELOAD, TOKEN, ENDED, BROKE, UNWATCHED = "stop", "reload", "token", "ended", "broke", "unwatched"


class _News(NamedTuple):
    """Something that the main thread hears: a word, and what a round came to or broke off with."""

    word: str
    done: "Round | None" = None
    error: BaseException | None = None
    copies: Copies = MappingProxyType({})


@command(
    help=N_(
        "Renew what is due, again and again, in the foreground: at each certificate's turn, when a token is put in, "
        "and at SIGHUP, which also reads the settings again. Nothing is ever asked. SIGTERM ends it within a second; "
        "what was under way is finished by the next run. With --json a line is a document."
    ),
    examples=["dojang renew daemon --pin-source file:/etc/dojang/pin", "dojang renew daemon 'npki:' --json"],
)
@argument("addresses", metavar="[ADDRESS…]", nargs=-1)
@jobs_option
@option("--no-watch", is_flag=True, help=N_("Do not watch for tokens that are put in."))
@pre_hook_option
@post_hook_option
def daemon(
    invocation: Invocation,
    addresses: tuple[str, ...],
    jobs: int | None,
    no_watch: bool,
    pre_hook: str | None,
    post_hook: str | None,
) -> int:
    """Until SIGTERM or Ctrl-C."""
    if invocation.flags.plan:
        raise Usage(problem=N_("A daemon has no plan; 'dojang renew due' shows what is due"))
    invocation.flags.no_input = True
    invocation.out.answered = True  # --timeout ends it in good order
    service = _Service(invocation, addresses, jobs, (pre_hook, post_hook))
    return service.run(watch=not no_watch)


class _Service:
    """The waiting and the rounds of one process."""

    def __init__(
        self,
        invocation: Invocation,
        addresses: tuple[str, ...],
        jobs: int | None,
        hooks: tuple[str | None, str | None],
    ) -> None:
        self._invocation = invocation
        self._addresses, self._jobs, self._hooks = addresses, jobs, hooks
        self._news: SimpleQueue[_News] = SimpleQueue()
        self._stop = threading.Event()
        self._round: threading.Thread | None = None
        self._began = 0.0
        self._changed_at = datetime.now(UTC)
        self._next_at = datetime.min.replace(tzinfo=UTC)
        self._sleeps_until = 0.0
        self._unreadable: dict[str, str] = {}  # by address: what was told of it last

    def run(self, *, watch: bool) -> int:
        _ = self._invocation.settings  # what is wrong with them ends it here
        for number, word in ((signal.SIGTERM, STOP), (signal.SIGINT, STOP), (signal.SIGHUP, RELOAD)):
            signal.signal(number, partial(self._signalled, word))
        if self._invocation.flags.timeout is not None:
            timer = threading.Timer(self._invocation.flags.timeout, self._news.put, (_News(STOP),))
            timer.daemon = True
            timer.start()
        if watch:
            threading.Thread(target=self._watch, name="watch", daemon=True).start()
        self._tell("started", {"pid": os.getpid()}, say("Waiting for renewals."))
        tell_manager("READY=1")
        for news in self._heard():
            if news.word == STOP:
                break
            self._hear(news)
        return self._end()

    def _signalled(self, word: str, _number: int, _frame: object) -> None:
        self._news.put(_News(word))

    def _heard(self) -> Iterator[_News]:
        """What is heard, and nothing now and then; begins a round whenever one is needed."""
        watchdog = watchdog_seconds()
        while True:
            if self._round is None and (datetime.now(UTC) >= self._next_at or time.monotonic() >= self._sleeps_until):
                self._begin_round()
            if watchdog is not None and (self._round is None or time.monotonic() - self._began < HELD_UP):
                tell_manager("WATCHDOG=1")
            left = LISTEN if self._round else max((self._next_at - datetime.now(UTC)).total_seconds(), 0.0)
            try:
                yield self._news.get(timeout=min(left, LISTEN, watchdog or LISTEN))
            except Empty:
                continue

    def _hear(self, news: _News) -> None:
        if news.word == RELOAD:
            tell_manager(*reloading())
            self._reload()
            tell_manager("READY=1")
        if news.word in (RELOAD, TOKEN):
            self._changed_at = self._next_at = datetime.now(UTC)  # at once, or right after the round that goes on
        elif news.word == UNWATCHED:
            self._tell_error(news.error)
        else:
            self._round = None
            self._close_round(news)

    def _reload(self) -> None:
        """Take the settings as they are now; those that cannot be read leave the old ones in force."""
        fresh = Invocation(self._invocation.flags)
        fresh.command, fresh.out = self._invocation.command, self._invocation.out
        try:
            _ = fresh.settings
        except DojangError as error:
            self._tell_error(error)
            return
        self._invocation = fresh
        self._tell("reloaded", {}, say("The settings were read again."))

    def _begin_round(self) -> None:
        self._began, self._next_at = time.monotonic(), datetime.max.replace(tzinfo=UTC)
        self._sleeps_until = float("inf")
        self._round = threading.Thread(target=self._go_round, args=(self._changed_at,), name="round", daemon=True)
        self._round.start()

    def _go_round(self, changed_at: datetime) -> None:
        from dojang.lifecycle.rounds import go_round

        try:
            with workplace(self._invocation) as opened:
                place, _warnings = hooked(self._invocation, opened, *self._hooks)
                place = replace(place, say=_untold, tell_recovered=_untold)
                looked = survey(self._invocation, place, self._addresses)
                orders = replace(orders_of(self._invocation, self._jobs), begins=self._goes_on)
                done = go_round(looked.place, looked.addresses, orders, changed_at, self._stop)
                done.unreachable = [*looked.failures, *done.unreachable]
                copies = copies_left(place, [one.renewal for one in done.outcomes if one.renewal is not None])
            self._news.put(_News(ENDED, done, copies=copies))
        except BaseException as error:  # told by the thread that waits, which goes on
            self._news.put(_News(BROKE, error=error))

    def _goes_on(self, _held: object) -> None:
        self._began = time.monotonic()

    def _close_round(self, news: _News) -> None:
        """Tell what happened and settle when the next round begins, unless something has changed meanwhile."""
        from dojang.lifecycle.rounds import LONGEST_SLEEP

        next_at = datetime.now(UTC) + AGAIN_AFTER
        if news.done is not None:
            next_at = news.done.next_at
            self._tell_round(news.done, news.copies)
        else:
            self._tell_error(news.error)
        self._next_at = min(self._next_at, next_at)
        self._sleeps_until = time.monotonic() + LONGEST_SLEEP.total_seconds()
        text = say("The next round is at {moment}.", moment=self._next_at)
        self._tell("waiting", {"next_at": self._next_at}, text)
        tell_manager(f"STATUS={text}")

    def _tell_round(self, done: "Round", copies: Copies) -> None:
        self._tell_unreachable(done)
        for one in done.recovered:
            self._tell("recovered", {"verb": one.record.verb, "outcome": one.outcome}, recovered_words(one))
        for outcome in done.outcomes:
            self._tell_outcome(outcome, copies)
        for delivery in done.deliveries:
            text = say("Notice by {channel}: {subject}, {days} days left", **_notice_facts(delivery))
            self._tell("notice", delivery_data(delivery), text)

    def _tell_unreachable(self, done: "Round") -> None:
        """Once for each change: a round that finds what the last one found has nothing to tell."""
        told, self._unreadable = self._unreadable, {}
        for address, error in done.unreachable:
            self._unreadable[address] = message_of(error)
            if told.get(address) != message_of(error):
                data = {**failed_data(address, error), "next": advice_of(error)}
                self._tell("unreachable", data, f"{address}: {message_of(error)} {advice_of(error)}")
        for address in told.keys() - self._unreadable.keys():
            self._tell("reachable", {"address": address}, say("No longer a problem: {address}", address=address))

    def _tell(self, event: str, data: dict[str, Any], text: str, quiet: list[str] | None = None) -> None:
        self._invocation.result({"event": event, "at": datetime.now(UTC), **data}, text, quiet=quiet or [])

    def _tell_outcome(self, outcome: "Outcome", copies: Copies) -> None:
        address, problem = outcome.held.stored.address, outcome.error
        if outcome.renewal is not None:
            new = outcome.renewal.credential
            facts = {"not_after": new.facts.not_after_at, "address": new.stored.address}
            text = say("Renewed {subject} until {not_after}: {address}", subject=new.facts.subject, **facts)
            lines = [text, *copy_lines(outcome.renewal, copies)]
            self._tell("renewed", renewal_data(outcome.renewal, copies), "\n".join(lines), quiet=[new.stored.address])
        elif problem is not None:
            kind = "failed" if outcome.failed else "left"
            self._tell(kind, failed_data(address, problem), f"{address}: {message_of(problem)}")

    def _tell_error(self, problem: BaseException | None) -> None:
        """What no certificate is to blame for; an exception that nobody expected goes to the log."""
        from dojang.cli.log import write_traceback

        if not isinstance(problem, DojangError):
            assert problem is not None
            problem = Bug(kind=type(problem).__name__, path=write_traceback(self._invocation, problem))
        data = {"address": None, "code": problem.code, "message": message_of(problem)}
        self._tell("failed", data, message_of(problem))

    def _watch(self) -> None:
        """A token that is put in may hold what waited for it."""
        from dojang.pkcs11.events import watch

        try:
            for event in watch(self._invocation.search(), self._stop):
                if event.kind == "insert" and not event.initial:
                    self._news.put(_News(TOKEN))
        except DojangError as error:
            self._news.put(_News(UNWATCHED, error=error))

    def _end(self) -> int:
        """Within a second, whatever a driver does: what is under way finishes in time, or the journal has it."""
        tell_manager("STOPPING=1")
        self._stop.set()
        if self._round is not None:
            self._round.join(GRACE)
        self._tell("stopped", {}, say("Ended."))
        sys.stdout.flush()
        sys.stderr.flush()
        if self._round is not None and self._round.is_alive():
            os._exit(0)
        return 0


def _untold(_what: object) -> None:
    """The events of the round tell it."""


def _notice_facts(delivery: "Delivery") -> dict[str, Any]:
    notice = delivery.notice
    return {"channel": delivery.channel, "subject": notice.subject, "days": notice.days_left}
