"""A token that locks its PIN and can be pulled out: an emulated PIV card in a reader, as OpenSC shows it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Final

from dojang.testing.pcsc import Pcscd
from dojang.testing.piv import Card, plugged_in
from dojang.testing.setup import BringUpFailed, TokenSetup

_NOTICED: Final = "Card Removed From"
_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CardToken(TokenSetup):
    """A token on a card. Its ``so_pin`` is the PUK; ``card`` is for whoever wants to count or disturb more."""

    card: Card = field(repr=False)
    daemon: Pcscd = field(repr=False)
    port: int

    @property
    def tries_left(self) -> int:
        """How many wrong PINs the card bears before it locks."""
        return self.card.tries_left

    @property
    def locked(self) -> bool:
        return self.tries_left == 0

    @property
    def present(self) -> bool:
        return self.card.inserted

    def remove(self) -> None:
        """Pull it out; when this returns, PC/SC knows."""
        if not self.present:
            return
        before = self.daemon.log.count(_NOTICED)
        self.card.remove()
        deadline = time.monotonic() + _PATIENCE
        while self.daemon.log.count(_NOTICED) == before:
            if time.monotonic() > deadline:
                raise BringUpFailed(f"pcscd did not notice that the card is gone:\n{self.daemon.log}")
            time.sleep(0.01)

    def insert(self) -> None:
        """Put it back into its reader; when this returns, PC/SC knows."""
        if not self.present:
            self.card.insert(self.port)


@contextmanager
def card_token() -> Iterator[CardToken]:
    """A fresh card in a reader; three wrong PINs lock it."""
    with plugged_in() as (setup, card, daemon, port):
        known = {each.name: getattr(setup, each.name) for each in fields(setup)}
        yield CardToken(**known, card=card, daemon=daemon, port=port)
