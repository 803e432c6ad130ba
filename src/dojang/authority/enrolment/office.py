"""What an office does with enrolments: make codes, approve, refuse, cancel, unlock; add applicants, record checks.

Who is at work is said with ``audit.acting``. Each move is one transaction with its row in the audit record. A run that
is killed while it makes a code may leave an enrolment whose code nobody has seen; it can be cancelled, and expires.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, update

from dojang.authority import audit, tables
from dojang.authority.audit.actor import current_actor
from dojang.authority.audit.record import moment_text
from dojang.authority.database import Database
from dojang.authority.enrolment import applicants, approvals, records
from dojang.authority.enrolment.applicants import Applicant, IdentityCheck, Kind
from dojang.authority.enrolment.codes import CodeKey, code_of, hash_of, new_reference, new_salt, number_tag
from dojang.authority.enrolment.policy import EnrolmentPolicy
from dojang.authority.enrolment.records import Enrolment, Terms
from dojang.authority.enrolment.states import OPEN, Event, Standing, moved
from dojang.authority.enrolment.wishes import check_can_pass, check_vouched, lifetime_of, settled_terms, uses_of
from dojang.errors import Phrase, Usage
from dojang.secret import Secret
from dojang.x509.profiles.model import IDENTITY_CHECKS

if TYPE_CHECKING:
    from dojang.authority.factors.evidence import Evidence
    from dojang.x509.profiles import Profile
    from dojang.x509.profiles.factors import FactorRule


@dataclass(frozen=True, slots=True)
class Handed:
    """A new enrolment and its code, which is shown once and kept nowhere."""

    enrolment: Enrolment
    code: Secret


class Office:
    """The office of one authority. ``profile`` finds a profile by its name, ``code_key`` opens or makes the secret."""

    def __init__(
        self,
        database: Database,
        authority: str,
        policy: EnrolmentPolicy,
        profile: "Callable[[str], Profile]",
        code_key: Callable[[], CodeKey],
        clock: Callable[[], datetime],
        countries: Collection[str] | None = None,
        factors: "Callable[[Profile], FactorRule | None]" = lambda profile: None,
    ) -> None:
        """``countries`` are those that the authority sends messages to, where it says which; ``factors`` is what has to
        be passed for a profile.
        """
        self._database, self._authority, self._policy = database, authority, policy
        self._profile, self._code_key, self._clock = profile, code_key, clock
        self._countries, self._factors = countries, factors

    # Applicants

    def add_applicant(
        self, kind: Kind, name: str, contact: Mapping[str, str], number: Secret | None = None
    ) -> Applicant:
        """``AlreadyExists`` when an applicant with this resident or business number is known."""
        tag = None if number is None else number_tag(self._code_key(), number)
        with self._database.writing() as connection:
            return applicants.add(
                connection,
                kind=kind,
                name=name,
                contact=contact,
                number_tag=tag,
                at=self._clock(),
                authority=self._authority,
                countries=self._countries,
            )

    def change_applicant(self, applicant: str, contact: Mapping[str, str], without: Collection[str] = ()) -> Applicant:
        """Another way to reach an applicant, or ``without`` one. ``NotFound``, ``Usage``."""
        with self._database.writing() as connection:
            return applicants.change(
                connection,
                applicant,
                contact=contact,
                without=without,
                at=self._clock(),
                authority=self._authority,
                countries=self._countries,
            )

    def applicant(self, applicant: str) -> tuple[Applicant, list[IdentityCheck], list[Enrolment]]:
        """An applicant, what was checked, and what he is to get. ``NotFound``."""
        with self._database.reading() as connection:
            found = applicants.show(connection, applicant, self._authority)
            enrolments = records.listed(connection, self._clock(), applicant=applicant)
            return found, applicants.checks_of(connection, applicant), enrolments

    def applicants(self, *, after: str | None = None, limit: int = records.PAGE) -> list[Applicant]:
        with self._database.reading() as connection:
            return applicants.listed(connection, after=after, limit=limit)

    def record_check(self, applicant: str, kind: str, evidence_hash: bytes) -> IdentityCheck:
        """A check that somebody made; enrolments that waited for it move on. ``NotFound``, ``Usage``."""
        if kind not in IDENTITY_CHECKS:
            known = ", ".join(IDENTITY_CHECKS)
            raise Usage(problem=Phrase("'{kind}' is no kind of identity check: {known}", kind=kind[:64], known=known))
        at = self._clock()
        with self._database.writing() as connection:
            check = applicants.record_check(
                connection, applicant, kind=kind, evidence_hash=evidence_hash, at=at, authority=self._authority
            )
            for one in records.listed(connection, at, states=OPEN, applicant=applicant, limit=None):
                after = self._move(connection, one, "settle")
                if after.state != one.state:
                    self._tell(connection, "enrolment-settled", one.reference, state=after.state)
        return check

    # Codes

    def new(
        self,
        terms: Terms,
        *,
        applicant: str | None = None,
        pre_authorised: bool = False,
        valid_days: int | None = None,
        uses: int | None = None,
        evidence: bytes | None = None,
    ) -> Handed:
        """A reference number and its code; ``evidence`` is the order of an officer who registers.

        Raises ``NotFound``, ``NotPermitted``, ``Usage``, ``InvalidName``.
        """
        profile, policy = self._profile(terms.profile), self._policy
        terms = settled_terms(terms, profile)
        pre_authorised = pre_authorised and bool(profile.identity_checks)
        check_vouched(profile, policy.rule(profile.name), applicant, pre_authorised)
        check_can_pass(profile, self._factors(profile), applicant)
        wanted = {
            "profile": terms.profile,
            "subject": terms.subject,
            "names": json.dumps(terms.alternative_names),
            "years": terms.years,
            "applicant": applicant,
            "pre_authorised": pre_authorised,
            "uses_left": uses_of(policy, uses),
        }
        lifetime = lifetime_of(policy, valid_days)
        while True:
            handed = self._hand_out(wanted, lifetime, evidence)
            if handed is not None:
                return handed

    def enrolment(self, reference: str) -> Enrolment:
        """Raises ``NotFound``."""
        with self._database.reading() as connection:
            return records.found(connection, reference, self._clock(), self._authority)

    def standing(self, reference: str) -> Standing:
        """What is missing until its code works."""
        with self._database.reading() as connection:
            return self._standing(connection, records.found(connection, reference, self._clock(), self._authority))

    def factors(self, reference: str) -> "list[Evidence]":
        """What was passed for an enrolment and for what came of it, oldest first."""
        from dojang.authority.factors.evidence import of_reference

        with self._database.reading() as connection:
            return of_reference(connection, reference)

    def enrolments(
        self, *, states: tuple[str, ...] = (), after: str | None = None, limit: int = records.PAGE
    ) -> list[Enrolment]:
        with self._database.reading() as connection:
            return records.listed(connection, self._clock(), states=states, after=after, limit=limit)

    # Decisions

    def approve(self, reference: str, evidence: bytes | None = None) -> Enrolment:
        """One more voice for it; ``evidence`` is the officer's signed order. ``NotPermitted`` with the reason."""
        with self._database.writing() as connection:
            one = self._found(connection, reference)
            moved(reference, one.state, "approve")
            rule = self._policy.rule(one.terms.profile)
            approvals.check_voice(connection, reference, one.created_by, rule.four_eyes)
            approval = approvals.write(connection, reference, "approved", self._clock(), evidence)
            after = self._move(connection, one, "approve")
            self._tell(
                connection, "enrolment-approved", reference, approval=approval, first=one.created_by, state=after.state
            )
            return after

    def refuse(self, reference: str, reason: str, evidence: bytes | None = None) -> Enrolment:
        """It never becomes usable."""
        with self._database.writing() as connection:
            after = self._move(connection, self._found(connection, reference), "refuse", reason=reason[:200])
            approvals.write(connection, reference, "refused", self._clock(), evidence)
            self._tell(connection, "enrolment-refused", reference, reason=reason[:200])
            return after

    def cancel(self, reference: str, reason: str = "") -> Enrolment:
        """Its code never works again."""
        with self._database.writing() as connection:
            after = self._move(connection, self._found(connection, reference), "cancel", reason=reason[:200] or None)
            self._tell(connection, "enrolment-cancelled", reference, reason=reason[:200] or None)
            return after

    def unlock(self, reference: str) -> Enrolment:
        """After too many wrong tries: back to where it belongs by now, with none counted."""
        with self._database.writing() as connection:
            one = self._found(connection, reference)
            after = self._move(connection, one, "unlock", wrong_tries=0, locked_at=None)
            self._tell(connection, "enrolment-unlocked", reference, tries=one.wrong_tries, state=after.state)
            return after

    def _found(self, connection: Connection, reference: str) -> Enrolment:
        return records.found(connection, reference, self._clock(), self._authority)

    def _hand_out(self, wanted: Mapping[str, Any], lifetime: timedelta, evidence: bytes | None) -> Handed | None:
        """``None`` for a reference that was given out before."""
        reference, salt, at = new_reference(), new_salt(), self._clock()
        code = code_of(self._code_key(), reference, salt)
        own = {"reference": reference, "salt": salt, "code_hash": hash_of(code, salt), "expires_at": at + lifetime}
        made = {"state": "drafted", "created_at": at, "created_by": current_actor()}
        with self._database.writing() as connection:
            if records.row_of(connection, reference) is not None:
                return None
            return Handed(self._insert(connection, {**wanted, **own, **made}, evidence), code)

    def _insert(self, connection: Connection, values: Mapping[str, Any], evidence: bytes | None) -> Enrolment:
        if values["applicant"] is not None:
            applicants.show(connection, values["applicant"], self._authority)
        connection.execute(insert(tables.enrolment).values(**values))
        if evidence is not None:
            approvals.write(connection, values["reference"], "registered", values["created_at"], evidence)
        told = {name: values[name] for name in ("profile", "applicant")} | {"uses": values["uses_left"]}
        kind = "pre-authorised" if values["pre_authorised"] else "checked"
        expires_at = moment_text(values["expires_at"])
        settled = self._move(connection, self._found(connection, values["reference"]), "settle")
        told |= {"kind": kind, "expires_at": expires_at, "state": settled.state}
        self._tell(connection, "enrolment-created", values["reference"], **told)
        return settled

    def _move(self, connection: Connection, one: Enrolment, event: Event, **values: Any) -> Enrolment:
        """The only place where an officer's decision changes a state."""
        state = moved(one.reference, one.state, event, self._standing(connection, one))
        table = tables.enrolment
        mine = table.c.reference == one.reference
        connection.execute(update(table).where(mine).values(state=state, **values))
        return self._found(connection, one.reference)

    def _standing(self, connection: Connection, one: Enrolment) -> Standing:
        profile, rule = self._profile(one.terms.profile), self._policy.rule(one.terms.profile)
        checked = set() if one.applicant is None else {c.kind for c in applicants.checks_of(connection, one.applicant)}
        missing = () if one.pre_authorised else tuple(kind for kind in profile.identity_checks if kind not in checked)
        return Standing(missing, approvals.missing(connection, one.reference, one.created_by, rule.four_eyes))

    def _tell(self, connection: Connection, event: str, reference: str, **details: Any) -> None:
        audit.record(connection, event=event, subject=reference, at=self._clock(), **details)
