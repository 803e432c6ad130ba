"""The one place where issuing asks for factors: nothing is signed without them, and nothing recorded.

What was passed is looked at before the key signs, and used up in the transaction that records the certificate. Two
requests at once cannot both have it, and of a run that is killed either both are there, or neither.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from dojang.authority.base import Entry, Kind, Submission
from dojang.authority.factors import evidence
from dojang.authority.factors.claims import Claim, claim_of
from dojang.authority.factors.policy import FactorPolicy, choices, is_satisfied
from dojang.cmp.factors import in_words
from dojang.errors import FactorMissing
from dojang.x509.keys import spki_of
from dojang.x509.profiles.factors import Factors

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as PublicKey

    from dojang.authority.database import Database
    from dojang.x509.profiles import Profile


class Gate:
    """The gate of one authority, for many threads."""

    def __init__(
        self, database: "Database", authority: str, policy: FactorPolicy, clock: Callable[[], datetime]
    ) -> None:
        self._database, self._authority, self._policy, self._clock = database, authority, policy, clock

    def is_open(self, profile: "Profile", occasion: Kind) -> bool:
        """Whether nothing is asked for."""
        return self._policy.wanted(profile, occasion) is None

    def passed(
        self, submission: Submission, profile: "Profile", subject: "x509.Name", key: "PublicKey"
    ) -> Callable[[str, Entry | None], Entry | None]:
        """What makes, of a serial and of what else is recorded with a certificate, all that is recorded with it.

        Raises ``FactorMissing``, now or when that is written; ``AuthorityRefused`` where nobody is known to ask.
        """
        wanted = self._policy.wanted(profile, submission.kind)
        if wanted is None:
            return lambda serial, entry: entry
        with self._database.reading() as connection:
            claim = claim_of(connection, self._authority, submission, subject, spki_of(key))
            self._enough(connection, claim, wanted)
        return lambda serial, entry: self._with(claim, wanted, serial, entry)

    def _with(self, claim: Claim, wanted: Factors, serial: str, entry: Entry | None) -> Entry:
        def write(connection: Connection) -> None:
            evidence.use(connection, claim, self._enough(connection, claim, wanted), serial, self._clock())
            if entry is not None:
                entry(connection)

        return write

    def _enough(self, connection: Connection, claim: Claim, wanted: Factors) -> list[evidence.Evidence]:
        found = evidence.standing(connection, claim, self._clock())
        passed = {one.factor for one in found}
        if not is_satisfied(wanted, passed):
            raise missing(self._authority, wanted, passed)
        return found


def missing(authority: str, wanted: Factors, passed: set[str]) -> FactorMissing:
    """What is still to be passed."""
    ways = choices(wanted, passed)
    return FactorMissing(authority=authority, missing=in_words(ways), ways=ways, passed=tuple(sorted(passed)))
