"""A PC/SC daemon of our own, with readers into which emulated cards are inserted over TCP.

``pcscd`` runs in mount and PID namespaces of its own, with a private ``/run``: it sees no other daemon and no reader of
the machine, several run side by side, and all of it ends with the process that started it, however that ends. Readers
are vpcd's (package vsmartcard-vpcd); each listens on a TCP port for its card.

Clients find the daemon through ``PCSCLITE_CSOCK_NAME``. **libpcsclite reads that variable at its first use in a process
and never again**, so it has to be set before a module that speaks PC/SC is loaded, and a process can only ever use one
socket. ``claim()`` sets it, to one path for the whole life of the process; call it early where modules may be loaded
before a daemon is wanted. ``pcscd()`` serves that path, and is shared by everybody in the process who wants it at the
same time.
"""

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

from dojang.testing.setup import BringUpFailed

SOCKET_VARIABLE: Final = "PCSCLITE_CSOCK_NAME"
READER_NAME: Final = "dojang reader"
READERS: Final = 2  # vpcd opens two on neighbouring ports, and forgets them when a second pair is asked for
DRIVER: Final = "libifdvpcd.so"
_PORTS: Final = range(20000, 32000, READERS)  # below those that the kernel hands out by itself
_PORT_TRIES: Final = 20
_LONGEST_SOCKET_PATH: Final = 107
_PATIENCE: Final = 20.0
_READY: Final = "daemon ready"
_REFUSED: Final = "init failed"

# The shell is process 1 of the namespace: when its standard input ends, it does, and the kernel kills the rest.
_SUPERVISOR: Final = 'mount --bind "$1" /run || exit 1; shift; "$@" </dev/null & read -r _'


class Pcscd:
    """One daemon; a context manager. ``ports`` are its two readers, ``environment`` is what its clients need."""

    def __init__(self, folder: Path, *, reader_name: str = READER_NAME) -> None:
        """``folder`` is the daemon's own; the readers are called ``READER_NAME 00 00`` and ``READER_NAME 00 01``."""
        self._folder = folder
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET_PATH:
            raise BringUpFailed(f"{folder} is too long a path for a folder with a socket.")
        self._reader_name = reader_name
        self._process: subprocess.Popen[bytes] | None = None
        self._lent: set[int] = set()
        self.ports: tuple[int, ...] = ()

    @property
    def socket(self) -> Path:
        return self._folder / "run" / "pcscd" / "pcscd.comm"

    @property
    def environment(self) -> Mapping[str, str]:
        return {SOCKET_VARIABLE: str(self.socket)}

    @property
    def log(self) -> str:
        """What the daemon has said since it was started."""
        return (self._folder / "log").read_text(errors="replace")

    def __enter__(self) -> "Pcscd":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; the ports stay what they were if it ran before. ``BringUpFailed`` says what is missing."""
        if self.ports:
            if not self._launch(self.ports):
                raise BringUpFailed(f"The ports of pcscd's readers were taken meanwhile:\n{self.log}")
            return
        for _ in range(_PORT_TRIES):
            ports = _free_ports()
            if self._launch(ports):
                self.ports = ports
                return
        raise BringUpFailed(f"No free ports for pcscd's readers:\n{self.log}")

    def stop(self) -> None:
        """End it as if it had crashed: clients lose their connection."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=_PATIENCE)
        self._process = None

    def restart(self) -> None:
        """End it and start it again with the same readers, socket and ports; cards have to be inserted again."""
        self.stop()
        self.start()

    @contextmanager
    def reader(self) -> Iterator[int]:
        """The port of a reader that nobody else in this process uses meanwhile."""
        free = [port for port in self.ports if port not in self._lent]
        if not free:
            raise BringUpFailed("Every reader of this pcscd has a card.")
        self._lent.add(free[0])
        try:
            yield free[0]
        finally:
            self._lent.discard(free[0])

    def _launch(self, ports: tuple[int, ...]) -> bool:
        """Whether it runs with readers on all of ``ports``; false where somebody has one of them."""
        run, conf, none = (self._folder / name for name in ("run", "reader.conf.d", "no-drivers"))
        shutil.rmtree(run, ignore_errors=True)  # a socket left there would be taken for a running daemon
        for folder in (run / "pcscd", conf, none):
            folder.mkdir(parents=True, exist_ok=True)
        (conf / "dojang").write_text(_reader_conf(self._reader_name, ports[0]))
        command = [*_namespaces(), "sh", "-c", _SUPERVISOR, "sh", str(run), *_daemon(), "--config", str(conf)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "PCSCLITE_HP_DROPDIR": str(none)},  # no driver there: real readers are left alone
                start_new_session=True,  # Ctrl-C at the terminal is for the tests
            )
        if not _happens(lambda: _READY in self.log or self._ended()) or _READY not in self.log:
            self.stop()
            raise BringUpFailed(f"pcscd did not start:\n{self.log}")
        if _REFUSED in self.log:
            self.stop()
            return False
        return True

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


_running: list[Pcscd] = []
_service = ExitStack()
_users = 0
_claimed: dict[int, Path] = {}


@contextmanager
def pcscd() -> Iterator[Pcscd]:
    """The daemon of this process, with two readers: started for the first user, stopped after the last."""
    global _users
    if not _running:
        _running.append(_service.enter_context(_serving()))
    _users += 1
    try:
        yield _running[0]
    finally:
        _users -= 1
        if not _users:
            _running.clear()
            _service.close()


@contextmanager
def _serving() -> Iterator[Pcscd]:
    claim()
    folder = _claimed[os.getpid()]
    folder.mkdir(mode=0o700)
    try:
        with Pcscd(folder) as daemon:
            yield daemon
    finally:
        shutil.rmtree(folder)


def claim() -> None:
    """Point this process and its children to a socket of its own, where no daemon listens yet.

    ``BringUpFailed`` where libpcsclite is in use already: it would stay with the machine's daemon.
    """
    pid = os.getpid()
    if pid not in _claimed:
        if "libpcsclite" in Path("/proc/self/maps").read_text():
            raise BringUpFailed("A PC/SC module was loaded too early: call dojang.testing.pcsc.claim() before it.")
        _claimed[pid] = Path(tempfile.gettempdir(), f"dojang-pcsc-{uuid4().hex[:16]}")
    os.environ.update(Pcscd(_claimed[pid]).environment)


def _namespaces() -> list[str]:
    """How this user gets private mount and PID namespaces: as root, as root of a user namespace, or through sudo."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    trial = ["mount", "--bind", "/run", "/run"]  # containers allow the one and forbid the other
    for candidate in (unshare, [*unshare, "--map-root-user"], ["sudo", "-n", "-E", *unshare]):
        if shutil.which(candidate[0]) and not subprocess.run([*candidate, *trial], capture_output=True).returncode:
            return candidate
    raise BringUpFailed(
        "A private pcscd needs mount namespaces: run as root, allow user namespaces (unshare --map-root-user), or allow"
        " sudo without a password; in a container, give it --privileged, or --cap-add SYS_ADMIN and"
        " --security-opt apparmor=unconfined."
    )


def _daemon() -> list[str]:
    path = shutil.which("pcscd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if path is None:
        raise BringUpFailed("pcscd is not installed (Debian: apt-get install pcscd vsmartcard-vpcd opensc-pkcs11).")
    command = [path, "--foreground", "--info"]
    said = subprocess.run([path, "--help"], capture_output=True, text=True).stdout
    return [*command, "--disable-polkit"] if "--disable-polkit" in said else command  # since 2.0; no D-Bus in there


def _driver() -> Path:
    for folder in (Path("/usr/lib/pcsc/drivers"), *Path("/usr/lib").glob("*/pcsc/drivers"), Path("/usr/local/lib")):
        for found in folder.glob(f"**/{DRIVER}"):
            return found
    raise BringUpFailed(f"{DRIVER} is not installed (Debian: apt-get install vsmartcard-vpcd).")


def _reader_conf(name: str, port: int) -> str:
    return f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:{port}\nLIBPATH {_driver()}\nCHANNELID {port}\n'


def _free_ports() -> tuple[int, ...]:
    """Neighbouring ports that are free now; who else wants them is found out when pcscd binds them."""
    for first in random.sample(_PORTS, len(_PORTS)):
        ports = tuple(range(first, first + READERS))
        if all(map(_is_free, ports)):
            return ports
    raise BringUpFailed("No free TCP ports.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _happens(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
