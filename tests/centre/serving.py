"""``dojang serve`` as a process, for tests about processes: started, waited for, asked, ended."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Served:
    """A centre that runs: what it prints, where it answers."""

    def __init__(self, process: subprocess.Popen, manager: socket.socket, log: Path) -> None:
        self.process, self._manager, self._log = process, manager, log
        self.port = self.admin = 0

    def event(self, kind: str) -> dict[str, Any]:
        for line in self.process.stdout:
            said = json.loads(line)
            assert (said["command"], said["ok"]) == ("serve", True), line
            if said["data"]["event"] == kind:
                return said["data"]
        raise AssertionError(f"it ended without {kind}: {self.log()}")

    def began(self) -> "Served":
        data = self.event("serving")
        self.port, self.admin = (int(one.rpartition(":")[2]) for one in (data["addresses"][0], data["admin"]))
        return self

    def told(self, word: str) -> None:
        """Wait until the service manager has heard it."""
        while word not in self._manager.recv(4096).decode():
            continue

    def ask(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"--worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.stdout.read()
        return self.process.wait(30)

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def serving(folder: Path, environment: Mapping[str, str], *words: object) -> Iterator[Served]:
    """A centre on ports of its own; its log and the service manager's socket are in ``folder``, which is new."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(folder / "notify"))
    manager.settimeout(30)
    command = [sys.executable, "-m", "dojang", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    command += ["--json", *map(str, words)]
    environment = {**environment, "NOTIFY_SOCKET": str(folder / "notify"), "TMPDIR": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield Served(process, manager, folder / "log")
    finally:
        process.kill()
        process.communicate()
        manager.close()


def until(holds: Callable[[], object], seconds: float = 40) -> None:
    """Wait for it, and not for ever."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
