"""The processes of ``dojang serve``: one that serves by itself, or one that keeps workers going."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from socket import socket
from typing import TYPE_CHECKING, Any, Final

from dojang.centre.backdoor import BackDoor
from dojang.centre.desk import WAITING, Desk
from dojang.centre.health import Pulse
from dojang.centre.logs import Log, tell
from dojang.centre.metrics import FOLDER_VARIABLE, page_of
from dojang.centre.metrics_folder import metrics_folder
from dojang.centre.opening import Opened, open_centre
from dojang.centre.sockets import address_of, listen, read_address
from dojang.centre.supervisor import Leash, Supervisor
from dojang.cli.context import Invocation
from dojang.cli.language import say
from dojang.cli.secrets import variables_with_secrets
from dojang.cli.serve_order import Order, Pins
from dojang.cli.service_manager import reloading, tell_manager, watchdog_seconds
from dojang.cli.workplace import key_opener

if TYPE_CHECKING:
    from dojang.centre.host import Host

_LAST_WORDS: Final = 3.0
"""Seconds after the end of serving in which work in drivers may come to its own end."""


def serve(invocation: Invocation, order: Order, where: Sequence[str], admin: str | None, workers: int) -> int:
    """Serve until told to end; the sockets are open, and each key has signed, before anybody is told so."""
    invocation.out.answered = True  # --timeout ends it in good order
    if order.tls is not None:
        order.tls.context()
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for text in where for one in listen(*read_address(text))]
        back = [] if admin is None else [stack.enter_context(one) for one in listen(*read_address(admin))]
        if workers == 1:
            return _serve_alone(invocation, order, sockets, back)
        return _supervise(invocation, order, sockets, back, workers)


def work(invocation: Invocation, descriptor: int) -> int:
    """Be a worker at the end of this leash."""
    invocation.flags.no_input = True
    leash = Leash(descriptor)
    orders = leash.orders()
    if not orders:
        return 0  # whoever started this is gone already
    order = Order.from_json(orders["order"])
    order = replace(order, limits=order.limits.shared_by(orders["workers"]))
    sockets = [socket(fileno=number) for number in orders["listen"]]
    for one in sockets:
        one.setblocking(False)
    with ExitStack() as stack:
        host, opened = _hosted(stack, invocation, order, Pins(invocation, orders["pins"]), sockets)
        host.on_reload = opened.reload
        host.on_finding = leash.tell
        host.on_started = lambda: leash.tell(host.readiness())
        _begin_jobs(invocation, opened, order)
        leash.watch(host.stop)
        host.run()
    return 0


def _serve_alone(invocation: Invocation, order: Order, sockets: list[socket], back: list[socket]) -> int:
    with ExitStack() as stack:
        host, opened = _hosted(stack, invocation, order, Pins(invocation), sockets)
        invocation.flags.no_input = True
        page, ready = opened.state.metrics.page, host.readiness
        for one in back:
            stack.enter_context(BackDoor(one, alive=host.alive, ready=ready, page=page))
        host.on_turn = partial(_keep_watchdog, host)
        host.on_reload, host.on_stopping = partial(_reload, opened), _tell_stopping
        host.on_started = lambda: _tell_started(invocation, sockets, back)
        _end_in_time(invocation, host.stop)
        _begin_jobs(invocation, opened, order)
        host.run()
    _say(invocation, "stopped", {}, say("Ended."))
    return 0


def _supervise(invocation: Invocation, order: Order, sockets: list[socket], back: list[socket], workers: int) -> int:
    """The PIN is asked for and tried here, once; workers are handed it and never ask."""
    pins = Pins(invocation)
    with _opened(invocation, order, pins):
        pass
    orders = {"order": order.to_json(), "workers": workers, "pins": pins.to_hand_down()}
    with ExitStack() as stack:
        stack.enter_context(Log(order.level, access=order.access_log))
        os.environ[FOLDER_VARIABLE] = stack.enter_context(metrics_folder())
        stack.callback(os.environ.pop, FOLDER_VARIABLE)
        supervisor = Supervisor(
            _worker_command(invocation),
            workers,
            sockets,
            orders,
            drain_seconds=order.limits.drain_seconds + order.limits.notice_seconds,
            environment=_environment(invocation),
        )
        for one in back:
            stack.enter_context(BackDoor(one, alive=supervisor.alive, ready=supervisor.readiness, page=page_of))
        supervisor.on_ready = lambda: _tell_started(invocation, sockets, back)
        supervisor.on_turn = partial(_keep_watchdog, supervisor)
        supervisor.on_reload, supervisor.on_stopping = _tell_reload, _tell_stopping
        _end_in_time(invocation, supervisor.stop)
        status = supervisor.run()
    _say(invocation, "stopped", {"status": status}, say("Ended."))
    return status


@contextlib.contextmanager
def _opened(invocation: Invocation, order: Order, pins: Pins) -> Iterator[Opened]:
    desk = Desk(order.threads, WAITING)
    directory = invocation.settings.authorities_dir
    with (
        key_opener(invocation, pins=pins.for_token) as key,
        open_centre(directory, order.names, key, desk=desk, root_online=order.root_online) as opened,
    ):
        yield opened


def _hosted(
    stack: ExitStack, invocation: Invocation, order: Order, pins: Pins, sockets: list[socket]
) -> "tuple[Host, Opened]":
    """The host of these authorities, open and proved, ready to run; what is still in a driver at the end of ``stack``
    holds nobody up.
    """
    from dojang.centre.app import build
    from dojang.centre.host import Host

    timer = threading.Timer(_LAST_WORDS, os._exit, (0,))
    timer.daemon = True
    stack.callback(timer.cancel)
    opened = stack.enter_context(_opened(invocation, order, pins))
    stack.enter_context(Log(order.level, access=order.access_log))
    pulse = Pulse(opened.checks())
    app = build(opened.state, order.limits, pulse)
    host = Host(app, opened.state, order.limits, pulse, sockets, order.tls, order.server)
    pulse.heard = lambda found: host.on_finding(found)
    stack.callback(timer.start)
    stack.callback(pulse.end)
    pulse.start()
    return host, opened


def _begin_jobs(invocation: Invocation, opened: Opened, order: Order) -> None:
    if not order.jobs:
        return
    notices = invocation.settings.notices
    if notices is not None and notices.mail is not None:
        from dojang.centre.notices import MailToSubscribers

        secret = partial(invocation.secrets.password, new=False)
        opened.senders = (MailToSubscribers(notices.mail, secret),)
    opened.begin_jobs()


def _worker_command(invocation: Invocation) -> list[str]:
    flags = invocation.flags
    named = [("--config", flags.config), ("--module", flags.module), ("--lang", flags.lang)]
    options = [str(word) for name, value in named if value is not None for word in (name, value)]
    return [sys.executable, "-m", "dojang", *options, "serve", "--worker"]


def _environment(invocation: Invocation) -> dict[str, str]:
    """What workers inherit: no PIN, and no socket of the service manager, who hears of one process only."""
    hidden = {*variables_with_secrets(invocation)} - _read_by_jobs(invocation)
    hidden |= {"NOTIFY_SOCKET", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _read_by_jobs(invocation: Invocation) -> set[str]:
    """Variables with the password of the mail server, which each process reads when it has something to send."""
    notices = invocation.settings.notices
    mail = {} if notices is None or notices.mail is None else notices.mail._asdict()
    sources = [value for name, value in mail.items() if name.endswith("_source") and value]
    return {source.removeprefix("env:") for source in sources if source.startswith("env:")}


def _tell_started(invocation: Invocation, sockets: Sequence[socket], back: list[socket]) -> None:
    addresses = [address_of(one) for one in sockets]
    admin = address_of(back[0]) if back else None
    facts = {"pid": os.getpid(), "addresses": addresses, "admin": admin}
    tell("serving", addresses=addresses, admin=admin)
    _say(invocation, "serving", facts, say("Serving at {addresses}.", addresses=", ".join(addresses)))
    tell_manager("READY=1")


def _reload(opened: Opened) -> None:
    tell_manager(*reloading())
    try:
        opened.reload()
    finally:
        tell_manager("READY=1")


def _tell_reload() -> None:
    tell_manager(*reloading())
    tell_manager("READY=1")


def _tell_stopping() -> None:
    tell_manager("STOPPING=1")


def _keep_watchdog(serving: "Host | Supervisor") -> None:
    if watchdog_seconds() is not None and serving.alive():
        tell_manager("WATCHDOG=1")


def _end_in_time(invocation: Invocation, stop: Callable[[], None]) -> None:
    """``--timeout``."""
    if invocation.flags.timeout is not None:
        timer = threading.Timer(invocation.flags.timeout, stop)
        timer.daemon = True
        timer.start()


def _say(invocation: Invocation, event: str, facts: dict[str, Any], text: str) -> None:
    invocation.result({"event": event, **facts}, text)
