"""Faults on command: what a card, a reader or a cable does wrong, when, and how often."""

import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from dojang.testing.piv.apdu import Command, Status

Proceed = Callable[[], bytes]
Effect = Callable[[Command, Proceed], bytes]
"""Gets a command and what would answer it properly; returns what is answered, or raises ``Pulled`` or ``Reseated``."""

_STATUS_BYTES: Final = 2


class Pulled(Exception):
    """The card has left the reader; nothing is answered."""


class Reseated(Exception):
    """Power was lost for a moment; nothing is answered, and the card starts afresh."""


@dataclass(slots=True)
class _Armed:
    effect: Effect
    on: frozenset[int]
    after: int
    times: int | None


class Faults:
    """The faults that are armed. The first one that fits a command takes it."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._lock = threading.Lock()
        self.happened = 0

    def add(self, effect: Effect, *, on: int | Collection[int] = (), after: int = 0, times: int | None = 1) -> None:
        """Let ``after`` commands of the kinds ``on`` (all kinds when empty) pass, then disturb ``times`` of them.

        ``times=None`` means all that follow. The parts of a chained command count one by one.
        """
        kinds = frozenset({int(on)} if isinstance(on, int) else map(int, on))
        with self._lock:
            self._armed.append(_Armed(effect, kinds, after, times))

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._armed.clear()

    def apply(self, command: Command, proceed: Proceed) -> bytes:
        """The answer to ``command``, disturbed where a fault is due."""
        effect = self._due(command)
        if effect is None:
            return proceed()
        self.happened += 1
        return effect(command, proceed)

    def _due(self, command: Command) -> Effect | None:
        with self._lock:
            for armed in self._armed:
                if armed.on and command.ins not in armed.on:
                    continue
                if armed.after:
                    armed.after -= 1
                    continue
                if armed.times is not None:
                    armed.times -= 1
                    if not armed.times:
                        self._armed.remove(armed)
                return armed.effect
        return None


def slow(seconds: float) -> Effect:
    """Answers properly, but late."""

    def effect(_: Command, proceed: Proceed) -> bytes:
        time.sleep(seconds)
        return proceed()

    return effect


def status(word: int) -> Effect:
    """Does nothing and answers with this status word, for example 6F00."""
    return lambda _, __: word.to_bytes(_STATUS_BYTES, "big")


def tries_stated(number: int) -> Effect:
    """Counts as always, but states this number of tries wherever it states one."""

    def effect(_: Command, proceed: Proceed) -> bytes:
        answer = proceed()
        word = int.from_bytes(answer, "big")
        counted = len(answer) == _STATUS_BYTES and (word & 0xFFF0 == Status.TRIES or word == Status.BLOCKED)
        return (Status.TRIES | number).to_bytes(_STATUS_BYTES, "big") if counted else answer

    return effect


def reset(*, after_the_work: bool = False) -> Effect:
    """Loses power for a moment, before the command or (``after_the_work``) when only the answer is missing."""

    def effect(_: Command, proceed: Proceed) -> bytes:
        if after_the_work:
            proceed()
        raise Reseated

    return effect


def removal(*, after_the_work: bool = False) -> Effect:
    """Is pulled out, before the command or (``after_the_work``) when only the answer is missing."""

    def effect(_: Command, proceed: Proceed) -> bytes:
        if after_the_work:
            proceed()
        raise Pulled

    return effect


def damaged(how: Callable[[bytes], bytes]) -> Effect:
    """Answers with data that ``how`` made of the proper data; the status word stays."""

    def effect(_: Command, proceed: Proceed) -> bytes:
        answer = proceed()
        return how(answer[:-_STATUS_BYTES]) + answer[-_STATUS_BYTES:]

    return effect


def noise(seed: int) -> Effect:
    """Answers with random bytes, status word and all."""
    source = random.Random(seed)

    def effect(_: Command, __: Proceed) -> bytes:
        return source.randbytes(source.randint(_STATUS_BYTES, 256))

    return effect


def wrong_length(data: bytes) -> bytes:
    """The outermost length of a data object states more than there is."""
    return data[:1] + b"\x82\x7f\xff" + data[2:]


def truncated(data: bytes) -> bytes:
    """The second half is missing."""
    return data[: len(data) // 2]
