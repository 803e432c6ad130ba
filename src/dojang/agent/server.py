"""The socket: a thread for each connection, so that a slow or hostile one harms nobody but itself."""

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dojang.agent import wire
from dojang.agent.answers import Answers
from dojang.agent.peer import Peer, peer_of
from dojang.errors import NotPermitted, Phrase

MOST_CONNECTIONS = 64
PATIENCE = 10  # seconds for the rest of a frame that has begun, and for an answer to be taken
_AT_ONCE = 65536
_large = threading.BoundedSemaphore(2)  # frames above the usual size that are held in memory at the same time


def prepare_folder(folder: Path) -> None:
    """Make the folder of the socket, for its owner alone; ``NotPermitted`` for one that others own or can enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise NotPermitted(
            problem=Phrase("the folder of the agent's socket, {path}, is open to others", path=folder),
            remedy=Phrase("Make it yours alone (chmod 700), or name another with DOJANG_AGENT_SOCK."),
        )


class Server:
    """Accepts connections of this user's processes and has each request answered."""

    def __init__(self, answers: Answers) -> None:
        """It does not listen yet."""
        self._answers = answers
        self._listener: socket.socket | None = None
        self._connections: dict[socket.socket, float | None] = {}  # since when each has been waiting for a request
        self._lock = threading.Lock()

    def listen(self, path: Path) -> None:
        """Take the place of a socket that a dead agent left; the caller holds the lock that says nobody lives there."""
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(previous)
        listener.listen(1024)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="accept", daemon=True).start()

    def close(self) -> None:
        """Accept nothing more and end every connection."""
        if self._listener is not None:
            _hang_up(self._listener)
            self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _hang_up(connection)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if listener.fileno() < 0:
                    return
                time.sleep(0.05)  # out of descriptors: wait for a connection to end
                continue
            self.admit(connection)

    def admit(self, connection: socket.socket, ended: Callable[[], None] | None = None) -> None:
        """Serve a connection in a thread of its own, if its peer is a process of this user and there is room.

        ``ended`` is called when it is over; only the connection of whoever started the agent has one.
        """
        try:
            peer = peer_of(connection)._replace(starter=ended is not None)
        except OSError:
            connection.close()
            return
        if peer.uid != os.getuid() or not self._make_room(connection):
            connection.close()
            return
        threading.Thread(target=self._serve, args=(connection, peer, ended), name="connection", daemon=True).start()

    def _make_room(self, connection: socket.socket) -> bool:
        """Count the connection in; where there are too many, the one that has been idle longest has to go."""
        with self._lock:
            if len(self._connections) >= MOST_CONNECTIONS:
                waiting = [(since, one) for one, since in list(self._connections.items()) if since is not None]
                if not waiting:
                    return False
                oldest = min(waiting, key=lambda pair: pair[0])[1]
                del self._connections[oldest]
                _hang_up(oldest)
            self._connections[connection] = time.monotonic()
            return True

    def _serve(self, connection: socket.socket, peer: Peer, ended: Callable[[], None] | None) -> None:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE, 0))
        try:
            self._converse(connection, peer)
        except (OSError, wire.Malformed):
            pass  # its end, by its own doing
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            connection.close()
            if ended is not None:
                ended()

    def _converse(self, connection: socket.socket, peer: Peer) -> None:
        received = b""
        to, waiting = self._answers.to, self._connections
        while True:
            waiting[connection] = time.monotonic()
            while not received:
                received = _receive(connection)
            waiting[connection] = None
            body, received = _frame(connection, received)
            connection.sendall(to(body, peer))


def _receive(connection: socket.socket) -> bytes:
    """What has come; nothing yet if ``PATIENCE`` has passed; ``OSError`` at the end."""
    try:
        data = connection.recv(_AT_ONCE)
    except BlockingIOError:
        return b""
    if not data:
        raise ConnectionResetError
    return data


def _frame(connection: socket.socket, received: bytes) -> tuple[bytes, bytes]:
    """The first frame's body, and what came after it."""
    deadline = time.monotonic() + PATIENCE
    while len(received) < 4:
        received += _more(connection, deadline)
    size = int.from_bytes(received[:4], "big")
    if len(received) == size + 4:
        return received[4:], b""
    if not 0 < size <= wire.LONGEST_FRAME:
        raise wire.Malformed
    if size <= wire.USUAL_FRAME:
        return _whole(connection, received, size, deadline)
    if not _large.acquire(timeout=PATIENCE):
        raise TimeoutError
    try:
        return _whole(connection, received, size, time.monotonic() + PATIENCE)
    finally:
        _large.release()


def _whole(connection: socket.socket, received: bytes, size: int, deadline: float) -> tuple[bytes, bytes]:
    gathered = bytearray(received)
    while len(gathered) < size + 4:
        gathered += _more(connection, deadline)
    return bytes(gathered[4 : size + 4]), bytes(gathered[size + 4 :])


def _more(connection: socket.socket, deadline: float) -> bytes:
    data = _receive(connection)
    if not data or time.monotonic() > deadline:
        raise TimeoutError
    return data


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself
