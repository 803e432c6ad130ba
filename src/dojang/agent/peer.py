"""Who is at the other end of a connection: the user and the program, as the kernel tells it."""

import socket
import struct
from pathlib import Path
from typing import NamedTuple

_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """The process that connected. ``program`` is device and inode of what it runs, ``None`` where that is not shown.

    ``proved`` are the tokens whose PIN came over this connection, ``starter`` marks that of whoever started the agent.
    """

    pid: int
    uid: int
    program: tuple[int, int] | None
    path: str
    proved: set[object]
    starter: bool = False


def peer_of(connection: socket.socket) -> Peer:
    """The process that connected (``SO_PEERCRED``), looked at now: it may be another program later."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(raw)
    executable = Path(f"/proc/{pid}/exe")
    try:
        return Peer(pid, uid, identity_of(executable), str(executable.readlink()), set())
    except OSError:
        return Peer(pid, uid, None, "", set())


def identity_of(path: Path) -> tuple[int, int]:
    """Device and inode of a file; ``OSError`` when it is not there."""
    status = path.stat()
    return status.st_dev, status.st_ino
