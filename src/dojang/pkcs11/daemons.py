"""The daemons that modules talk to: where each listens, so that one that is away is not taken for a token that is.

Such modules show no token, or fail, while their daemon is away; only its socket tells why.
"""

import os
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import unquote

from dojang.errors import DaemonSilent, Phrase

_PATIENCE: Final = 1.0  # seconds; a daemon that listens takes a connection at once


class Daemon(NamedTuple):
    """What modules whose file's name begins with one of ``modules`` need. ``socket`` is where it listens, ``None`` if
    that cannot be told.
    """

    modules: tuple[str, ...]
    name: Phrase
    socket: Callable[[], str | None]
    remedy: Phrase


def silent_daemon(module_path: str) -> DaemonSilent | None:
    """The error that says which daemon of a module does not answer; ``None`` where it does, or nobody can tell."""
    for daemon in DAEMONS:
        if module_path.rpartition("/")[2].startswith(daemon.modules):
            path = daemon.socket()
            if path is not None and not _listens(path):
                return DaemonSilent(daemon=daemon.name, module=module_path, remedy=daemon.remedy)
    return None


def _listens(path: str) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PATIENCE)
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # forbidden, busy, or a path we cannot name: somebody may be there
    return True


def _p11_kit_socket() -> str | None:
    """P11_KIT_SERVER_ADDRESS, or where p11-kit looks without it; only the one form that has a path (p11-kit 0.24)."""
    address = os.environ.get("P11_KIT_SERVER_ADDRESS")
    if address:
        return unquote(address[10:]) if address.startswith("unix:path=") else None
    folder = os.environ.get("XDG_RUNTIME_DIR")
    return f"{folder}/p11-kit/pkcs11" if folder else None


def _pcscd_socket() -> str:
    return os.environ.get("PCSCLITE_CSOCK_NAME") or "/run/pcscd/pcscd.comm"


DAEMONS: Final = (
    Daemon(
        ("p11-kit-client",),
        Phrase("The p11-kit server"),
        _p11_kit_socket,
        Phrase("Start 'p11-kit server' and set P11_KIT_SERVER_ADDRESS to what it prints."),
    ),
    # pcsc-lite's PCSCLITE_CSOCK_NAME and its default (pcscd 1.9).
    Daemon(
        ("opensc-pkcs11", "libykcs11"),
        Phrase("The smart card service pcscd"),
        _pcscd_socket,
        Phrase("Start pcscd (systemctl start pcscd.socket)."),
    ),
    # opencryptoki 3.8: usr/include/slotmgr.h.
    Daemon(
        ("libopencryptoki", "PKCS11_API"),
        Phrase("The opencryptoki daemon pkcsslotd"),
        lambda: "/var/run/pkcsslotd.socket",
        Phrase("Start pkcsslotd (systemctl start pkcsslotd) and join the group pkcs11."),
    ),
)
