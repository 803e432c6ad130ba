"""Everything asked at the same time, so that what is slow or hangs hides nothing else."""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

from dojang.errors import ModuleUnloadable, Phrase
from dojang.pkcs11.discovery import ModuleSearch, ModuleSpec, find_modules
from dojang.pkcs11.listing import TokenListing, list_module, tell_apart

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

PATIENCE: Final = 10.0
"""Seconds to wait for all answers together. A card takes up to one, a module behind a network a few."""


class Outcome(NamedTuple, Generic[Answer]):
    """What came of one question: an answer, an error, or neither, when the time was up."""

    answer: Answer | None = None
    error: Exception | None = None


def ask_all(
    work: Callable[[Asked], Answer], asked: Sequence[Asked], patience: float = PATIENCE
) -> list[Outcome[Answer]]:
    """``work`` done on each, in a thread of its own; outcomes in the same order, after ``patience`` seconds at most.

    A thread that has not come back by then is left to itself, and keeps nothing from ending.
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
    return list(outcomes)


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
