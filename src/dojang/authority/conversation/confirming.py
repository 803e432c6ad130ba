"""certConf: whether the certificate arrived and is taken (RFC 9810, 5.3.18); and errors, which end a conversation."""

import hashlib
import hmac
import json
from typing import TYPE_CHECKING

from dojang.authority.conversation.question import Question
from dojang.authority.conversation.replies import Reply, failure
from dojang.authority.conversation.senders import check_standing
from dojang.authority.conversation.transactions import State, Turn, go_on
from dojang.cmp.bodies import Confirmation, Confirmations, Confirmed
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.macs import HASHES
from dojang.cmp.messages import VERSION_3
from dojang.errors import AuthorityRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection


def confirm(question: Question, last: Turn) -> Reply:
    """Taken: it is confirmed. Rejected: it is revoked. A hash of something else: revoked, and badCertId."""
    body = question.message.body
    assert isinstance(body, Confirmations)
    _check_open(question, last)
    said = _statement(body, last)
    if said is not None and said.is_accepted:
        if not _is_right(said, question, last):
            return _end_badly(question, last)
        return _end_well(question, last)
    return _reject(question, last)


def give_up(question: Question, last: Turn) -> Reply:
    """An error from whoever asked: what he was given and has not confirmed is revoked (RFC 9483 section 3.6.4)."""
    if last.state == "granted":
        return _reject(question, last)
    return question.replies.reply(Confirmed())


def _check_open(question: Question, last: Turn) -> None:
    if last.state in ("confirmed", "done"):
        raise CmpFault(FailInfo.CERT_CONFIRMED, "the certificate was confirmed already")
    if last.state != "granted":
        raise CmpFault(FailInfo.BAD_REQUEST, "there is nothing to confirm in this transaction")


def _statement(body: Confirmations, last: Turn) -> Confirmation | None:
    """What is said of the certificate; nothing at all rejects it."""
    if not body.items:
        return None
    if len(body.items) != 1 or body.items[0].request_id != json.loads(last.details)["request_id"]:
        raise CmpFault(FailInfo.BAD_REQUEST, "the confirmation is about something that was not asked for")
    return body.items[0]


def _is_right(said: Confirmation, question: Question, last: Turn) -> bool:
    """Whether the hash is that of the certificate that was sent."""
    if said.hash_algorithm is None:
        return hmac.compare_digest(bytes.fromhex(json.loads(last.details)["hash"]), said.certificate_hash)
    if question.message.header.version != VERSION_3:
        raise CmpFault(FailInfo.BAD_REQUEST, "hashAlg is for version 3 of the protocol")
    name = HASHES.get(said.hash_algorithm)
    if name is None or name == "sha1":
        raise CmpFault(FailInfo.BAD_ALG, "the algorithm {algorithm} is not known here", algorithm=said.hash_algorithm)
    der = question.office.certificate_der(last.serial or "")
    return hmac.compare_digest(hashlib.new(name, der).digest(), said.certificate_hash)


def _end_well(question: Question, last: Turn) -> Reply:
    reply = question.replies.reply(Confirmed())
    turn = _turn(question, last, "confirmed", reply)
    place, at = question.place, question.at

    def entry(connection: "Connection") -> None:
        check_standing(connection, question.sender)
        go_on(connection, place, last, turn, at)

    try:
        question.office.confirm(place.text, entry)
    except AuthorityRefused as error:
        raise CmpFault(FailInfo.CERT_REVOKED, "the certificate cannot be confirmed any more") from error
    return reply


def _reject(question: Question, last: Turn) -> Reply:
    return _cancel(question, last, question.replies.reply(Confirmed()))


def _end_badly(question: Question, last: Turn) -> Reply:
    fault = CmpFault(FailInfo.BAD_CERT_ID, "certHash is not that of the certificate, which is revoked now")
    return _cancel(question, last, question.replies.reply(failure(fault)))


def _cancel(question: Question, last: Turn, reply: Reply) -> Reply:
    turn = _turn(question, last, "rejected", reply)
    place, at = question.place, question.at
    question.office.cancel(place.text, lambda connection: go_on(connection, place, last, turn, at))
    return reply


def _turn(question: Question, last: Turn, state: State, reply: Reply) -> Turn:
    return question.turn(state, last.kind, reply, last.serial, last.details)
