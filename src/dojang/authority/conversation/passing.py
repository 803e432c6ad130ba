"""Factors over CMP: what is wanted for a key that will be certified, codes on their way, and the answers to them.

A message that takes a code, or has one sent, is answered once: what comes again gets the same answer, but for the
digits to be pressed in a call, which are kept nowhere as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cryptography import x509

from dojang.authority.base import Kind, Submission
from dojang.authority.conversation.question import Question
from dojang.authority.conversation.replies import Reply
from dojang.authority.conversation.senders import Bearer, Sender
from dojang.authority.conversation.transactions import begin
from dojang.cmp.bodies import General, Information
from dojang.cmp.bodies import Kind as BodyKind
from dojang.cmp.factors import FACTOR_ANSWERED, FACTOR_PREPARED, FACTORS_WANTED, FactorRequest
from dojang.cmp.faults import CmpFault, FailInfo

if TYPE_CHECKING:
    from dojang.authority.factors.desk import Sitting

_LONGEST_KEY: Final = 4096
_CALL: Final = "ars"
_Found = tuple[Information, Information | None]
"""What is answered, and what is kept of it for a message that comes again; nothing where asking again costs nothing."""
_LATER: Final[Mapping[str, Kind]] = {"renew": "renew", "reissue": "reissue"}


def is_about_factors(items: tuple[Information, ...]) -> bool:
    """Whether a message asks for one of these; it asks for nothing else then."""
    return len(items) == 1 and items[0].kind in _ANSWERS


def pass_factors(question: Question) -> Reply:
    """The answer to the only question in the message, on record where asking twice would cost something."""
    body = question.message.body
    assert isinstance(body, General)
    (item,) = body.items
    asked = FactorRequest.from_der(item.value_der)
    if len(asked.spki_der) > _LONGEST_KEY:
        raise CmpFault(FailInfo.BAD_DATA_FORMAT, "the message cannot be decoded")
    found, kept = _ANSWERS[item.kind](question, asked, _sitting(question, asked))
    reply = question.replies.reply(General(BodyKind.GENP, (found,)))
    if kept is not None:
        again = reply if kept is found else question.replies.reply(General(BodyKind.GENP, (kept,)))
        turn = question.turn("done", "genm", again)
        question.office.database.together(lambda connection: begin(connection, question.place, turn, question.at))
    return reply


def _sitting(question: Question, asked: FactorRequest) -> "Sitting":
    submission = _submission(question.sender, asked.occasion)
    return question.office.factors.sit(submission, x509.Name([]), asked.spki_der, question.source)


def _submission(sender: Sender, occasion: str) -> Submission:
    """What is going to be asked for: the terms of the code, or the successor of the signer's certificate."""
    if isinstance(sender, Bearer):
        sender.offer.check()
        terms = sender.offer.terms
        assert terms is not None  # of a code that may be used
        if occasion != "issue":
            raise CmpFault(FailInfo.BAD_REQUEST, "a code is for a first certificate, which replaces none")
        return Submission("issue", b"", terms.profile, "-", enrolment=sender.reference)
    if occasion not in _LATER:
        raise CmpFault(FailInfo.BAD_REQUEST, "a first request is protected with a code")
    known = sender.known
    return Submission(_LATER[occasion], b"", known.profile, "-", replaces_der=known.certificate_der)


def _wanted(question: Question, asked: FactorRequest, sitting: "Sitting") -> _Found:
    """Where others can read along, not with what the applicant has and how he is reached."""
    wanted = sitting.wanted()
    return (wanted if question.is_private else replace(wanted, offers=())).information(), None


def _prepared(question: Question, asked: FactorRequest, sitting: "Sitting") -> _Found:
    _check_private(question)  # the digits to be pressed in a call are in the answer
    prepared = sitting.prepare(_factor(asked), asked.device)
    found = prepared.information()
    return found, replace(prepared, digits=None).information() if prepared.factor == _CALL else found


def _answered(question: Question, asked: FactorRequest, sitting: "Sitting") -> _Found:
    _check_private(question)
    found = sitting.answer(_factor(asked), asked.code, asked.device).information()
    return found, found


def _factor(asked: FactorRequest) -> str:
    if asked.factor is None:
        raise CmpFault(FailInfo.BAD_REQUEST, "the message names no factor")
    return asked.factor


def _check_private(question: Question) -> None:
    if not question.is_private:
        raise CmpFault(FailInfo.NOT_AUTHORIZED, "codes are taken over TLS only, for others could read them here")


_ANSWERS: Final[Mapping[str, Callable[[Question, FactorRequest, "Sitting"], _Found]]] = {
    FACTORS_WANTED: _wanted,
    FACTOR_PREPARED: _prepared,
    FACTOR_ANSWERED: _answered,
}
