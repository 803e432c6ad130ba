"""The agent's own process: it listens, watches its tokens and falls asleep when nobody needs it."""

import fcntl
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

from dojang.agent.answers import Answers
from dojang.agent.holdings import Holdings
from dojang.agent.server import Server, prepare_folder
from dojang.errors import DojangError, FileUnwritable, TokenRemoved
from dojang.pkcs11.discovery import ModuleSearch
from dojang.pkcs11.token import Token
from dojang.pkcs11.whereabouts import TokenIdentity

ALREADY_RUNNING = 75
"""Exit status when another agent lives at the same place (EX_TEMPFAIL)."""
_LONGEST_SLEEP = 5.0
_LAST_PATIENCE = 5.0
_SIGHT_PATIENCE = 20.0


class Daemon:
    """One agent at one socket. ``idle`` is how many seconds without a request end it; ``None`` for never."""

    def __init__(self, path: Path, idle: float | None) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._idle = idle
        self._ending = threading.Event()
        self._listening = False
        self._used_at = _now()
        self._present: dict[str, set[TokenIdentity]] = {}  # the tokens seen, by module
        self._looked = threading.Condition()
        self._holdings = Holdings(self._watch, self._tokens_present)
        answers = Answers(
            self._holdings, status=self._status, used=self._used, listen=self._listen, stop=self._ending.set
        )
        self._server = Server(answers)

    def run(self, control: socket.socket, *, foreground: bool) -> int:
        """Live until told to end; ``control`` is the connection of whoever starts it, who adds the first keys.

        If that one goes before it has said to listen, nobody knows of this agent, so it ends.
        """
        prepare_folder(self._path.parent)
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return ALREADY_RUNNING
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._ending.set())

        def left() -> None:
            if foreground or not self._listening:
                self._ending.set()

        self._server.admit(control, left)
        while not self._ending.wait(self._sleep()):
            if self._idle is not None and self._listening and _now() - self._used_at >= self._idle:
                break
        self._end()
        return 0

    def _sleep(self) -> float:
        if self._idle is None or not self._listening:  # whoever starts it may take time over the PIN
            return min(self._idle or _LONGEST_SLEEP, _LONGEST_SLEEP)
        return max(0.0, min(self._idle - (_now() - self._used_at), _LONGEST_SLEEP))

    def _end(self) -> None:
        # A driver that hangs must not keep the process, and the PIN in it, alive.
        last = threading.Timer(_LAST_PATIENCE, os._exit, (0,))
        last.daemon = True
        last.start()
        if self._listening:
            self._path.unlink(missing_ok=True)
        self._holdings.lock("ended")
        self._server.close()

    def _listen(self) -> None:
        if not self._listening:
            try:
                self._server.listen(self._path)
            except OSError as error:
                raise FileUnwritable(path=self._path, problem=error.strerror or str(error)) from error
            self._used_at = _now()
            self._listening = True

    def _used(self) -> None:
        self._used_at = _now()

    def _status(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "socket": str(self._path), "idle_timeout": self._idle}

    def _watch(self, token: Token, search: ModuleSearch) -> None:
        """Have the tokens of this token's module watched, so that the PIN of one that is pulled out is forgotten.

        Returns when the token has been seen: what nobody saw come, nobody would see go. ``TokenRemoved``.
        """
        path = token.module.path
        if path not in self._present:
            with self._looked:
                self._present[path] = set()
            narrow = search._replace(module=path, named_by="option")
            threading.Thread(target=self._follow, args=(narrow, path), name=f"follow {path}", daemon=True).start()
        with self._looked:
            if not self._looked.wait_for(lambda: token.info.identity in self._present.get(path, ()), _SIGHT_PATIENCE):
                raise TokenRemoved(token=token.info.label)

    def _tokens_present(self) -> dict[str, set[TokenIdentity]]:
        with self._looked:
            return {path: set(tokens) for path, tokens in self._present.items()}

    def _follow(self, search: ModuleSearch, path: str) -> None:
        from dojang.pkcs11.events import watch

        present = self._present[path]
        try:
            for event in watch(search, self._ending):
                with self._looked:
                    (present.add if event.kind == "insert" else present.discard)(event.token.identity)
                    self._looked.notify_all()
                if event.kind == "remove":
                    self._holdings.lock("removed", event.token.identity, path)
        except DojangError:
            pass  # as if it had ended
        finally:  # what cannot be watched must not stay open unseen
            with self._looked:
                self._present.pop(path, None)
            self._holdings.lock("unwatched", module_path=path)


def _now() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
