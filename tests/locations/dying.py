"""Runs that are killed just before a write, one write after the other."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path


def killed_at_every_step(folder: Path, verb: Callable[[Path], object], check: Callable[[Path], None]) -> int:
    """Run ``verb`` on a copy of ``folder``, killed before its n-th write, for every n; ``check`` what is left.

    How many writes there are, and one more: the run that none was left to kill.
    """
    work = folder.parent / "work"
    step = 0
    while True:
        step += 1
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder, work)
        child = os.fork()
        if child == 0:
            _run_and_die(work, verb, step)
        _, status = os.waitpid(child, 0)
        check(work)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return step
        assert os.WTERMSIG(status) == signal.SIGKILL


def _run_and_die(work: Path, verb: Callable[[Path], object], step: int) -> None:
    writes = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal writes
        creating = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT)
        inside = bool(arguments) and str(arguments[0]).startswith(str(work))
        # What rmtree removes it names relative to an open folder.
        if event in ("os.remove", "os.rmdir") or (inside and (creating or event in ("os.rename", "os.mkdir"))):
            writes += 1
            if writes == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        verb(work)
    except BaseException:
        os._exit(1)
    os._exit(0)
