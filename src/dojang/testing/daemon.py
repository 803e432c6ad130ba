"""A daemon for a test: it is there when ``start`` returns, and gone when the process that started it is gone."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dojang.testing.setup import BringUpFailed

PATIENCE: Final = 20.0

# Who reads the pipe outlives nobody: when our end closes, by stop() or by our death, the whole group goes along.
_LEASHED: Final = 'exec 3<&0 </dev/null; { read -r _ <&3; kill -KILL 0; } & exec 3<&-; exec "$@"'


class Daemon:
    """One program in a process group of its own; a context manager. It may be stopped and started again."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], object],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``command`` stays in the foreground; it is up when ``ready`` says so; ``log`` takes what it prints."""
        self._command = [str(word) for word in command]
        self._ready = ready
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The process that runs, or ``None``."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves; ``BringUpFailed`` with its last words when it does not."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LEASHED, "sh", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise did_not_start(self._command[0], self._log)
            time.sleep(0.01)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, its children and its leash; ``signal.SIGKILL`` takes it by surprise."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.stdin.close()
        process.wait()


def did_not_start(program: str, log: Path) -> BringUpFailed:
    """The error for a program that a bring-up needs and that does not come up."""
    said = log.read_text(errors="replace").splitlines() if log.exists() else []
    return BringUpFailed("\n".join([f"{program} did not start:", *said[-5:]]))
