"""Programs of the user's that run before and after a renewal.

Both are lists of words and run as they are, never by a shell. What they are told stands in their environment:

    DOJANG_HOOK          pre or post
    DOJANG_ADDRESS       the credential's address
    DOJANG_LOCATION      the place where it lies
    DOJANG_SUBJECT       whose it is
    DOJANG_NOT_AFTER     until when it is valid: the successor's term once there is one (RFC 3339, UTC)
    DOJANG_OUTCOME       renewing (pre), then renewed or failed
    DOJANG_TRANSACTION   the same for both, and for a repetition

Variables that hold PINs or passwords are taken out. The pre hook runs once for each renewal that is begun. The post
hook runs at least once for each renewal whose pre hook was begun or that was made: a run that is killed before it could
note that the hook has ended leaves it to the next run, which begins it again.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dojang.errors import HookFailed, Phrase

if TYPE_CHECKING:
    from dojang.ledger import Operation
    from dojang.lifecycle.workplace import Workplace

# The manager of services counts what is said on its socket as ours.
_OURS_ALONE = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "DOJANG_PIN_SOURCE")


@dataclass(frozen=True, slots=True)
class Hooks:
    """What runs before and after each renewal; no words, no hook. ``withheld`` are variables with secrets."""

    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    seconds: float = 60.0
    withheld: frozenset[str] = field(default=frozenset())

    def __bool__(self) -> bool:
        return bool(self.pre or self.post)

    def run(self, which: str, told: Mapping[str, str]) -> None:
        """Run the hook ``which`` (pre or post), if there is one; ``HookFailed`` unless it ends well and in time."""
        words = self.pre if which == "pre" else self.post
        if not words:
            return
        hidden = {*self.withheld, *_OURS_ALONE}
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {f"DOJANG_{name.upper()}": value for name, value in {"hook": which, **told}.items()}
        problem = self._run(words, environment)
        if problem is not None:
            raise HookFailed(which=which, program=words[0], problem=problem)

    def _run(self, words: tuple[str, ...], environment: dict[str, str]) -> Phrase | None:
        """Why it failed. A hook that takes too long is ended with everything that it started."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own words, and no shell
                words, env=environment, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
            )
        except (OSError, ValueError) as error:
            return Phrase("it cannot be started ({detail})", detail=getattr(error, "strerror", None) or error)
        try:
            status = process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return Phrase("it was not done after {seconds} seconds and was ended", seconds=f"{self.seconds:g}")
        except BaseException:
            _end(process)
            raise
        return Phrase("it ended with the status {status}", status=status) if status else None


def run_pre_hook(place: "Workplace", operation: "Operation") -> None:
    """Nothing has been made yet. ``HookFailed`` stops the renewal; that a post hook is owed is noted before."""
    if place.hooks:
        operation.advance(operation.record.step, hooked=True)
        place.hooks.run("pre", _told(operation, "renewing"))


def run_post_hook(place: "Workplace", operation: "Operation", outcome: str) -> None:
    """Just before the operation is closed, ``renewed`` or ``failed``; what goes wrong changes nothing any more."""
    if operation.record.facts.get("hooked"):
        try:
            place.hooks.run("post", _told(operation, outcome))
        except HookFailed as error:
            place.warn(error)


def _told(operation: "Operation", outcome: str) -> dict[str, str]:
    facts = operation.record.facts
    told = {name: str(facts[name]) for name in ("address", "location", "subject")}
    not_after = facts["not_after"] if outcome == "renewed" else facts["old_not_after"]
    return {**told, "not_after": str(not_after), "outcome": outcome, "transaction": operation.operation_id}


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
