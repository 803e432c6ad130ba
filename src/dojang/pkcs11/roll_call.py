"""Everything asked at the same time, so that what is slow or hangs hides nothing else."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

from dojang.errors import ModuleUnloadable, Phrase
from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec, find_modules
from dojang.pkcs11.listing import TokenListing, list_module, tell_apart

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

PATIENCE: Final = 10.0
"""Seconds to wait for all answers together. A card takes up to one, a module behind a network a few."""


_LOOK_FOR: Final = 0.5
_MUST_USE: Final = 1_000_000  # nanoseconds in that time; who polls something uses a fiftieth of it


class Outcome(NamedTuple, Generic[Answer]):
    """What came of one question: an answer, an error, or neither, when the time was up."""

    answer: Answer | None = None
    error: Exception | None = None


def ask_all(
    work: Callable[[Asked], Answer], asked: Sequence[Asked], patience: float = PATIENCE, *, at_work: float = 0.0
) -> list[Outcome[Answer]]:
    """``work`` done on each, in a thread of its own; outcomes in the same order, after ``patience`` seconds at most.

    A thread that has not come back by then is left to itself, and keeps nothing from ending. One that is not waiting
    but computing, with thousands of things to read, may go on for ``at_work`` seconds more.
    """
    outcomes: list[Outcome[Answer]] = [Outcome() for _ in asked]

    def run(number: int, one: Asked) -> None:
        try:
            outcomes[number] = Outcome(answer=work(one))
        except Exception as error:
            outcomes[number] = Outcome(error=error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(asked)]
    for thread in threads:
        thread.start()
    deadline = monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    while monotonic() < deadline + at_work and any(map(_gets_on, threads)):
        pass
    return list(outcomes)


def _gets_on(thread: threading.Thread) -> bool:
    """Whether it uses the processor: what waits for a device or a daemon does not, or hardly. Only Linux can say."""
    before = _nanoseconds(thread)
    thread.join(_LOOK_FOR)
    return thread.is_alive() and _nanoseconds(thread) - before >= _MUST_USE


def _nanoseconds(thread: threading.Thread) -> int:
    """The processor's time that it has had (proc(5)); 0 where nobody says."""
    try:
        return int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def roll_call(search: ModuleSearch, patience: float = PATIENCE) -> TokenListing:
    """What ``list_tokens`` finds, asked of all modules at once; one that does not answer in time is among the failures.

    Raises ``ModuleUnloadable`` when the one module that ``search`` names is not there.
    """
    specs = find_modules(search)
    listing = TokenListing([], [], [], [])
    for spec, outcome in zip(specs, ask_all(_listed, specs, patience), strict=True):
        if outcome.error is not None:
            raise outcome.error
        if outcome.answer is None:
            listing.failures.append(_silent(spec, patience))
            continue
        listing.tokens.extend(outcome.answer.tokens)
        listing.empty_slots.extend(outcome.answer.empty_slots)
        listing.modules.extend(outcome.answer.modules)
        listing.failures.extend(outcome.answer.failures)
    tell_apart(listing.tokens)
    return listing


def _listed(spec: ModuleSpec) -> TokenListing:
    listing = TokenListing([], [], [], [])
    list_module(spec, listing)
    return listing


def _silent(spec: ModuleSpec, patience: float) -> ModuleUnloadable:
    return ModuleUnloadable(
        module=spec.path,
        problem=Phrase("it did not answer within {seconds} seconds", seconds=f"{patience:g}"),
        remedy=Phrase("Check the daemon and the configuration of this module."),
        reason="no-answer",
    )
