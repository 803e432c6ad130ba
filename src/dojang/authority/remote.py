"""An authority elsewhere, spoken to in CMP (RFC 9810, as RFC 9483 has it): under a code with its reference number, or
signed with the key of the certificate that it is about.

What it may be believed by is a certificate that was given or that came with the first answer a code protected.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from cryptography import x509

from dojang.authority.base import Issued, Submission
from dojang.authority.elsewhere import Asker, Signer
from dojang.authority.new_root import check_update, der_of, question_about, update_in
from dojang.authority.parties import ByCode, BySignature
from dojang.authority.remote_factors import RemoteSitting
from dojang.cmp.bodies import Certification, General, Kind, RevocationRequest
from dojang.cmp.client import Conversation, Granted, Patience
from dojang.cmp.crmf import read_request
from dojang.cmp.faults import CmpFault
from dojang.cmp.messages import certificate_profile, new_nonce
from dojang.cmp.proof import request_from_crmf
from dojang.cmp.transport import USUAL_SECONDS, HttpTransport
from dojang.cmp.trust import Judge
from dojang.cmp.urls import Target
from dojang.cmp.wanted import revocation_of
from dojang.errors import (
    AnswerMismatch,
    AnswerPending,
    AuthorityRefused,
    AuthorityUnreachable,
    AuthorityUntrusted,
    FileMalformed,
    InputRequired,
    NotPermitted,
    Phrase,
    UnsupportedOperation,
)
from dojang.ledger import Fact
from dojang.x509.keys import spki_of
from dojang.x509.path import check_path
from dojang.x509.reading import read_certificate

if TYPE_CHECKING:
    from dojang.secret import Secret
    from dojang.x509.profiles import Profile


class Introductions(Protocol):
    """Where a reference number and its code come from. The code is asked for only when something must be protected."""

    def reference(self, *, needed: bool) -> str | None:
        """The number that was given; where it is ``needed``, it may be asked for. Raises ``InputRequired``."""
        ...

    def code(self, reference: str, source: str | None) -> "Secret":
        """The code that belongs to it; ``source`` is where an earlier run had it from. Raises ``InputRequired``."""
        ...

    @property
    def source(self) -> str | None:
        """What another run may read the code from; never the code."""
        ...


class NobodyIntroduced:
    """No reference number and no code: everything is signed."""

    source = None

    def reference(self, *, needed: bool) -> str | None:
        if needed:
            raise InputRequired(what=Phrase("The reference number"), option="--reference R")
        return None

    def code(self, reference: str, source: str | None) -> "Secret":
        raise InputRequired(what=Phrase("The code for {reference}", reference=reference), option="--code-source SRC")


@dataclass(frozen=True, slots=True)
class Terms:
    """How an authority elsewhere is reached and believed.

    ``trust`` is told of the certificate that an answer led to, be it one of those or one that came under a code, to be
    kept for the next time; ``changed`` of a certificate that was granted otherwise than it was asked for; ``succeeded``
    of a new root for which one of those vouches, to be kept as well.
    """

    anchors_der: tuple[bytes, ...] = ()
    introductions: Introductions = field(default_factory=NobodyIntroduced)
    patience: Callable[[], Patience] = Patience
    trust: Callable[[bytes], None] = field(default=lambda anchor_der: None)
    changed: Callable[[bytes], None] = field(default=lambda certificate_der: None)
    succeeded: Callable[[bytes], None] = field(default=lambda root_der: None)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    tls_certificates: Path | None = None
    seconds: float = USUAL_SECONDS


class Forgetful:
    """Asks without a journal: what was said is known to this process alone."""

    by_key = False

    def __init__(self) -> None:
        self.notes: dict[str, Fact] = {}

    def note(self, **facts: Fact) -> None:
        self.notes |= facts

    def signer(self) -> Signer | None:
        return None


class RemoteAuthority:
    """Implements ``CertificateAuthority`` and ``Elsewhere``. A context manager; threads may share one."""

    def __init__(self, url: str, terms: Terms | None = None) -> None:
        """Nothing is connected yet. Raises ``Usage`` for what is no URL."""
        Target.from_url(url)
        self.name = url
        self._terms = terms or Terms()
        self._asker: Asker = Forgetful()
        self._lines = _Lines(url, self._terms)
        self._anchors = list(self._terms.anchors_der)
        self._roots_asked_about: set[bytes] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def asked_by(self, asker: Asker) -> "RemoteAuthority":
        """The same, over the same connections; closed with this one."""
        asked = object.__new__(type(self))
        asked.__dict__.update(self.__dict__, _asker=asker)
        return asked

    def chain_der(self) -> tuple[bytes, ...]:
        """What it is believed by; nothing before the first answer, unless it was given."""
        return tuple(self._anchors)

    def profiles(self) -> "Sequence[Profile]":
        """It says itself what it issues; nothing of that is known here."""
        return ()

    def profile_of(self, certificate_der: bytes) -> str | None:
        return None

    def state_of(self, certificate_der: bytes) -> str | None:
        return None

    def submit(self, submission: Submission) -> Issued:
        """``request_der`` is a CertReqMsg. Raises also ``AuthorityUntrusted``, ``AnswerPending``, ``InputRequired``."""
        self._introduce(submission.kind, request=submission.request_der.hex())
        asked = {"issue": Kind.IR, "renew": Kind.KUR, "reissue": Kind.CR}[submission.kind]
        if self._reference is not None and asked == Kind.CR:
            asked = Kind.IR
        profile = (certificate_profile(submission.profile),) if submission.profile else ()
        conversation = self._conversation(submission.transaction_id)
        return self._issued(conversation.certify(_asking_for(asked, submission.request_der), profile))

    def factors_for(self, submission: Submission) -> RemoteSitting:
        """Where factors are passed for this request, by who asks for it."""
        self._introduce(submission.kind, request=submission.request_der.hex())
        asked = "issue" if self._reference is not None else submission.kind
        return RemoteSitting(
            self.name, self._inquire, asked, spki_of(request_from_crmf(submission.request_der).public_key)
        )

    def factors_for_key(self, spki_der: bytes) -> RemoteSitting:
        """Where factors are passed for a key that somebody else will ask a first certificate for, under the code."""
        self._introduce("issue")
        return RemoteSitting(self.name, self._inquire, "issue", spki_der)

    def _inquire(self, body: General, patience: Patience | None = None) -> General:
        return self._conversation(new_nonce().hex(), Forgetful(), patience).inquire(body)

    def learn_root(self, chain_der: tuple[bytes, ...]) -> None:
        """Once for all who ask here. An authority that cannot be asked this has no new root; nobody waits for it."""
        root_der = next(filter(_is_root, reversed(self._anchors)), None)
        if root_der is None or root_der in self._roots_asked_about:
            return
        self._roots_asked_about.add(root_der)
        try:
            update = update_in(self._inquire(question_about(root_der), Patience(0, pauses=())))
        except (AuthorityRefused, AuthorityUnreachable, AuthorityUntrusted, AnswerPending, CmpFault):
            return
        if update is not None and der_of(update.new_with_new) not in self._anchors:  # or it was given
            new_der = check_update(self.name, root_der, update, chain_der, self._terms.now())
            self._anchors.append(new_der)
            self._terms.succeeded(new_der)

    def confirm(self, transaction_id: str) -> None:
        """Confirmed before, nothing is sent."""
        conversation = self._conversation(transaction_id)
        if (granted := conversation.granted) is not None:
            conversation.confirm(granted)

    def cancel(self, transaction_id: str) -> None:
        """Reject what was granted. What never came is confirmed by nobody, and the authority revokes it in its time."""
        conversation = self._conversation(transaction_id)
        granted = conversation.granted
        if granted is not None and self._asker.notes.get("confirmed") != "accepted":
            with contextlib.suppress(AuthorityRefused, InputRequired, NotPermitted):
                conversation.confirm(granted, accepted=False)

    def signer(self) -> Signer | None:
        """The key of the certificate that it is about."""
        return self._asker.signer()

    def has_reference(self, *, needed: bool = False) -> bool:
        """A code speaks for who has no key yet, or no key any more; that it can be had is made sure of, too."""
        reference = self._terms.introductions.reference(needed=needed)
        if reference is not None:
            self._terms.introductions.code(reference, None)
        return reference is not None

    def revoke(self, serial: str, reason: str) -> None:
        """By its serial alone no certificate can be named to it; see ``revoke_for``."""
        raise UnsupportedOperation(where=self.name, operation=Phrase("revoke a certificate by its serial alone"))

    def revoke_for(self, transaction_id: str, certificate_der: bytes, reason: x509.ReasonFlags) -> None:
        """Have it revoked, by the word of its own key or of a code; revoked already is as good."""
        self._introduce("revoke")
        conversation = self._conversation(transaction_id)
        conversation.revoke(RevocationRequest((revocation_of(certificate_der, reason),)))

    @property
    def _reference(self) -> str | None:
        noted = self._asker.notes.get("reference")
        return None if noted is None else str(noted)

    def _introduce(self, kind: str, **facts: Fact) -> None:
        """Before anything else is noted: what is asked, and whether a code speaks for it."""
        if any(self._asker.notes.get(name) for name in ("introduced", "sent")):
            return
        reference = None
        if kind != "renew" and not self._asker.by_key:
            reference = self._terms.introductions.reference(needed=kind == "issue")
        if reference is not None:
            facts |= {"reference": reference, "code_source": self._terms.introductions.source}
        self._asker.note(introduced=True, **facts)

    def _conversation(
        self, transaction_id: str, notes: Asker | None = None, patience: Patience | None = None
    ) -> Conversation:
        judge = Judge(self.name, tuple(self._anchors), self._terms.now, self._secret if self._reference else None)
        party = ByCode(self._reference, self._secret, self._recipient()) if self._reference else self._signing()
        transaction, patience = _transaction(transaction_id), patience or self._terms.patience()
        return Conversation(self._lines.post, party, judge, transaction, notes or self._asker, patience)

    def _signing(self) -> BySignature:
        return BySignature(self._signer, self._recipient())

    def _signer(self) -> Signer:
        signer = self._asker.signer()
        if signer is None:
            raise NotPermitted(
                problem=Phrase("the key of the certificate is not here, and with nothing else can it be asked for"),
                remedy="Ask the authority for a reference number and a code: --reference R --code-source SRC.",
            )
        return signer

    def _secret(self) -> "Secret":
        noted = self._asker.notes.get("code_source")
        assert self._reference is not None
        return self._terms.introductions.code(self._reference, None if noted is None else str(noted))

    def _recipient(self) -> x509.Name | None:
        return read_certificate(self._anchors[0]).subject if self._anchors else None

    def _issued(self, granted: Granted) -> Issued:
        """The certificate with its chain, up to what is trusted."""
        anchors = tuple(self._anchors) or self._first_anchors(granted)
        others = (*granted.ca_certificates, *granted.others)
        try:
            report = check_path(
                granted.certificate_der, intermediates_der=others, anchors_der=anchors, at=self._terms.now()
            )
        except FileMalformed as error:
            problem = Phrase("a certificate in the answer cannot be decoded")
            raise AnswerMismatch(problems=(problem,)) from error
        if not report.ok:
            raise AnswerMismatch(problems=report.problems)
        anchor_der = report.path_der[-1]
        if not self._anchors:
            self._anchors.append(anchor_der)
        self._terms.trust(anchor_der)
        if granted.changed:
            self._terms.changed(granted.certificate_der)
        return Issued(granted.certificate_der, report.path_der[1:], granted.changed)

    def _first_anchors(self, granted: Granted) -> tuple[bytes, ...]:
        """What the answer brought, whose code protects it: the roots, or else all of its certificates."""
        brought = granted.ca_certificates or granted.others
        found = tuple(filter(_is_root, brought)) or granted.ca_certificates
        if not found:
            raise AuthorityUntrusted(authority=self.name, problem=Phrase("it did not send its own certificate"))
        return found


class _Lines:
    """A connection for each thread."""

    def __init__(self, url: str, terms: Terms) -> None:
        self._url, self._terms = url, terms
        self._own, self._all = threading.local(), list[HttpTransport]()

    def post(self, message: bytes) -> bytes:
        if not hasattr(self._own, "line"):
            self._own.line = HttpTransport(
                self._url, seconds=self._terms.seconds, tls_certificates=self._terms.tls_certificates
            )
            self._all.append(self._own.line)
        line: HttpTransport = self._own.line
        return line.post(message)

    def close(self) -> None:
        for line in self._all:
            line.close()


def _asking_for(kind: Kind, request_der: bytes) -> Certification:
    return Certification(kind, (read_request(request_der),))


def _transaction(transaction_id: str) -> bytes:
    """An operation's identifier is sixteen random bytes in hex."""
    return bytes.fromhex(transaction_id)


def _is_root(certificate_der: bytes) -> bool:
    try:
        certificate = read_certificate(certificate_der)
    except FileMalformed:
        return False
    return certificate.subject == certificate.issuer
