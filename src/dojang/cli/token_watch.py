"""``dojang token watch``: tokens that are put in and taken out, one line each, as it happens."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dojang.cli.context import Invocation
from dojang.cli.describe import info_data
from dojang.cli.frame import argument, command, option
from dojang.cli.language import N_, message_of, say
from dojang.errors import Interrupted, ModuleUnloadable, NoModule

if TYPE_CHECKING:
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.events import TokenEvent
    from dojang.pkcs11.uri import Pkcs11Uri

LINES = {
    "insert": N_("{time} put in: {label} ({serial}) {address}"),
    "remove": N_("{time} taken out: {label} ({serial}) {address}"),
    "initial": N_("{time} is there: {label} ({serial}) {address}"),
}


@command(
    help=N_(
        "Tell of every token that is put in or taken out, within a second, in every module; first of those that are "
        "there. With --json a line is a document. It goes on until Ctrl-C (exit status 130), --count or --timeout "
        "(exit status 0)."
    ),
    examples=["dojang token watch --json", "dojang token watch 'pkcs11:token=Hong' --count 1"],
)
@argument("address", metavar="[ADDRESS]", required=False)
@option(
    "--count",
    type=click.IntRange(min=1),
    metavar="N",
    help=N_("End after so many events; tokens that are there at the start do not count."),
)
def watch(invocation: Invocation, address: str | None, count: int | None) -> int:
    """Print events until somebody has enough of them."""
    from dojang.pkcs11.discovery import for_address
    from dojang.pkcs11.uri import Pkcs11Uri

    uri = None if address is None else Pkcs11Uri.from_text(invocation.address(address)).token_part()
    search = invocation.search()
    left = count
    invocation.out.answered = True  # --timeout ends a stream in good order, it is no failure of it
    try:
        for event in _events(invocation, search if uri is None else for_address(search, uri)):
            if uri is not None and not _named(event, uri):
                continue
            _print(invocation, event)
            if left is not None and not event.initial:
                left -= 1
                if left == 0:
                    break
    except KeyboardInterrupt:
        return Interrupted.exit_status
    return 0


def _events(invocation: Invocation, search: "ModuleSearch") -> "Iterator[TokenEvent]":
    """The events until the time is up; ``ModuleUnloadable`` when no module is left to be watched."""
    from dojang.pkcs11.events import watch as watch_modules

    failures: list[ModuleUnloadable] = []

    def report(failure: ModuleUnloadable) -> None:
        failures.append(failure)
        invocation.out.note(message_of(failure))

    stop = threading.Event()
    seconds = invocation.flags.timeout
    if seconds is not None:
        timer = threading.Timer(seconds, stop.set)
        timer.daemon = True
        timer.start()
    yield from watch_modules(search, stop, report=report)
    if not stop.is_set():
        raise failures[-1] if failures else NoModule()


def _named(event: "TokenEvent", uri: "Pkcs11Uri") -> bool:
    token = event.token
    return uri.matches_token(
        label=token.label, manufacturer=token.manufacturer, model=token.model, serial=token.serial
    ) and (uri.slot_description is None or uri.slot_description.rstrip() == event.slot)


def _print(invocation: Invocation, event: "TokenEvent") -> None:
    moment = event.at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    token = event.token
    data: dict[str, Any] = {
        "event": event.kind,
        "initial": event.initial,
        "at": moment,
        "slot": event.slot,
        "token": info_data(token, module=event.module_path, address=event.address),
    }
    line = LINES["initial" if event.initial else event.kind]
    text = say(line, time=moment, label=token.label, serial=token.serial, address=event.address)
    invocation.result(data, text, quiet=[event.address])
