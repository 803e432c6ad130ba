"""The authority's side of CMP: a message in, its answer out; what is remembered between two is in the database."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from dojang.authority.audit import acting
from dojang.authority.conversation.confirming import confirm, give_up
from dojang.authority.conversation.enrolling import enrol, poll
from dojang.authority.conversation.informing import inform
from dojang.authority.conversation.kept import KeptKeys
from dojang.authority.conversation.office import Office
from dojang.authority.conversation.question import Question, check_header, check_nonces
from dojang.authority.conversation.refusals import fault_of
from dojang.authority.conversation.replies import Reply, failure, unprotected
from dojang.authority.conversation.revoking import revoke
from dojang.authority.conversation.senders import Bearer, sender_of_message
from dojang.authority.conversation.transactions import Overtaken, Place, Turn, turn_at
from dojang.cmp.bodies import (
    Certification,
    Confirmations,
    Failure,
    General,
    Kind,
    Other,
    Pkcs10,
    Poll,
    RevocationRequest,
)
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.messages import Header, Message, read_header, read_message
from dojang.errors import DojangError

_log = logging.getLogger(__name__)
_FIRST: Final[Mapping[type, Callable[[Question], Reply]]] = {
    Certification: enrol,
    Pkcs10: enrol,
    RevocationRequest: revoke,
    General: inform,
}
_LATER: Final[Mapping[type, Callable[[Question, Turn], Reply]]] = {Confirmations: confirm, Poll: poll, Failure: give_up}


class Conversation:
    """Answers messages for one authority; many threads and processes may do so at once."""

    def __init__(self, office: Office) -> None:
        self._office, self._kept = office, KeptKeys()

    def answer(
        self,
        request_der: bytes,
        source: str,
        profile: str | None = None,
        tell: Callable[[CmpFault], None] = lambda fault: None,
        show: Callable[[Header], None] = lambda header: None,
        is_private: bool = True,
    ) -> bytes:
        """The answer to any bytes at all. ``source`` is where they come from, ``profile`` what their address names.
        ``is_private`` where nobody on the way could read along.

        Everything that is wrong with the message becomes its answer, and ``tell`` hears of it; so does a token or a
        database that is away. ``show`` is given the message's header, as far as it could be read.
        """
        try:
            message = read_message(request_der)
        except CmpFault as fault:
            show(asked := _header_in(request_der))
            return unprotected(self._office, asked, _fault(fault, tell))
        show(message.header)
        try:
            question = self._question(message, request_der, source, profile, is_private)
        except (CmpFault, DojangError) as error:
            return unprotected(self._office, message.header, _fault(error, tell))
        try:
            with acting(question.sender.actor):
                return self._converse(question)
        except (CmpFault, DojangError) as error:
            return self._refusal(question, _fault(error, tell))
        finally:
            self._let_go(question)

    def _question(
        self, message: Message, request_der: bytes, source: str, profile: str | None, is_private: bool
    ) -> Question:
        """The message with its sender, who has proved to be it."""
        at = self._office.now()
        check_header(message.header, self._office, at)
        sender = sender_of_message(self._office, message, source, self._kept)
        place = Place(message.header.transaction_id or b"", sender.key)
        digest = hashlib.sha256(request_der).digest()
        return Question(self._office, message, request_der, sender, source, at, place, digest, profile, is_private)

    def _converse(self, question: Question) -> bytes:
        sender = question.sender
        last = sender.last if isinstance(sender, Bearer) else self._last(question)
        if last is not None and last.request_hash == question.digest:
            return last.response_der
        try:
            return self._reply(question, last).der
        except Overtaken:
            return self._overtaken(question)

    def _reply(self, question: Question, last: Turn | None) -> Reply:
        body = question.message.body
        if (first := _FIRST.get(type(body))) is not None:
            if last is not None:
                raise CmpFault(FailInfo.TRANSACTION_ID_IN_USE, "the transaction is used for something else")
            check_nonces(question.message.header, None)
            return first(question)
        if (later := _LATER.get(type(body))) is None:
            raise _not_spoken(body)
        if last is None:
            raise CmpFault(FailInfo.BAD_REQUEST, "no such transaction is open")
        check_nonces(question.message.header, last)
        return later(question, last)

    def _overtaken(self, question: Question) -> bytes:
        """Somebody else has answered meanwhile: the same message, or another."""
        last = self._last(question)
        if last is not None and last.request_hash == question.digest:
            return last.response_der
        raise CmpFault(FailInfo.TRANSACTION_ID_IN_USE, "the transaction is used for something else")

    def _last(self, question: Question) -> Turn | None:
        return turn_at(self._office.database, question.place)

    def _let_go(self, question: Question) -> None:
        """The answer is made: the key of who has a code is kept for his next message, unless there is none to come."""
        sender = question.sender
        if isinstance(sender, Bearer):
            if sender.name is None or isinstance(question.message.body, Confirmations | Failure):
                sender.mac.wipe()
            else:
                self._kept.keep(sender.name, sender.mac)

    def _refusal(self, question: Question, fault: CmpFault) -> bytes:
        """Protected as the question was; unprotected where even that cannot be done now."""
        try:
            return question.replies.reply(failure(fault), fault.information).der
        except DojangError:
            return unprotected(self._office, question.message.header, fault)


def _fault(error: CmpFault | DojangError, tell: Callable[[CmpFault], None]) -> CmpFault:
    """What is answered. Trouble of our own is written down where whoever runs this looks for it."""
    fault = error if isinstance(error, CmpFault) else fault_of(error)
    if fault.failure in (FailInfo.SYSTEM_FAILURE, FailInfo.SYSTEM_UNAVAIL):
        _log.warning("a CMP message was not answered: %s", error)
    tell(fault)
    return fault


def _header_in(request_der: bytes) -> Header:
    """The header of a message whose rest is unreadable, so that an answer can repeat it."""
    with suppress(CmpFault):
        return read_header(request_der)
    return Header()


def _not_spoken(body: object) -> CmpFault:
    if isinstance(body, Other) and body.tag == Kind.NESTED:
        return CmpFault(FailInfo.BAD_REQUEST, "nested messages are not taken; send each by itself")
    return CmpFault(FailInfo.BAD_REQUEST, "this kind of message is not for an authority")
