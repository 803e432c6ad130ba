"""What the service manager is told: sd_notify(3), a datagram on the socket it names; nothing where there is none."""

import contextlib
import os
import socket
import time


def tell_manager(*lines: str) -> bool:
    """Send ``READY=1``, ``STATUS=…`` and the like; whether somebody is there to hear it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    with sender, contextlib.suppress(OSError):
        sender.connect(name)
        sender.sendall("\n".join(lines).encode())
        return True
    return False


def watchdog_seconds() -> float | None:
    """How often the manager wants to hear that all is well, twice in its time; ``None`` where it does not."""
    wanted, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdigit() or int(wanted) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(wanted) / 2e6


def reloading() -> tuple[str, str]:
    """That the settings are being read again (Type=notify-reload)."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
