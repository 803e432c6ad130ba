"""Which question got which answer: the part of an authority that makes submitting twice harmless."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from dojang.authority import revocation
from dojang.authority.base import Submission
from dojang.authority.certificate import Draft
from dojang.authority.rules import Predecessor, Rulebook, refusal
from dojang.authority.store import Answered, Record, Store, insert_record
from dojang.errors import DojangError
from dojang.x509.name import format_name
from dojang.x509.reading import read_certificate


@dataclass(frozen=True, slots=True)
class Answers:
    """Reads and writes the store for the authority of this name, which issues with the key ``signer``."""

    authority: str
    store: Store
    signer: str

    def given(self, submission: Submission) -> bytes | None:
        """The certificate that this submission got, ``None`` if it is new.

        ``AuthorityRefused`` when it was cancelled, or when the transaction was another submission.
        """
        before = self.store.answered(submission.transaction_id)
        return None if before is None else self._again(before, submission)

    def record(
        self, submission: Submission, rules: Rulebook, draft: Draft, serial: int, certificate_der: bytes
    ) -> bytes:
        """Make the answer durable and return it; or return what another process answered to the same meanwhile."""
        with self.store.writing() as database:
            before = self.store.answered(submission.transaction_id)
            if before is not None:
                return self._again(before, submission)
            old = self.predecessor(submission)
            if old is not None:
                rules.check_predecessor(submission, draft.profile, old, draft.public_key)
            replaces = f"{old.certificate.serial_number:x}" if old else None
            insert_record(database, self._record(draft, f"{serial:x}", certificate_der, rules.at, replaces))
            database.execute(
                "INSERT INTO submission (transaction_id, kind, fingerprint, serial) VALUES (?, ?, ?, ?)",
                (submission.transaction_id, submission.kind, fingerprint_of(submission), f"{serial:x}"),
            )
        return certificate_der

    def predecessor(self, submission: Submission) -> Predecessor | None:
        """The certificate to be replaced. ``AuthorityRefused`` when this authority did not issue it."""
        if submission.replaces_der is None:
            return None
        found = self.recorded(submission.replaces_der)
        if found is None or found.signer != self.signer:
            raise refusal(self.authority, "the old certificate was not issued here")
        certificate = x509.load_der_x509_certificate(found.certificate_der)
        return Predecessor(certificate, found.profile, found.state, self._is_replaced(found.serial))

    def recorded(self, certificate_der: bytes) -> Record | None:
        """The record of exactly this certificate."""
        try:
            found = self.store.find(f"{read_certificate(certificate_der).serial_number:x}")
        except DojangError:
            return None
        return found if found.certificate_der == certificate_der else None

    def confirm(self, transaction_id: str, at: datetime) -> bool:
        """Note that the certificate works; true when the list has to tell of what it replaces, as after a reissue.

        Of several successors that were asked for, the first to be confirmed is the one. Confirmed again, a reissue is
        told again: a run that was killed may not have published it.
        """
        with self.store.writing() as database:
            answered = self.store.answered(transaction_id)
            if answered is None:
                raise refusal(self.authority, "it knows no such transaction")
            record = self.store.find(answered.serial)
            if record.state not in ("issued", "confirmed"):
                raise refusal(self.authority, "the certificate is {state}", state=record.state)
            if record.state == "issued":
                self._check_still(answered.kind, record.replaces)
            database.execute("UPDATE certificate SET state = 'confirmed' WHERE serial = ?", (record.serial,))
            if answered.kind != "reissue" or record.replaces is None:
                return False
            if record.state == "issued":
                revocation.set_revoked(database, record.replaces, "superseded", at)
            return True

    def _check_still(self, kind: str, replaces: str | None) -> None:
        """What happened to the old certificate since the new one was asked for, which may be long ago."""
        if replaces is None:
            return
        if self._is_replaced(replaces):
            raise refusal(self.authority, "the old certificate was replaced already")
        if kind == "renew" and (state := self.store.find(replaces).state) == "revoked":
            raise refusal(self.authority, "the old certificate is {state}", state=state)

    def cancel(self, transaction_id: str, at: datetime) -> None:
        """Revoke what was never confirmed; nothing answered or cancelled already is nothing to do."""
        with self.store.writing() as database:
            answered = self.store.answered(transaction_id)
            if answered is None or answered.cancelled:
                return
            if self.store.find(answered.serial).state == "confirmed":
                raise refusal(self.authority, "the certificate was confirmed; revoke it instead")
            revocation.set_revoked(database, answered.serial, "cessationOfOperation", at)
            database.execute("UPDATE submission SET cancelled = 1 WHERE transaction_id = ?", (transaction_id,))

    def _is_replaced(self, serial: str) -> bool:
        # A successor that nobody confirmed does not count: it may have been lost on the way.
        return any(True for _ in self.store.records("replaces = ? AND state IN ('confirmed', 'suspended')", serial))

    def _again(self, before: Answered, submission: Submission) -> bytes:
        if before.fingerprint != fingerprint_of(submission):
            raise refusal(self.authority, "the transaction was used for another request")
        if before.cancelled:
            raise refusal(self.authority, "the transaction was cancelled")
        return self.store.find(before.serial).certificate_der

    def _record(self, draft: Draft, serial: str, certificate_der: bytes, at: datetime, replaces: str | None) -> Record:
        return Record(
            serial=serial,
            signer=self.signer,
            certificate_der=certificate_der,
            profile=draft.profile.name,
            subject=format_name(draft.subject),
            not_before_at=draft.not_before_at,
            not_after_at=draft.not_after_at,
            recorded_at=at,
            state="issued",
            replaces=replaces,
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
    if submission.years is not None or submission.vid_der is not None:  # what was asked before there was a choice stays
        parts += (str(submission.years).encode(), submission.vid_der or b"")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
