"""A subscriber's conversation with an authority: what is sent, what is believed, and what is sent once more.

    conversation = Conversation(transport.post, party, judge, transaction_id, notes)
    granted = conversation.certify(Certification(Kind.IR, (request,)))
    conversation.confirm(granted)

Every message is noted before it is sent and every answer that was checked before it is used. Whoever goes on with the
same notes, in another process, sends the same bytes again or asks for what is next: nothing is asked twice.

implicitConfirm (RFC 9810 section 5.1.1.1, RFC 9483 section 4.1.1) is never asked for, though it would save a message.
certConf goes out once the new key has signed and that was verified with the new certificate: until then the authority
can be told no, and revokes by itself what a killed client never confirmed. Where an authority confirms without being
asked, no certConf is sent.
"""

import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from dojang.cmp.bodies import (
    Answer,
    Body,
    Certification,
    Certified,
    Confirmation,
    Confirmations,
    Confirmed,
    Failure,
    General,
    Information,
    Pkcs10,
    Poll,
    RevocationRequest,
    Revoked,
    Status,
    Waiting,
)
from dojang.cmp.faults import CmpFault, FailInfo, PkiStatus
from dojang.cmp.messages import Header, Message, new_nonce, read_message, write_message
from dojang.cmp.refusals import refused
from dojang.cmp.signatures import certificate_hash
from dojang.cmp.trust import Judge
from dojang.errors import AnswerPending, AuthorityUnreachable, AuthorityUntrusted, FactorMissing, Phrase

if TYPE_CHECKING:
    from dojang.cmp.protection import Protector

Note = str | int | bool | None
# An answer that was lost is asked for again after these pauses, in seconds, with the same bytes.
PAUSES = (0.5, 2.0, 5.0)
USUAL_PATIENCE = 300.0
_SHORTEST_WAIT, _LONGEST_WAIT = 1, 31 * 86400


class Notes(Protocol):
    """What is kept of a conversation; durable when ``note`` returns."""

    @property
    def notes(self) -> Mapping[str, object]: ...

    def note(self, **facts: Note) -> None: ...


class Party(Protocol):
    """Who speaks, and how what is said is protected."""

    def header(self) -> Header:
        """Sender, its key and whom it is for."""
        ...

    def protector(self) -> "Protector": ...

    def certificates(self) -> tuple[bytes, ...]:
        """What goes along in extraCerts."""
        ...


@dataclass(frozen=True, slots=True)
class Granted:
    """A certificate that was granted; ``changed`` when not quite as it was asked for.

    ``ca_certificates`` came under the protection of the message, ``others`` beside it.
    """

    certificate_der: bytes
    request_id: int
    changed: bool
    implicitly_confirmed: bool
    ca_certificates: tuple[bytes, ...]
    others: tuple[bytes, ...]


@dataclass(slots=True)
class Patience:
    """How long a person, or nobody, waits for an authority that asks for time; ``tell`` hears of each wait.

    ``pauses`` are those before the same is sent again.
    """

    seconds: float = USUAL_PATIENCE
    tell: Callable[[int], None] = field(default=lambda seconds: None)
    sleep: Callable[[float], None] = time.sleep
    pauses: tuple[float, ...] = PAUSES


class Conversation:
    """One transaction. Raises ``AuthorityRefused`` for what the authority says no to, ``AuthorityUntrusted`` for an
    answer that is not its own, ``AuthorityUnreachable`` when nothing was sent, ``AnswerPending`` when something was.
    """

    def __init__(
        self,
        post: Callable[[bytes], bytes],
        party: Party,
        judge: Judge,
        transaction_id: bytes,
        notes: Notes,
        patience: Patience | None = None,
    ) -> None:
        """Nothing is sent yet."""
        self._post, self._party, self._judge, self._notes = post, party, judge, notes
        self._transaction_id, self._patience = transaction_id, patience or Patience()

    @property
    def is_begun(self) -> bool:
        """Whether something was sent, in this run or before."""
        return any(self._noted(name) for name in ("sent", "wait_until", "granted"))

    @property
    def granted(self) -> Granted | None:
        """What was granted and noted."""
        noted = self._noted("granted")
        return _granted(read_message(b64decode(noted))) if noted else None

    def certify(self, body: Certification | Pkcs10, information: tuple[Information, ...] = ()) -> Granted:
        """Ask for one certificate, and go on asking while the authority wants time. Asked before, nothing is new."""
        if (before := self.granted) is not None:
            return before
        message = self._go_on() if self.is_begun else self._ask(body, information)
        while (granted := _granted(message)) is None:
            message = self._wait(message)
        self._settle(granted=b64encode(self._answer_der).decode())
        return granted

    def confirm(self, granted: Granted, *, accepted: bool = True) -> None:
        """certConf and its answer; said before, nothing is sent. Not ``accepted``, it is revoked there."""
        said = "accepted" if accepted else "rejected"
        if granted.implicitly_confirmed or self._noted("confirmed") == said:
            return
        if self._noted("sent") and self._noted("confirming") == said:
            message = self._go_on()
        else:
            message = self._ask(_confirmation(granted, accepted), confirming=said)
        while not isinstance(message.body, Confirmed) and not _says(message, FailInfo.CERT_CONFIRMED):
            message = self._wait(message)
        self._settle(confirmed=said)

    def revoke(self, body: RevocationRequest) -> None:
        """rr and its answer; revoked already is as good."""
        if self._noted("revoked"):
            return
        message = self._go_on() if self.is_begun else self._ask(body)
        while not isinstance(message.body, Revoked) and not _says(message, FailInfo.CERT_REVOKED):
            message = self._wait(message)
        if isinstance(message.body, Revoked):
            (status, *_) = message.body.statuses or (Status(PkiStatus.REJECTION),)
            if not status.is_granted and FailInfo.CERT_REVOKED not in status.failures:
                raise refused(self._judge.authority, status)
        self._settle(revoked=True)

    def inquire(self, body: General) -> General:
        """genm and its answer."""
        message = self._ask(body)
        while not isinstance(message.body, General):
            message = self._wait(message)
        return message.body

    def _ask(self, body: Body, information: tuple[Information, ...] = (), **facts: Note) -> Message:
        """Write it down, then send it."""
        first, nonce = not self.is_begun, self._noted("nonce")
        header = replace(
            self._party.header(),
            transaction_id=self._transaction_id,
            sender_nonce=new_nonce(),
            recipient_nonce=bytes.fromhex(nonce) if nonce else None,
            message_at=self._judge.now(),
            information=information,
        )
        der = write_message(header, body, self._party.protector(), self._party.certificates())
        self._notes.note(sent=b64encode(der).decode(), wait_until=None, **facts)
        try:
            return self._send(der, maybe_read=not first)
        except AuthorityUnreachable:
            self._notes.note(sent=None)  # nobody has heard of any of it
            raise

    def _go_on(self) -> Message:
        """The answer to what was sent last, by the same bytes; or, where that was to wait, the next question."""
        if sent := self._noted("sent"):
            return self._send(b64decode(sent), maybe_read=True)
        until = datetime.fromisoformat(self._noted("wait_until"))
        return self._poll_in((until - self._judge.now()).total_seconds())

    def _send(self, der: bytes, *, maybe_read: bool) -> Message:
        """The answer, once it is known to be the authority's and to this very message."""
        asked = read_message(der).header
        self._answer_der = self._posted(der, maybe_read)
        try:
            message = read_message(self._answer_der)
        except CmpFault as fault:
            raise self._untrusted(Phrase("its answer cannot be read ({problem})", problem=fault.phrase)) from fault
        self._judge.check(message)
        if message.header.transaction_id != asked.transaction_id:
            raise self._untrusted(Phrase("its answer belongs to another transaction"))
        if message.header.recipient_nonce != asked.sender_nonce:
            raise self._untrusted(Phrase("its answer is to another message"))
        self._nonce = message.header.sender_nonce or b""
        return message

    def _posted(self, der: bytes, maybe_read: bool) -> bytes:
        """``AuthorityUnreachable`` where certainly nobody has read it, else ``AnswerPending``."""
        for pause in (*self._patience.pauses, None):
            try:
                return self._post(der)
            except AuthorityUnreachable as error:
                maybe_read = maybe_read or bool(error.facts.get("sent"))
                if not maybe_read:
                    raise
                if pause is None:
                    raise AnswerPending(authority=self._judge.authority, problem=error.facts["problem"]) from error
                self._patience.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _wait(self, message: Message) -> Message:
        """What comes after a message that is no answer yet; a refusal is raised."""
        match message.body:
            case Waiting((wait, *_)):
                request_id, seconds = wait.request_id, min(max(wait.seconds, _SHORTEST_WAIT), _LONGEST_WAIT)
            case Certified(_, (Answer(request_id, Status(PkiStatus.WAITING)),)):
                seconds = 0
            case Certified(_, (Answer(_, status),)):
                raise refused(self._judge.authority, status)
            case Failure(status) if status.status == PkiStatus.WAITING:
                request_id, seconds = -1, 0
            case Failure(status):
                raise self._factors_missing(message) or refused(self._judge.authority, status)
            case _:
                raise self._untrusted(Phrase("its answer is to another kind of question"))
        until = self._judge.now() + timedelta(seconds=seconds)
        self._settle(wait_until=until.isoformat(), poll=request_id)
        return self._poll_in(seconds)

    def _factors_missing(self, message: Message) -> FactorMissing | None:
        """Where that is why it was refused, asking goes on from here once they were passed: nothing was begun."""
        from dojang.cmp.factors import in_words, wanted_in

        wanted = wanted_in(message.header.information)
        if wanted is None:
            return None
        waited = self._judge.now().isoformat() if self._noted("poll") else None
        self._notes.note(sent=None, wait_until=waited)
        return FactorMissing(
            authority=self._judge.authority, missing=in_words(wanted.ways), ways=wanted.ways, passed=wanted.passed
        )

    def _poll_in(self, seconds: float) -> Message:
        seconds = max(seconds, 0)
        if seconds > self._patience.seconds:
            problem = Phrase("it wants to be asked again in {seconds} seconds", seconds=round(seconds))
            raise AnswerPending(authority=self._judge.authority, problem=problem)
        if seconds:
            self._patience.tell(round(seconds))
            self._patience.sleep(seconds)
            self._patience.seconds -= seconds
        return self._ask(Poll((int(self._noted("poll")),)))

    def _settle(self, **facts: Note) -> None:
        """An answer is there, and what follows from it."""
        self._notes.note(sent=None, nonce=self._nonce.hex(), **facts)

    def _noted(self, name: str) -> str:
        value = self._notes.notes.get(name)
        return "" if value is None else str(value)

    def _untrusted(self, problem: str) -> AuthorityUntrusted:
        return AuthorityUntrusted(authority=self._judge.authority, problem=problem)


def _confirmation(granted: Granted, accepted: bool) -> Confirmations:
    """certConf; what is no certificate has no hash, and is rejected without one (RFC 9810 section 5.3.18)."""
    try:
        hashed = certificate_hash(granted.certificate_der)
    except ValueError:
        return Confirmations(())
    status = None if accepted else Status(PkiStatus.REJECTION, (), frozenset((FailInfo.INCORRECT_DATA,)))
    return Confirmations((Confirmation(hashed, granted.request_id, status),))


def _granted(message: Message) -> Granted | None:
    """The one certificate of the answer; ``None`` where there is none, or not yet."""
    match message.body:
        case Certified(_, (Answer(request_id, status, bytes(certificate_der)),), ca_certificates) if status.is_granted:
            return Granted(
                certificate_der,
                request_id,
                changed=status.status == PkiStatus.GRANTED_WITH_MODS,
                implicitly_confirmed=message.header.implicit_confirm,
                ca_certificates=ca_certificates,
                others=message.certificates,
            )
    return None


def _says(message: Message, failure: FailInfo) -> bool:
    return isinstance(message.body, Failure) and failure in message.body.status.failures
