"""ir, cr, p10cr and kur: a certificate, or word that it needs time (RFC 9483 section 4.1).

ir, cr, p10cr under a code      the first certificate of an enrolment, by the enrolment's terms
kur, signed                     the successor of the signer's certificate
cr, p10cr, signed               another key in its place: a reissue, which ends the signer's certificate; or, where the
                                profile has ``several`` and oldCertID names none, another certificate beside it
"""

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING

from dojang.authority.base import Entry
from dojang.authority.conversation.office import Order
from dojang.authority.conversation.question import Question
from dojang.authority.conversation.replies import Reply
from dojang.authority.conversation.senders import Bearer, Holder, check_holder, check_standing
from dojang.authority.conversation.transactions import Overtaken, Turn, begin, go_on, make_room
from dojang.authority.conversation.wishes import PKCS10_ID, Wish, wish_in
from dojang.authority.terms import chosen_years
from dojang.cmp.bodies import Answer, Certified, Kind, Poll, Status, Wait, Waiting
from dojang.cmp.faults import CmpFault, FailInfo, PkiStatus
from dojang.cmp.messages import confirm_wait, implicit_confirm, read_message
from dojang.cmp.signatures import certificate_hash, loaded
from dojang.errors import CodeRefused
from dojang.x509.alternative_names import alternative_names_of, parse_alternative_names
from dojang.x509.name import parse_name
from dojang.x509.request import CertificateRequest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dojang.secret import Secret
    from dojang.x509.profiles import Profile

_PENDING = ("drafted", "waiting")


def enrol(question: Question) -> Reply:
    """The answer to a request that is new."""
    return _answer(question, wish_in(question.message, question.profile, _secret_of(question)), None)


def poll(question: Question, last: Turn) -> Reply:
    """pollReq: the answer to what was told to wait, if there is one by now."""
    body = question.message.body
    assert isinstance(body, Poll)
    if last.state != "waiting":
        raise CmpFault(FailInfo.BAD_REQUEST, "nothing waits in this transaction")
    kept = json.loads(last.details)
    wish = wish_in(read_message(b64decode(kept["request"])), kept["profile"], _secret_of(question))
    if body.request_ids not in ((wish.request_id,), (PKCS10_ID,)):
        raise CmpFault(FailInfo.BAD_REQUEST, "nothing waits under this certReqId")
    return _answer(question, wish, last)


def _secret_of(question: Question) -> "Secret | None":
    return question.sender.secret if isinstance(question.sender, Bearer) else None


def _answer(question: Question, wish: Wish, last: Turn | None) -> Reply:
    try:
        order = _order(question, wish)
    except CodeRefused as error:
        if error.facts["state"] not in _PENDING:
            raise
        return _ask_to_wait(question, wish, last)
    return _issue(question, wish, order, last)


def _order(question: Question, wish: Wish) -> Order:
    """Raises ``CmpFault``, and ``CodeRefused`` for a code that is not to be used, or not yet."""
    sender = question.sender
    order = _first(question, sender, wish) if isinstance(sender, Bearer) else _next(question, sender, wish)
    if wish.profile is not None and wish.profile != order.profile:
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "another profile is asked for than the one that is due")
    return order


def _first(question: Question, sender: Bearer, wish: Wish) -> Order:
    """By the terms of the enrolment: of the request only the key counts."""
    if wish.kind == Kind.KUR:
        raise CmpFault(FailInfo.WRONG_INTEGRITY, "a key update is signed with the old key")
    if wish.replaces is not None:
        raise CmpFault(FailInfo.BAD_CERT_ID, "a code is for a first certificate, which replaces none")
    sender.offer.check()
    terms = sender.offer.terms
    assert terms is not None  # of a code that may be used
    names = tuple(parse_alternative_names(terms.alternative_names) or ())
    return Order(
        kind="issue",
        request=CertificateRequest(parse_name(terms.subject), wish.request.public_key, names),
        request_der=wish.request_der,
        profile=terms.profile,
        transaction_id=question.place.text,
        years=terms.years,
        reference=sender.reference,
        confirmed=_is_implicit(question, wish),
    )


def _next(question: Question, sender: Holder, wish: Wish) -> Order:
    """What comes after the signer's certificate: the same subject, where the request leaves that open."""
    if wish.kind == Kind.IR:
        raise CmpFault(FailInfo.WRONG_INTEGRITY, "a first request is protected with a code")
    check_holder(question.office, sender)
    certificate, named = sender.certificate, wish.replaces
    if named is not None and (named.issuer, named.serial) != (certificate.issuer, certificate.serial_number):
        raise CmpFault(FailInfo.BAD_CERT_ID, "oldCertID is not the signer's certificate")
    several = question.office.several(sender.known.profile) if wish.kind != Kind.KUR and named is None else None
    if several is not None:
        return _another(question, sender, wish, several)
    subject = wish.request.subject if list(wish.request.subject) else certificate.subject
    return Order(
        kind="renew" if wish.kind == Kind.KUR else "reissue",
        request=replace(wish.request, subject=subject),
        request_der=wish.request_der,
        profile=sender.known.profile,
        transaction_id=question.place.text,
        replaces_der=sender.known.certificate_der,
        confirmed=_is_implicit(question, wish),
    )


def _another(question: Question, sender: Holder, wish: Wish, profile: "Profile") -> Order:
    """A certificate of its own, for a whole term as the signer's was (RFC 9483 section 4.1.2), under the same names.

    What a renewal or a reissue would have to keep is not got round by it: a key has no second term where the profile
    gives it none, and whoever must pass factors for a certificate has a code or an old certificate to pass them for.
    """
    own, request, office = sender.certificate, wish.request, question.office
    names = alternative_names_of(own)
    if any(office.factors.policy.wanted(profile, kind) for kind in ("issue", "reissue")):
        raise CmpFault(FailInfo.NOT_AUTHORIZED, "factors are asked for, so another certificate needs a code")
    if not profile.keep_key_allowed and office.is_certified(request.public_key):
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "another certificate needs a new key")
    if list(request.subject) and request.subject != own.subject:
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "another certificate is for the same subject")
    if request.alternative_names and set(request.alternative_names) != set(names):
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "another certificate has the same alternative names")
    return Order(
        kind="issue",
        request=CertificateRequest(own.subject, request.public_key, names),
        request_der=wish.request_der,
        profile=profile.name,
        transaction_id=question.place.text,
        years=chosen_years(profile, None, own),
        confirmed=_is_implicit(question, wish),
    )


def _is_implicit(question: Question, wish: Wish) -> bool:
    return wish.implicit_confirm and question.office.settings.implicit_confirm


def _issue(question: Question, wish: Wish, order: Order, last: Turn | None) -> Reply:
    # What is tried in a transaction may be rolled back and tried again: only the certificate on record has an answer.
    replies: dict[bytes, Reply] = {}

    def entry(certificate_der: bytes) -> Entry:
        reply = replies[certificate_der] = _granted(question, wish, order, certificate_der)
        serial = f"{loaded(certificate_der).serial_number:x}"
        kept = json.dumps({"request_id": wish.request_id, "hash": certificate_hash(certificate_der).hex()})
        turn = question.turn("done" if order.confirmed else "granted", wish.kind.name.lower(), reply, serial, kept)
        write = _entry(question, turn, last)

        def check_and_write(connection: "Connection") -> None:
            check_standing(connection, question.sender)
            write(connection)

        return check_and_write

    reply = replies.get(question.office.issue(order, entry))
    if reply is None:
        raise Overtaken
    return reply


def _entry(question: Question, turn: Turn, last: Turn | None) -> Entry:
    if last is None:
        return lambda connection: begin(connection, question.place, turn, question.at)
    return lambda connection: go_on(connection, question.place, last, turn, question.at)


def _granted(question: Question, wish: Wish, order: Order, certificate_der: bytes) -> Reply:
    """The certificate with its chain. A root is believed only by who has a code (RFC 9483 section 4.1.1)."""
    status = Status(PkiStatus.GRANTED_WITH_MODS if _differs(wish, order) else PkiStatus.ACCEPTED)
    chain = question.office.chain_der()
    roots = chain[-1:] if isinstance(question.sender, Bearer) else ()
    wait = confirm_wait(question.at + question.office.confirm_term)
    information = implicit_confirm() if order.confirmed else wait
    body = Certified(wish.answer_kind, (Answer(wish.request_id, status, certificate_der),), roots)
    return question.replies.reply(body, (information,), chain[:-1] or chain)


def _differs(wish: Wish, order: Order) -> bool:
    """Whether the certificate is not quite what was asked for."""
    asked, given = wish.request, order.request
    renamed = bool(list(asked.subject)) and asked.subject != given.subject
    return renamed or not set(asked.alternative_names) <= set(given.alternative_names)


def _ask_to_wait(question: Question, wish: Wish, last: Turn | None) -> Reply:
    """The request is kept as it came; asked again, an answer may be there. Of those under one code, the last few are
    kept.
    """
    kind = wish.kind.name.lower()
    if last is None:
        status = Status(PkiStatus.WAITING, ("the enrolment waits for approval",))
        reply = question.replies.reply(Certified(wish.answer_kind, (Answer(wish.request_id, status),)))
        kept = json.dumps({"request": b64encode(question.request_der).decode(), "profile": question.profile})
        turn = question.turn("waiting", kind, reply, details=kept)
    else:
        wait = Wait(wish.request_id, question.office.settings.poll_seconds)
        reply = question.replies.reply(Waiting((wait,)))
        turn = question.turn("waiting", kind, reply, details=last.details)
    write, most = _entry(question, turn, last), question.office.settings.waiting_requests

    def make_room_and_write(connection: "Connection") -> None:
        if last is None:
            make_room(connection, question.place.sender, most)
        write(connection)

    question.office.database.together(make_room_and_write)
    return reply
