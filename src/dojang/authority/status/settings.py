"""How an authority tells of its certificates: the table ``[status]`` of its ``authority.toml``."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

OnRevocation = Literal["complete", "delta"]
UNKNOWN_TERM: Final = timedelta(minutes=10)
"""How long an answer about a serial holds that was never issued: it may be issued next."""


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """What that table says."""

    answer_hours: int = 12
    prepare: bool = True
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
        return timedelta(hours=max(1, self.answer_hours))
