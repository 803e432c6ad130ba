"""rr: a certificate revoked at the word of its own key, or of the code that it was issued for (RFC 9483, 4.2)."""

from dojang.authority.conversation.office import Known
from dojang.authority.conversation.question import Question
from dojang.authority.conversation.replies import Reply, status_of
from dojang.authority.conversation.senders import Bearer, check_holder
from dojang.authority.conversation.transactions import begin
from dojang.cmp.bodies import Revocation, RevocationRequest, Revoked, Status
from dojang.cmp.crmf import CertificateId
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.der import OCTET_STRING, SEQUENCE, MalformedDer, children, oid, parse

_REASON = oid("2.5.29.21")
_ENUMERATED = 0x0A
_REASONS = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    9: "privilegeWithdrawn",
}


def revoke(question: Question) -> Reply:
    """Done when the answer leaves. What was revoked before is a certRevoked."""
    body = question.message.body
    assert isinstance(body, RevocationRequest)
    if len(body.details) != 1:
        raise CmpFault(FailInfo.BAD_REQUEST, "one certificate is revoked at a time")
    named = _named(body.details[0])
    known = question.office.named(named.issuer, named.serial)
    try:
        _check(question, known)
        reason = reason_in(body.details[0])
    except CmpFault as fault:
        return question.replies.reply(Revoked((status_of(fault),), (named,)))
    assert known is not None
    reply = question.replies.reply(Revoked((Status(),), (named,)))
    turn, place, at = question.turn("done", "rr", reply, known.serial), question.place, question.at
    if reason == "certificateHold":
        # A hold can be lifted, and the same message, which need not say its time, must not bring it back.
        turn = turn._replace(expires_at=max(turn.expires_at, known.certificate.not_valid_after_utc))
    question.office.revoke(known.serial, reason, lambda connection: begin(connection, place, turn, at))
    return reply


def _named(details: Revocation) -> CertificateId:
    template = details.template
    if template.issuer is None or template.serial is None:
        raise CmpFault(FailInfo.ADD_INFO_NOT_AVAILABLE, "issuer and serial of the certificate are needed")
    return CertificateId(template.issuer, template.serial)


def _check(question: Question, known: Known | None) -> None:
    """Whether this sender may have it revoked, and whether it can be."""
    sender = question.sender
    if known is None:
        raise CmpFault(FailInfo.BAD_CERT_ID, "the certificate was not issued here")
    own = known.reference == sender.reference if isinstance(sender, Bearer) else known.serial == sender.known.serial
    if not own:
        raise CmpFault(FailInfo.NOT_AUTHORIZED, "only its holder may have a certificate revoked")
    if known.state == "revoked":
        raise CmpFault(FailInfo.CERT_REVOKED, "the certificate is revoked already")
    if not isinstance(sender, Bearer) and known.state != "suspended":
        check_holder(question.office, sender)


def reason_in(details: Revocation) -> str:
    """The reasonCode as RFC 5280 spells it. Raises ``CmpFault`` with badRequest."""
    found = [number for number in map(_reason_number, details.extensions_der) if number is not None]
    if not found:
        return "unspecified"
    if len(found) > 1 or found[0] not in _REASONS:
        raise CmpFault(FailInfo.BAD_REQUEST, "the reason is none for which a certificate is revoked here")
    return _REASONS[found[0]]


def _reason_number(extension_der: bytes) -> int | None:
    """The number in a reasonCode extension, ``None`` for another extension."""
    try:
        parts = children(parse(extension_der, SEQUENCE))
        if not parts or parts[0].der != _REASON or parts[-1].tag != OCTET_STRING:
            return None
        content = parse(parts[-1].content, _ENUMERATED).content
    except MalformedDer as error:
        raise CmpFault(FailInfo.BAD_DATA_FORMAT, "the message cannot be decoded") from error
    return int.from_bytes(content, "big")
