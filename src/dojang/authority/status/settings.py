"""How an authority tells of its certificates, where its own settings say more than nothing."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

OnRevocation = Literal["complete", "delta"]
UNKNOWN_TERM: Final = timedelta(minutes=10)
"""How long an answer about a serial holds that was never issued: it may be issued next."""


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """``answer_hours``: how long an OCSP answer may be relied on; made anew when half of it is over.

    ``call_unissued_revoked``: a serial that was never issued is revoked instead of unknown (RFC 6960 section 2.2).
    ``delta_hours``: how long a delta list holds; 0 for none. ``on_revocation``: which list is published at once.
    ``base``: the address below which this authority is found; lists then say where their deltas are.
    """

    answer_hours: int = 12
    call_unissued_revoked: bool = False
    delta_hours: int = 0
    on_revocation: OnRevocation = "complete"
    base: str = ""

    @property
    def has_deltas(self) -> bool:
        return self.delta_hours > 0

    @property
    def delta_term(self) -> timedelta:
        return timedelta(hours=self.delta_hours)

    @property
    def answer_term(self) -> timedelta:
        return timedelta(hours=self.answer_hours)
