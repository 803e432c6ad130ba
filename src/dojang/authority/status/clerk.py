"""What is said of a certificate, until when, and with whose key: from the record to the signed answer."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dojang.authority.status.answer import GOOD, REVOKED, UNKNOWN, Pen, Term, Verdict
from dojang.authority.status.issuers import KeyHolder
from dojang.authority.status.prepared import State
from dojang.authority.status.request import CertId
from dojang.authority.status.settings import UNKNOWN_TERM, StatusSettings
from dojang.authority.status.stock import Stocked

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)  # RFC 6960 section 2.2
_UNSPECIFIED: Final = "unspecified"


class Clerk:
    """``key`` gives the private key of a signer on record."""

    def __init__(self, key: "Callable[[str], PrivateKey]", settings: StatusSettings) -> None:
        self._key, self._settings = key, settings

    def verdict(self, named: CertId, state: State | None, *, is_own: bool = True) -> Verdict:
        """What to say of a certificate with this record; of one without, that it is not known."""
        if state is None:
            if is_own and self._settings.call_unissued_revoked:
                return Verdict(named, REVOKED, _LONG_AGO, "certificateHold", never_issued=True)
            return Verdict(named, UNKNOWN)
        if state.revoked_at is None:
            return Verdict(named, GOOD)
        return Verdict(named, REVOKED, state.revoked_at, None if state.reason == _UNSPECIFIED else state.reason)

    def says(self, verdict: Verdict, holder: KeyHolder) -> str:
        """The same text for answers that say the same with the same key."""
        return f"{verdict.status.name} {verdict.revoked_at or '-'} {verdict.reason or '-'} {holder.tag}"

    def stale_until(self, at: datetime) -> datetime:
        """Answers that end by then are made anew."""
        return at + self._settings.answer_term / 2

    def write(
        self, verdicts: Sequence[Verdict], holder: KeyHolder, at: datetime, nonce: bytes | None = None
    ) -> Stocked:
        """The signed answer of this moment. What the key's location raises passes through."""
        term = self._term(verdicts, holder, at)
        pen = Pen(holder.certificate, self._key(holder.signer), holder.delegated)
        return Stocked(self.says(verdicts[0], holder), pen.write(verdicts, term, nonce), term)

    def _term(self, verdicts: Sequence[Verdict], holder: KeyHolder, at: datetime) -> Term:
        length = self._settings.answer_term
        if any(one.status is UNKNOWN or one.never_issued for one in verdicts):
            length = min(UNKNOWN_TERM, length)
        return Term(at, min(at + length, holder.certificate.not_valid_after_utc))
