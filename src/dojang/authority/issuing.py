"""How an authority issues, one certificate or many: signed by the rules of the moment, recorded before it leaves.

What was answered before is answered again; what the rules do not allow is refused with the reason. Where the key was
switched between signing and recording, it is done once more with the new one.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cryptography import x509
from sqlalchemy import Connection

from dojang.authority.answers import Answers, Given, KeySwitched
from dojang.authority.base import Along, Issued, Submission
from dojang.authority.certificate import sign_certificate
from dojang.authority.hierarchy.roster import Roll, Roster
from dojang.authority.rules import Rulebook, refusal
from dojang.authority.settings import AuthoritySettings
from dojang.authority.store import Store
from dojang.errors import AuthorityExpired, DojangError, NotFound, Phrase
from dojang.x509.profiles import Profile, profile
from dojang.x509.request import CertificateRequest

if TYPE_CHECKING:
    from dojang.authority.bulk import Bulk
    from dojang.authority.factors.gate import Gate

T = TypeVar("T")
Work = Callable[[Connection], Given]
_LONGEST_TRANSACTION: Final = 256
_SIGN_AT_ONCE: Final = 4  # while the token works on one signature, the next certificates are made ready


class Issuing:
    """For many threads. ``gate`` is what issuing asks for; ``check_clock`` refuses a moment that cannot be now."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        settings: AuthoritySettings,
        gate: "Callable[[], Gate]",
        own_profiles: Path,
        now: Callable[[], datetime],
        check_clock: Callable[[datetime], None],
    ) -> None:
        self.name, self._store, self._roster, self._settings = store.name, store, roster, settings
        self._gate, self._own_profiles, self._now, self._check_clock = gate, own_profiles, now, check_clock
        self._answers = Answers(store.name, store)
        self._many: Bulk | None = None
        self._many_turn = threading.Lock()

    def close(self) -> None:
        """End what was started for it."""
        if self._many is not None:
            self._many.close()

    def given(self, submission: Submission) -> Given | None:
        """What this submission got, ``None`` if it is new. ``AuthorityRefused``."""
        self._check_form(submission)
        return self._answers.given(submission)

    def recorded(self, submission: Submission, **more: Any) -> Given:
        """Signed and on record; looked at anew where the key does not sign any more, as after a switch elsewhere."""
        while True:
            try:
                return self._store.database.together(self._signed(submission, **more))
            except KeySwitched:
                self._roster.look()

    def issued(self, given: Given) -> Issued:
        """The same for who asked, with the chain that belongs to it."""
        return Issued(given.certificate_der, self._roster.chain_of(given.signer))

    def submit_many(self, submissions: Sequence[Submission]) -> list[Issued | Exception]:
        """The answer to each, or the error that ``submit`` would raise; what is new is recorded together."""
        known = self._store.known_among([one.transaction_id for one in submissions])
        answers: list[Given | Exception | None] = [
            _attempted(self.given if one.transaction_id in known else self._check_form, one) for one in submissions
        ]
        new = [number for number, answer in enumerate(answers) if answer is None]
        for number, answer in self.bulk().answers({number: submissions[number] for number in new}).items():
            answers[number] = answer
        rest = [number for number in new if answers[number] is None]
        with ThreadPoolExecutor(_SIGN_AT_ONCE) as hands:
            signed = hands.map(lambda number: _attempted(self._signed, submissions[number]), rest)
        works: dict[int, Work] = {}
        for number, work in zip(rest, signed, strict=True):
            if isinstance(work, Exception):
                answers[number] = work
            else:
                works[number] = work
        for number, answer in zip(works, self._store.database.together_all(list(works.values())), strict=True):
            again = isinstance(answer, KeySwitched)
            answers[number] = _attempted(self.recorded, submissions[number]) if again else answer
        return [self.issued(one) if isinstance(one, Given) else one for one in answers if one is not None]

    def bulk(self) -> "Bulk":
        """Where many are issued at once."""
        from dojang.authority.bulk import Bulk

        with self._many_turn:
            if self._many is None:
                steps = self._rules, self.profile, self._gate().is_open, self._roster.private
                self._many = Bulk(*steps, self._answers, _SIGN_AT_ONCE)
            return self._many

    def profile(self, name: str) -> Profile:
        """By what a subscriber may be issued a certificate. ``AuthorityRefused``."""
        with contextlib.suppress(NotFound):
            wanted = profile(name, self._own_profiles)
            if wanted.is_for_subscribers:
                return wanted
        raise refusal(self.name, "it does not issue by the profile '{profile}'", profile=name[:64])

    def _signed(
        self,
        submission: Submission,
        *,
        request: CertificateRequest | None = None,
        along: Along | None = None,
        confirmed: bool = False,
    ) -> Work:
        """The certificate is signed; what is returned puts it on record and answers with it."""
        rules = self._rules()
        draft = rules.draft(
            submission, self.profile(submission.profile), self._answers.predecessor(submission), request
        )
        passed = self._gate().passed(submission, draft.profile, draft.subject, draft.public_key)
        serial = x509.random_serial_number()  # 159 random bits
        der = sign_certificate(draft, rules.issuer, self._roster.private(rules.signer), serial)
        entry = passed(f"{serial:x}", along(der) if along else None)
        return lambda connection: self._answers.record(
            connection, submission, rules, draft, serial, der, entry, confirmed=confirmed
        )

    def _rules(self) -> Rulebook:
        """As they are now. ``AuthorityRefused``, ``AuthorityExpired`` and ``ClockSetBack`` where nothing is issued."""
        at, roll = self._now(), self._standing_roll()
        self._check_term(roll, at)
        self._check_clock(at)
        return Rulebook(self.name, roll.issuer.certificate, at, roll.issuer.id, self._settings.address)

    def _check_form(self, submission: Submission) -> None:
        if not 0 < len(submission.transaction_id) <= _LONGEST_TRANSACTION:
            raise refusal(
                self.name, "an identifier of a transaction has 1 to {limit} characters", limit=_LONGEST_TRANSACTION
            )
        if (submission.kind == "issue") != (submission.replaces_der is None):
            raise refusal(self.name, "a renewal or reissue names the certificate it replaces, a first issue does not")

    def _check_term(self, roll: Roll, at: datetime) -> None:
        """Neither the authority's certificate nor its root's may be outside its term."""
        for own in (roll.issuer.certificate, roll.above.certificate):
            start_at, end_at = own.not_valid_before_utc, own.not_valid_after_utc
            if not start_at <= at <= end_at:
                raise AuthorityExpired(authority=self.name, not_before=start_at, not_after=end_at)

    def _standing_roll(self) -> Roll:
        """Who signs now. An issuing authority that its root has revoked or put on hold issues nothing."""
        roll = self._roster.now()
        if roll.standing != "confirmed":
            roll = self._roster.look()  # it may be back
        if roll.standing != "confirmed":
            raise refusal(self.name, "its own certificate is {state}", state=Phrase(roll.standing))
        return roll


def _attempted(step: Callable[[Submission], T], submission: Submission) -> T | Exception:
    try:
        return step(submission)
    except DojangError as error:
        return error
