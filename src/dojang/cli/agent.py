"""``dojang agent``: one PIN, many commands."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dojang.cli.context import Invocation
from dojang.cli.frame import command, option
from dojang.cli.language import N_, _, say
from dojang.cli.secrets import variables_with_secrets
from dojang.errors import AgentNotRunning, Phrase, Usage

if TYPE_CHECKING:
    from dojang.agent.control import KeyWanted, Started

_QUESTION = N_("Sign with {address}? {program} (process {pid}) asks for it.")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LOCKED = {
    "lock": N_("locked"),
    "removed": N_("locked: its token was removed"),
    "refused": N_("locked: its token no longer took the PIN"),
    "unwatched": N_("locked: its token could not be watched"),
}


@command(
    help=N_(
        "Start the agent: ask for the PIN once, hold the login, and sign with the keys named here for every command, "
        "for ssh and for git, until it is locked, ended, unused for too long, or the token is removed. The PIN never "
        "leaves it. An agent that is running takes up further keys."
    ),
    examples=[
        "dojang agent start --key 'pkcs11:token=Hong;object=sign'",
        "dojang agent start --key @hong --key @office --idle 8h --allow-program /usr/bin/ssh --confirm",
        'export SSH_AUTH_SOCK="$(dojang agent status --quiet)"',
    ],
)
@option(
    "--key", "addresses", metavar="ADDRESS", multiple=True, required=True, help=N_("Key to serve; may be repeated.")
)
@option("--idle", metavar="TIME", default="15m", show_default=True, help=N_("End after so long without use; or never."))
@option(
    "--allow-program",
    "programs",
    metavar="PATH",
    multiple=True,
    help=N_("Sign only for this program; may be repeated. Otherwise for every program of yours."),
)
@option("--confirm", is_flag=True, help=N_("Ask before each signature (DOJANG_CONFIRM, else SSH_ASKPASS)."))
@option("--foreground", is_flag=True, help=N_("Stay until the agent ends; ending this ends the agent."))
def start(
    invocation: Invocation,
    *,
    addresses: tuple[str, ...],
    idle: str,
    programs: tuple[str, ...],
    confirm: bool,
    foreground: bool,
) -> int | None:
    """Return when the agent is logged in and listens; its errors are this command's."""
    seconds = _seconds(idle)
    keys = [_wanted(invocation, address, programs, confirm=confirm) for address in dict.fromkeys(addresses)]
    steps = [
        say("Ask for the PIN and serve {address} until unused for {idle}", address=key.address, idle=idle)
        for key in keys
    ]
    if invocation.planned(steps):
        return None
    from dojang.agent import control

    withheld = list(variables_with_secrets(invocation, addresses))
    started = control.start(keys, idle=seconds, withheld=withheld, foreground=foreground)
    _tell_started(invocation, started)
    return _stay(started) if foreground and started.new else None


@command(
    help=N_("Show the agent: its socket, the keys it serves, and whether it is locked."),
    examples=["dojang agent status", 'export SSH_AUTH_SOCK="$(dojang agent status --quiet)"'],
)
def status(invocation: Invocation) -> None:
    """Print what runs; ``AgentNotRunning`` if nothing does."""
    from dojang.agent.control import Agent

    with Agent.at() as agent:
        report = agent.status()
    lines = [say("Agent: process {pid}", pid=report["pid"]), say("Socket: {path}", path=report["socket"])]
    if report["idle_timeout"] is not None:
        lines.append(say("Ends after {seconds:.0f} s without use", seconds=report["idle_timeout"]))
    lines += [line for key in report["keys"] for line in _key_lines(key)]
    invocation.result({"running": True, **report}, "\n".join(lines), quiet=[report["socket"]])


@command(
    help=N_("Have the agent forget its PINs. It goes on running and refuses to sign; start takes the keys up again."),
    examples=["dojang agent lock"],
)
def lock(invocation: Invocation) -> None:
    """Lock; where no agent runs, nothing is left to lock."""
    if invocation.planned([_("Have the agent forget its PINs")]):
        return
    from dojang.agent.control import Agent

    try:
        with Agent.at() as agent:
            agent.lock()
    except AgentNotRunning:
        invocation.result({"running": False}, _("No agent is running."))
    else:
        invocation.result({"running": True, "locked": True}, _("The agent has forgotten its PINs."))


@command(help=N_("End the agent."), examples=["dojang agent stop"])
def stop(invocation: Invocation) -> None:
    """End it and wait until it is gone."""
    if invocation.planned([_("End the agent")]):
        return
    from dojang.agent import control

    stopped = control.stop()
    text = _("The agent has ended.") if stopped else _("No agent is running.")
    invocation.result({"running": False, "stopped": stopped}, text)


def _wanted(invocation: Invocation, text: str, programs: Sequence[str], *, confirm: bool) -> "KeyWanted":
    from dojang.agent.control import KeyWanted
    from dojang.agent.permission import Permission, check_program_file
    from dojang.pkcs11.uri import Pkcs11Uri

    address = invocation.address(text)
    if address[:7].lower() != "pkcs11:":
        raise Usage(problem=Phrase(N_("the agent serves keys on tokens, and '{address}' names none"), address=address))
    uri = Pkcs11Uri.from_text(address)
    return KeyWanted(
        address=replace(uri, pin_source=None, pin_value=None).to_text(),
        search=invocation.search(),
        pins=invocation.pin_provider(uri),
        guard_path=invocation.settings.pin_guard_path,
        permission=Permission(tuple(check_program_file(path) for path in programs), confirm, _(_QUESTION)),
        last_try=invocation.last_try,
    )


def _seconds(text: str) -> float | None:
    """``15m``, ``90s``, ``8h``, ``2d``, plain seconds, or ``never``."""
    if text == "never":
        return None
    matched = re.fullmatch(r"(\d{1,7})([smhd]?)", text)
    if matched is None or not int(matched[1]):
        raise Usage(problem=Phrase(N_("'{text}' is not a length of time; write 15m, 8h or never"), text=text))
    return float(int(matched[1]) * _UNITS[matched[2] or "s"])


def _withheld(invocation: Invocation, addresses: Iterable[str]) -> list[str]:
    """The variables that hold PINs and passwords; the agent's environment stays readable as long as it lives."""
    from dojang.pkcs11.uri import Pkcs11Uri

    flags, settings = invocation.flags, invocation.settings
    sources = (
        *(flags.pin_source, flags.so_pin_source, flags.ca_pin_source, flags.password_source),
        *(settings.pin_source, settings.so_pin_source, settings.ca_pin_source, settings.password_source),
        *(Pkcs11Uri.from_text(invocation.address(address)).pin_source for address in addresses),
    )
    return [source.removeprefix("env:") for source in sources if source and source.startswith("env:")]


def _tell_started(invocation: Invocation, started: "Started") -> None:
    report = started.status
    if started.new:
        lines = [say("The agent is running (process {pid}).", pid=report["pid"])]
    else:
        lines = [say("An agent was running already (process {pid}).", pid=report["pid"])]
        lines += [] if started.added else [_("It serves these keys, so there is nothing to do.")]
    lines += [line for key in started.added for line in _key_lines(key)]
    lines += [_("For ssh and git:"), f"  export SSH_AUTH_SOCK={shlex.quote(report['socket'])}"]
    data = {**report, "running": True, "started": started.new, "added": [key["address"] for key in started.added]}
    invocation.result(data, "\n".join(lines), quiet=[report["socket"]])


def _key_lines(key: dict[str, Any]) -> Iterable[str]:
    yield say("Key: {address} ({algorithm})", address=key["address"], algorithm=key["algorithm"])
    if key["locked"]:
        yield "  " + _(_LOCKED.get(key["locked"], _LOCKED["lock"]))
    if key["confirm"]:
        yield "  " + _("each signature is confirmed")
    for program in key["programs"]:
        yield "  " + say("only for {program}", program=program)
    if key["fingerprint"]:
        yield f"  {key['fingerprint']}"


def _stay(started: "Started") -> int:
    """Wait for the agent's end; when this process ends, the connection closes and the agent ends too."""
    import signal
    import sys

    assert started.process is not None
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    return started.process.wait()
