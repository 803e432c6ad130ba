"""Whether a process can serve: asked of the database and of the HSM every few seconds, by a thread of its own.

Whoever asks ``readiness`` gets the last finding at once. A check that hangs makes the finding old, and old is no.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dojang.centre.logs import tell
from dojang.errors import DojangError

EVERY: Final = 2.0
OLD: Final = 20.0
"""Seconds after which a finding says nothing any more."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """``problems`` are codes of errors by what was asked, for whoever looks after the service."""

    ok: bool
    problems: Mapping[str, str]
    degraded: bool = False
    """Some of several processes are not ready: ``problems`` says which, by their numbers."""


class Pulse:
    """Takes the checks again and again. ``checks`` are by name; what one raises is the problem."""

    def __init__(self, checks: Mapping[str, Callable[[], None]], *, every: float = EVERY) -> None:
        self._checks, self._every = checks, every
        self._found = Readiness(ok=False, problems={"centre": "starting"})
        self._at = time.monotonic()
        self._draining = False
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self.heard: Callable[[Readiness], None] = lambda _found: None
        """Told of every finding."""

    def start(self) -> None:
        """Look for the first time, then begin the rounds."""
        self.look()
        self._thread.start()

    def end(self) -> None:
        """No more rounds; one under way may go on in a driver."""
        self._ended = True
        self._wake.set()

    def drain(self) -> None:
        """From now on the answer is no."""
        self._draining = True
        self._wake.set()

    def readiness(self) -> Readiness:
        """What is known now."""
        if self._draining:
            return Readiness(ok=False, problems={"centre": "draining"})
        if time.monotonic() - self._at > OLD:
            return Readiness(ok=False, problems={"centre": "no-answer"})
        return self._found

    def look(self) -> Readiness:
        """Check everything once."""
        problems = {name: problem for name, check in self._checks.items() if (problem := _problem(check))}
        found = Readiness(not problems, problems)
        if problems != self._found.problems and not self._ended:
            level = logging.WARNING if problems else logging.INFO
            tell("ready" if found.ok else "not ready", level, problems=problems)
        self._found, self._at = found, time.monotonic()
        self.heard(self.readiness())
        return found

    def _beat(self) -> None:
        while not self._ended:
            self._wake.wait(self._every)
            self._wake.clear()
            if not self._ended:
                self.look()


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except DojangError as error:
        return error.code
    except Exception as error:  # a check that cannot be made is an answer too
        return type(error).__name__
    return None
