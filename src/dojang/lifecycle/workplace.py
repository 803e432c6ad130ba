"""What a verb works with. The command line, a test or a server makes one and hands it in."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dojang.errors import DojangError
from dojang.ledger import Ledger, OperationRecord
from dojang.lifecycle.hooks import Hooks
from dojang.locations.base import Location, PasswordProvider, StoredCredential

if TYPE_CHECKING:
    from dojang.authority.base import CertificateAuthority, FactorSitting
    from dojang.lifecycle.aftercare import LookedAfter
    from dojang.locations.password_tries import PasswordTries


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was done about one operation that had been cut short: ``finished``, ``undone`` or ``left``.

    ``credential`` is what finishing led to, ``error`` why it was left.
    """

    record: OperationRecord
    outcome: str
    credential: StoredCredential | None = None
    error: DojangError | None = None


def _now() -> datetime:
    return datetime.now(UTC)


def _heard(step: object) -> None:
    """Nobody is listening."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """The ledger, the ways to open locations and authorities, somebody to tell about progress, and the clock.

    ``authorities`` lists the names that ``open_authority`` takes. ``say`` is told the name of each step as it begins:
    generate, ask, factors, install, prove, confirm, switch, delete. ``tell_recovered`` is told what became of earlier
    runs.
    ``tell_checked`` is told what was checked of a new credential; nothing is where nobody listens.
    ``window`` is how long before its expiry a certificate is due, where the user wants it other than its profile.
    ``hooks`` run around each renewal; ``warn`` is told of what went wrong without stopping anything.
    ``open_other`` opens the second location of a verb that has two, whose passwords may come from elsewhere;
    ``passwords`` are those of files that are no location, and ``tries`` counts the wrong ones.
    ``pass_factors`` passes what an authority wants before it issues, for ``applicant`` where a local one has no other
    way to know who that is.
    """

    ledger: Ledger
    open_location: Callable[[str], AbstractContextManager[Location]]
    open_authority: Callable[[str], AbstractContextManager["CertificateAuthority"]]
    authorities: Callable[[], Sequence[str]] = tuple
    say: Callable[[str], None] = field(default=_heard)
    tell_recovered: Callable[[Recovered], None] = field(default=_heard)
    tell_checked: "Callable[[LookedAfter], None] | None" = None
    now: Callable[[], datetime] = field(default=_now)
    window: timedelta | None = None
    hooks: Hooks = field(default_factory=Hooks)
    warn: Callable[[DojangError], None] = field(default=_heard)
    open_other: Callable[[str], AbstractContextManager[Location]] | None = None
    open_authoritys_token: Callable[[str], AbstractContextManager[Location]] | None = None
    passwords: PasswordProvider | None = None
    tries: "PasswordTries | None" = None
    pass_factors: "Callable[[FactorSitting], None] | None" = None
    applicant: str | None = None

    def open_signer(self, address: str) -> AbstractContextManager[Location]:
        """The token with an authority's key, whose PIN is another than the holders'."""
        return (self.open_authoritys_token or self.open_location)(address)

    def open_target(self, address: str) -> AbstractContextManager[Location]:
        """The location that something is brought to."""
        return (self.open_other or self.open_location)(address)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at after something was made, and what it was found to be."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a verb would do, for ``--plan``: its name as ``Workplace.say`` is told it, and what it concerns."""

    name: str
    facts: dict[str, str]
