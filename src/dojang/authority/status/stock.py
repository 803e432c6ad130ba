"""Answers that were signed before anybody asked: in the database for all processes, in memory for this one.

An answer is kept under what it says. Whoever takes one out knows the certificate's state as it is recorded now, so one
that says something else is not there for him, whichever process changed the state.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from dojang.authority.status.answer import Term
from dojang.authority.status.request import CertId

MOST_KEPT: Final = 16_384


@dataclass(frozen=True, slots=True)
class Stocked:
    """``says`` is what it says and with whose key; two with the same are worth the same."""

    says: str
    der: bytes
    term: Term


class Stock:
    """What this process has, so many at most; what was asked for longest ago goes first."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[CertId, Stocked] = OrderedDict()
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, named: CertId, says: str) -> Stocked | None:
        """The answer for this certificate, when it says just that."""
        with self._turn:
            found = self._kept.get(named)
            if found is None or found.says != says:
                return None
            self._kept.move_to_end(named)
            return found

    def keep(self, named: CertId, answer: Stocked) -> None:
        with self._turn:
            self._kept[named] = answer
            self._kept.move_to_end(named)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
