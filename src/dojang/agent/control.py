"""Starting, asking and ending the agent, from the side of the person's command."""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dojang.agent import wire
from dojang.agent.channel import Channel, Gone
from dojang.agent.daemon import ALREADY_RUNNING
from dojang.agent.failure import failure_from
from dojang.agent.permission import Permission
from dojang.agent.server import prepare_folder
from dojang.agent.wire import Malformed, Reader, string
from dojang.errors import AgentNotRunning, AgentUnavailable, Phrase, UnsupportedOperation
from dojang.pkcs11.discovery import ModuleSearch
from dojang.pkcs11.pin import PinProvider, PinRequest
from dojang.places import agent_socket_path
from dojang.secret import Secret

_LONGEST_PATH = 107  # bytes of a socket's name (unix(7))
_PATIENCE = 10.0


class KeyWanted(NamedTuple):
    """One key to be served and its rules; ``pins`` is asked if its token needs a login."""

    address: str
    search: ModuleSearch
    pins: PinProvider
    guard_path: Path
    permission: Permission
    last_try: bool = False

    def encoded(self) -> bytes:
        search = [self.search.module, [list(spec) for spec in self.search.configured], self.search.discover]
        told = {
            "address": self.address,
            "search": [*search, self.search.named_by],
            **self.permission._asdict(),
            "guard": str(self.guard_path),
            "last_try": self.last_try,
        }
        return json.dumps(told).encode()


class Started(NamedTuple):
    """What ``start`` did. ``new`` is false where an agent was running; ``added`` are keys it did not have before."""

    new: bool
    added: list[dict[str, Any]]
    status: dict[str, Any]
    process: "subprocess.Popen[bytes] | None"
    control: Channel


class Agent:
    """A running agent and a connection to it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @classmethod
    @contextlib.contextmanager
    def at(cls, path: str | None = None) -> "Iterator[Agent]":
        """The one that runs; ``AgentNotRunning``."""
        path = path or agent_socket_path()
        try:
            channel = Channel.open(path)
        except Gone:
            raise AgentNotRunning(path=path) from None
        with contextlib.closing(channel):
            yield cls(channel)

    def status(self) -> dict[str, Any]:
        """What it is and what it serves."""
        report: dict[str, Any] = json.loads(self._ask(wire.STATUS).string())
        return report

    def lock(self) -> None:
        """Have it forget its PINs."""
        with _nothing_lost():
            if self._channel.ask(wire.frame(bytes((wire.LOCK,)), string(b"")))[:1] != bytes((wire.SUCCESS,)):
                raise Malformed

    def stop(self) -> None:
        """End it."""
        self._ask(wire.STOP)

    def listen(self) -> None:
        """Have it open its socket."""
        self._ask(wire.LISTEN)

    def add(self, wanted: KeyWanted) -> dict[str, Any] | None:
        """Have it serve a key, giving it the PIN if it needs one; ``None`` where it served the key before."""
        key = string(wanted.encoded())
        status, reader = self._exchange(wire.ADD, key, b"\0", string(b""))
        if status == wire.WANTS_PIN:
            pin = wanted.pins(PinRequest(*json.loads(reader.string())))
            status, reader = self._exchange(wire.ADD, key, b"\1", string(_revealed(pin)))
        added: dict[str, Any] = json.loads(reader.string())
        return added["key"] if added["new"] else None

    def _ask(self, name: bytes) -> Reader:
        return self._exchange(name)[1]

    def _exchange(self, name: bytes, *fields: bytes) -> tuple[int, Reader]:
        with _nothing_lost():
            status, reader = self._channel.extension(name, *fields)
            if status == wire.FAILED:
                raise failure_from(reader.string())
            if status == wire.LOCKED:
                raise AgentUnavailable(problem=Phrase("it was locked"))
            if status not in (wire.OK, wire.WANTS_PIN):
                raise Malformed
            return status, reader


@contextlib.contextmanager
def _nothing_lost() -> Iterator[None]:
    """An agent that ends meanwhile, or talks nonsense, is ``AgentUnavailable``."""
    try:
        yield
    except Gone:
        raise AgentUnavailable(problem=Phrase("it has ended")) from None
    except (Malformed, ValueError, TypeError, KeyError):
        raise AgentUnavailable(problem=Phrase("it answered nonsense")) from None


def start(keys: Collection[KeyWanted], *, idle: float | None, withheld: Collection[str], foreground: bool) -> Started:
    """Serve ``keys`` by the agent that runs, or by a new one that is told to end after ``idle`` seconds unused.

    ``withheld`` are the variables of this environment that a process for long must not have: those with PINs. Every
    error of the agent is raised here; a new agent then does not stay.
    """
    path = _place()
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return _serve(Channel.open(path), keys, None)
        except Gone:
            pass
        process, control = _launch(path, idle, withheld, foreground=foreground)
        try:
            return _serve(control, keys, process)
        except AgentUnavailable:
            if not _lost_the_race(process):
                raise
        if time.monotonic() > deadline:
            raise AgentUnavailable(
                problem=Phrase("another one is being started and waits for its PIN"),
                next_step=Phrase("Finish or end that start, then run this again."),
            )
        time.sleep(0.05)  # the other one that was started at the same moment will listen soon, or fail


def _place() -> str:
    """Where the socket will be, in a folder that is fit for it."""
    if sys.platform != "linux":
        raise UnsupportedOperation(
            where=Phrase("This system"), operation=Phrase("run the agent"), next_step=Phrase("The agent needs Linux.")
        )
    path = agent_socket_path()
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise AgentUnavailable(
            problem=Phrase("the name of its socket is too long ({path})", path=path),
            next_step=Phrase("Name a shorter one with DOJANG_AGENT_SOCK."),
        )
    prepare_folder(Path(path).parent)
    return path


def _serve(channel: Channel, keys: Collection[KeyWanted], process: "subprocess.Popen[bytes] | None") -> Started:
    agent = Agent(channel)
    try:
        added = [one for one in map(agent.add, keys) if one is not None]
        if process is not None:
            agent.listen()
        return Started(process is not None, added, agent.status(), process, channel)
    except BaseException:
        channel.close()
        raise


def _launch(
    path: str, idle: float | None, withheld: Collection[str], *, foreground: bool
) -> "tuple[subprocess.Popen[bytes], Channel]":
    """A new process for the agent, away from this terminal, and the connection to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    environment = {name: value for name, value in os.environ.items() if name not in withheld}
    words = [str(theirs.fileno()), path, "never" if idle is None else f"{idle:g}"]
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-P", "-m", "dojang.agent", *words, "foreground" if foreground else "background"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if foreground else subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    return process, Channel(ours)


def _lost_the_race(process: "subprocess.Popen[bytes]") -> bool:
    try:
        return process.wait(_PATIENCE) == ALREADY_RUNNING
    except subprocess.TimeoutExpired:
        return False


def stop() -> bool:
    """End the agent and wait until it has gone; false where none was running."""
    path = agent_socket_path()
    try:
        with Agent.at(path) as agent, contextlib.suppress(AgentUnavailable):
            agent.stop()
    except AgentNotRunning:
        return False
    _wait_for_its_end(path)
    return True


def _wait_for_its_end(path: str) -> None:
    """Its lock is free once its process has ended, however that comes."""
    deadline = time.monotonic() + _PATIENCE
    with contextlib.suppress(FileNotFoundError), Path(f"{path}.lock").open("rb") as lock:
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.01)


def _revealed(pin: Secret | None) -> bytes:
    return b"" if pin is None else pin.reveal()
