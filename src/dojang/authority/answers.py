"""Which question got which answer: the part of an authority that makes submitting twice harmless."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from dojang.authority import audit
from dojang.authority.base import Entry, Submission
from dojang.authority.certificate import Draft
from dojang.authority.hierarchy.roster import may_sign
from dojang.authority.life import OVER
from dojang.authority.revocation import make_move
from dojang.authority.rules import Predecessor, Rulebook, refusal
from dojang.authority.store import (
    Answered,
    Record,
    Store,
    find_answer,
    insert_answer,
    insert_answers,
    insert_record,
    insert_records,
    set_cancelled,
)
from dojang.errors import DojangError, Phrase
from dojang.x509.keys import same_key, spki_of
from dojang.x509.name import format_name
from dojang.x509.reading import read_certificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


class KeySwitched(Exception):
    """What was signed is not to be recorded: its key does not sign any more."""


class NotTogether(Exception):
    """Of several, one at least has to be recorded by itself."""


@dataclass(frozen=True, slots=True)
class Group:
    """First certificates by one profile, of one term, that one key signed at one moment; and what differs."""

    rules: Rulebook
    profile: str
    term: tuple[datetime, datetime]
    enrolment: str | None
    submissions: Sequence[Submission]
    serials: Sequence[str]
    certificates: Sequence[bytes]
    subjects: Sequence[str]
    key_fingerprints: Sequence[bytes]


class Given(NamedTuple):
    """An answer on record, and the key that signed it."""

    certificate_der: bytes
    signer: str


@dataclass(frozen=True, slots=True)
class Answers:
    """Reads and writes the store for the authority of this name."""

    authority: str
    store: Store

    def given(self, submission: Submission) -> Given | None:
        """The certificate that this submission got, ``None`` if it is new.

        ``AuthorityRefused`` when it was cancelled, or when the transaction was another submission.
        """
        before = self.store.answered(submission.transaction_id)
        return None if before is None else self._again(before, submission)

    def record(
        self,
        connection: Connection,
        submission: Submission,
        rules: Rulebook,
        draft: Draft,
        serial: int,
        certificate_der: bytes,
        entry: Entry | None = None,
        *,
        confirmed: bool = False,
    ) -> Given:
        """Inside a transaction: put the answer on record and return it, or what another process answered meanwhile.

        ``KeySwitched`` where the key of ``rules`` does not sign any more, or its certificate does not stand.
        """
        before = find_answer(connection, submission.transaction_id)
        if before is not None:
            return self._again(before, submission)
        if not may_sign(connection, rules.signer, rules.issuer):
            raise KeySwitched
        old = self.predecessor(submission)
        if old is not None:
            rules.check_predecessor(submission, draft.profile, old, draft.public_key)
        self._check_new(submission, draft, old)
        replaces = f"{old.certificate.serial_number:x}" if old else None
        record = self._record(draft, f"{serial:x}", certificate_der, rules, replaces, submission.enrolment)
        insert_record(connection, record)
        reason = submission.reason if submission.kind == "reissue" else None
        answered = Answered(submission.kind, fingerprint_of(submission), record.serial, False, reason)
        insert_answer(connection, submission.transaction_id, answered)
        told = _told(record, submission)
        audit.record(connection, event="certificate-issued", subject=record.serial, at=rules.at, **told)
        if entry is not None:
            entry(connection)
        if confirmed:
            self.confirm(connection, submission.transaction_id, rules.at)
        return Given(certificate_der, rules.signer)

    def record_all(self, connection: Connection, group: Group) -> list[Given]:
        """The same for first certificates that need nothing else, all of them or none.

        ``NotTogether`` where one has an answer already, or a serial number was used before: ``record`` tells which.
        """
        rules, asked = group.rules, group.submissions
        if not may_sign(connection, rules.signer, rules.issuer):
            raise KeySwitched
        like = Record(
            "", rules.signer, b"", group.profile, "", *group.term, rules.at, "issued", enrolment=group.enrolment
        )
        columns: dict[str, Sequence[Any]] = {
            "serial": group.serials,
            "certificate_der": group.certificates,
            "subject": group.subjects,
            "key_fingerprint": group.key_fingerprints,
        }
        transactions = [one.transaction_id for one in asked]
        given: dict[str, Sequence[Any]] = {
            "transaction_id": transactions,
            "fingerprint": list(map(fingerprint_of, asked)),
            "serial": group.serials,
        }
        try:
            insert_records(connection, like, columns)
            insert_answers(connection, Answered("issue", b"", "", cancelled=False), given)
        except IntegrityError as error:
            raise NotTogether from error
        audit.record_alike(
            connection,
            event="certificate-issued",
            subjects=group.serials,
            shared=_told(like, asked[0]),
            columns={"transaction": transactions, "fingerprint": list(map(_fingerprint, group.certificates))},
            at=rules.at,
        )
        return [Given(der, rules.signer) for der in group.certificates]

    def _check_new(self, submission: Submission, draft: Draft, old: Predecessor | None) -> None:
        """A key that was certified here before, where the profile wants another; a renewal may keep its own."""
        if draft.profile.key_reuse_allowed:
            return
        if submission.kind == "renew" and old is not None and same_key(draft.public_key, old.certificate.public_key()):
            return
        if self.store.with_key(key_fingerprint_of(draft.public_key)):
            raise refusal(
                self.authority,
                "the profile '{profile}' does not allow a key that was certified before",
                profile=draft.profile.name,
            )

    def predecessor(self, submission: Submission) -> Predecessor | None:
        """The certificate to be replaced. ``AuthorityRefused`` when this authority did not issue it."""
        if submission.replaces_der is None:
            return None
        found = self.recorded(submission.replaces_der)
        if found is None:
            raise refusal(self.authority, "the old certificate was not issued here")
        certificate = read_certificate(found.certificate_der)
        return Predecessor(certificate, found.profile, found.state, found.replaced_at is not None)

    def recorded(self, certificate_der: bytes) -> Record | None:
        """The record of exactly this certificate."""
        try:
            found = self.store.find(f"{read_certificate(certificate_der).serial_number:x}")
        except DojangError:
            return None
        return found if found.certificate_der == certificate_der else None

    def confirm(self, connection: Connection, transaction_id: str, at: datetime) -> str | None:
        """Note that the certificate works; the key whose list has to tell of what it replaces, as after a reissue.

        Of several successors that were asked for, the first to be confirmed is the one. Confirmed again, a reissue is
        told again: a run that was killed may not have published it.
        """
        answered = find_answer(connection, transaction_id)
        if answered is None:
            raise refusal(self.authority, "it knows no such transaction")
        record = self.store.find(answered.serial)
        if record.state == "issued":
            self._check_still(answered.kind, record.replaces)
        confirmed = make_move(connection, record, "confirm", at, authority=self.authority)
        is_new = confirmed is not record
        if is_new:
            told = {"transaction": transaction_id, "kind": answered.kind, "replaces": record.replaces}
            audit.record(connection, event="certificate-confirmed", subject=record.serial, at=at, **told)
        if answered.kind != "reissue" or record.replaces is None:
            return None
        old, reason = self.store.find(record.replaces), answered.reason or "superseded"
        if is_new:
            make_move(connection, old, "revoke", at, authority=self.authority, reason=reason)
        return old.signer

    def cancel(self, connection: Connection, transaction_id: str, at: datetime) -> None:
        """Revoke what was never confirmed; nothing answered or cancelled already is nothing to do."""
        answered = find_answer(connection, transaction_id)
        if answered is None or answered.cancelled:
            return
        record = self.store.find(answered.serial)
        if "confirmed" in (record.state, record.state_before):  # before a hold, too
            raise refusal(self.authority, "the certificate was confirmed; revoke it instead")
        make_move(connection, record, "revoke", at, authority=self.authority, reason=OVER)
        set_cancelled(connection, transaction_id)
        told = {"transaction": transaction_id}
        audit.record(connection, event="certificate-cancelled", subject=answered.serial, at=at, **told)

    def _check_still(self, kind: str, replaces: str | None) -> None:
        """What happened to the old certificate since the new one was asked for, which may be long ago."""
        if replaces is None:
            return
        old = self.store.find(replaces)
        if old.replaced_at is not None:
            raise refusal(self.authority, "the old certificate was replaced already")
        if kind == "renew" and old.state == "revoked":
            raise refusal(self.authority, "the old certificate is {state}", state=Phrase(old.state))

    def _again(self, before: Answered, submission: Submission) -> Given:
        if before.fingerprint != fingerprint_of(submission):
            raise refusal(self.authority, "the transaction was used for another request")
        if before.cancelled:
            raise refusal(self.authority, "the transaction was cancelled")
        record = self.store.find(before.serial)
        return Given(record.certificate_der, record.signer)

    def _record(
        self,
        draft: Draft,
        serial: str,
        certificate_der: bytes,
        rules: Rulebook,
        replaces: str | None,
        enrolment: str | None,
    ) -> Record:
        return Record(
            serial=serial,
            signer=rules.signer,
            certificate_der=certificate_der,
            profile=draft.profile.name,
            subject=format_name(draft.subject),
            not_before_at=draft.not_before_at,
            not_after_at=draft.not_after_at,
            recorded_at=rules.at,
            state="issued",
            replaces=replaces,
            key_fingerprint=key_fingerprint_of(draft.public_key),
            enrolment=enrolment,
        )


def fingerprint_of(submission: Submission) -> bytes:
    """Two submissions are the same question when this is the same."""
    digest = hashlib.sha256()
    parts: tuple[bytes, ...] = (
        submission.kind.encode(),
        submission.profile.encode(),
        submission.request_der,
        submission.replaces_der or b"",
    )
    if submission.reason != "superseded":
        parts += (submission.reason.encode(),)
    if submission.years is not None or submission.vid_der is not None:  # what was asked before there was a choice stays
        parts += (str(submission.years).encode(), submission.vid_der or b"")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def key_fingerprint_of(public_key: "PublicKeyTypes") -> bytes:
    """By what a key is found again: the SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki_of(public_key)).digest()


def _told(record: Record, submission: Submission) -> dict[str, str | None]:
    """What the audit tells of a new certificate."""
    return {
        "kind": submission.kind,
        "profile": record.profile,
        "transaction": submission.transaction_id,
        "fingerprint": _fingerprint(record.certificate_der),
        "replaces": record.replaces,
        "enrolment": record.enrolment,
        "signer": record.signer,
    }


def _fingerprint(certificate_der: bytes) -> str:
    return hashlib.sha256(certificate_der).hexdigest()
