"""tpm2-pkcs11 on a TPM 2.0 in software: swtpm is the chip, tpm2-abrmd its resource manager, on a D-Bus of their own."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dojang.testing.daemon import Daemon
from dojang.testing.modules.parts import LABEL, library, new_pin, program, run
from dojang.testing.setup import BringUpFailed, TokenSetup

_TCTI = "tabrmd:bus_type=session"


@contextmanager
def bring_up(folder: Path) -> Iterator[TokenSetup]:
    """A fresh TPM with one token. Its PIN locks with the dictionary-attack lockout of the whole TPM."""
    pin, pin_source = new_pin(folder, "user.pin")
    so_pin, so_pin_source = new_pin(folder, "so.pin")
    store = folder / "store"
    store.mkdir()
    bus = f"unix:path={folder}/bus"
    environment = {
        "DBUS_SESSION_BUS_ADDRESS": bus,
        "TPM2_PKCS11_TCTI": _TCTI,
        "TPM2TOOLS_TCTI": _TCTI,
        "TPM2_PKCS11_STORE": str(store),
        "TSS2_LOG": "all+none",
    }
    with ExitStack() as stack:
        daemons = {"dbus-daemon": stack.enter_context(_bus(folder, bus))}
        daemons["swtpm"], port = _chip(folder)
        stack.callback(daemons["swtpm"].stop)
        daemons["tpm2-abrmd"] = stack.enter_context(_resource_manager(folder, port, environment))
        ptool = [program("tpm2_ptool", "libtpm2-pkcs11-tools")]
        run(folder, [*ptool, "init", "--path", str(store)], environment=environment)
        # The tool takes PINs from its command line only; this process list is that of a test.
        pins = ["--sopin", so_pin, "--userpin", pin]
        add = [*ptool, "addtoken", "--pid", "1", *pins, "--label", LABEL, "--path", str(store)]
        run(folder, add, environment=environment)
        yield TokenSetup(
            name="tpm",
            module=library("libtpm2_pkcs11.so*", "libtpm2-pkcs11-1"),
            label=LABEL,
            serial="0000000000000000",
            pin=pin,
            so_pin=so_pin,
            pin_source=pin_source,
            so_pin_source=so_pin_source,
            environment=environment,
            unlock_command=(program("tpm2_dictionarylockout", "tpm2-tools"), "--clear-lockout"),
            daemons=daemons,
        )


def _bus(folder: Path, address: str) -> Daemon:
    return Daemon(
        [program("dbus-daemon", "dbus"), "--session", "--nofork", "--nopidfile", "--nosyslog", f"--address={address}"],
        ready=lambda: _answers(folder / "bus"),
        log=folder / "dbus-daemon.log",
    )


def _chip(folder: Path) -> tuple[Daemon, int]:
    """swtpm, started, and its port; its control channel is the port after it, where the resource manager expects it."""
    state = folder / "chip"
    state.mkdir()
    for attempt in range(10):
        port = _free_port()
        chip = Daemon(
            [
                *(program("swtpm", "swtpm"), "socket", "--tpm2", "--tpmstate", f"dir={state}"),
                *("--server", f"type=tcp,bindaddr=127.0.0.1,port={port}"),
                *("--ctrl", f"type=tcp,bindaddr=127.0.0.1,port={port + 1}"),
                *("--flags", "not-need-init,startup-clear"),
            ],
            # Looked up, not knocked at: swtpm serves one connection, and the first must be the resource manager's.
            ready=lambda: _listens(port) and _listens(port + 1),  # noqa: B023 - called before the next turn
            log=folder / "swtpm.log",
        )
        try:
            chip.start()
        except BringUpFailed:  # somebody was quicker to take one of the ports
            if attempt == 9:
                raise
        else:
            return chip, port
    raise AssertionError


def _resource_manager(folder: Path, port: int, environment: dict[str, str]) -> Daemon:
    return Daemon(
        [
            *(program("tpm2-abrmd", "tpm2-abrmd"), f"--tcti=swtpm:host=127.0.0.1,port={port}"),
            *("--session", "--allow-root", "--logger=stdout"),
        ],
        ready=lambda: _owned(environment),
        log=folder / "tpm2-abrmd.log",
        environment=environment,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port if port < 65535 else _free_port()


def _listens(port: int) -> bool:
    """Whether somebody listens there (proc(5), /proc/net/tcp: the local address, and 0A for LISTEN)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines[1:])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(str(path))
        return True
    return False


def _owned(environment: dict[str, str]) -> bool:
    """Whether the resource manager has taken its name on the bus."""
    ask = [program("dbus-send", "dbus"), "--session", "--print-reply=literal", "--dest=org.freedesktop.DBus"]
    ask += ["/org/freedesktop/DBus", "org.freedesktop.DBus.NameHasOwner", "string:com.intel.tss2.Tabrmd"]
    answer = subprocess.run(ask, env={**os.environ, **environment}, capture_output=True, text=True)
    return "true" in answer.stdout
