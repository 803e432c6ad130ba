"""genm: what the authority tells whoever has a code or a certificate of it (RFC 9483 section 4.3)."""

from collections.abc import Callable, Mapping

from cryptography import x509

from dojang.authority.conversation.passing import is_about_factors, pass_factors
from dojang.authority.conversation.question import Question
from dojang.authority.conversation.replies import Reply
from dojang.authority.conversation.senders import Holder, check_holder
from dojang.authority.new_root import ROOT_CA_CERT, ROOT_CA_KEY_UPDATE
from dojang.cmp.bodies import General, Information, Kind
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.schema import ListStatuses, RootUpdate, decode_list, encode
from dojang.cmp.signatures import ALGORITHMS
from dojang.der import NULL, SEQUENCE, oid, tlv

CA_PROT_ENC_CERT = "1.3.6.1.5.5.7.4.1"
SIGN_KEY_PAIR_TYPES = "1.3.6.1.5.5.7.4.2"
CURRENT_CRL = "1.3.6.1.5.5.7.4.6"
CA_CERTS = "1.3.6.1.5.5.7.4.17"
CERT_REQ_TEMPLATE = "1.3.6.1.5.5.7.4.19"
CRL_STATUS_LIST = "1.3.6.1.5.5.7.4.22"
CRLS = "1.3.6.1.5.5.7.4.23"
_MOST_QUESTIONS = 16
_DISTRIBUTION_POINT = 0xA0
_RSA = "1.2.840.113549.1.1."


def inform(question: Question) -> Reply:
    """Every question has its answer, which may be that there is nothing; badRequest for what is not understood."""
    body = question.message.body
    assert isinstance(body, General)
    if body.kind != Kind.GENM:
        raise CmpFault(FailInfo.BAD_REQUEST, "this kind of message is not for an authority")
    if isinstance(question.sender, Holder):
        check_holder(question.office, question.sender)
    if is_about_factors(body.items):
        return pass_factors(question)
    if not 1 <= len(body.items) <= _MOST_QUESTIONS:
        raise CmpFault(FailInfo.BAD_REQUEST, "there are no questions in the message, or too many")
    return question.replies.reply(General(Kind.GENP, tuple(_answer(question, item) for item in body.items)))


def _answer(question: Question, item: Information) -> Information:
    answer = _ANSWERS.get(item.kind)
    if answer is None:
        raise CmpFault(FailInfo.ADD_INFO_NOT_AVAILABLE, "nothing is known here about {kind}", kind=item.kind)
    return answer(question, item)


def _ca_certificates(question: Question, item: Information) -> Information:
    """The authority's certificates but for the root, which nobody believes for being sent."""
    chain = question.office.chain_der()
    return Information(CA_CERTS, tlv(SEQUENCE, *(chain[:-1] or chain)))


def _root_update(question: Question, item: Information) -> Information:
    """What came in the place of the root that the asker has; of the oldest where he does not say."""
    found = question.office.root_update(item.value_der)
    if found is None:
        return Information(ROOT_CA_KEY_UPDATE)
    new, with_old, with_new = (
        None if der is None else x509.load_der_x509_certificate(der)
        for der in (found.new_with_new_der, found.new_with_old_der, found.old_with_new_der)
    )
    assert new is not None
    content = RootUpdate(new_with_new=new, new_with_old=with_old, old_with_new=with_new)
    return Information(ROOT_CA_KEY_UPDATE, encode(content))


def _nothing(question: Question, item: Information) -> Information:
    """Keys that encrypt are not made, and what is wanted in a request the profile and the enrolment say."""
    return Information(item.kind)


def _key_types(question: Question, item: Information) -> Information:
    """The signature algorithms that are accepted."""
    kinds = [encode_algorithm(kind) for kind in ALGORITHMS]
    return Information(SIGN_KEY_PAIR_TYPES, tlv(SEQUENCE, *kinds))


def encode_algorithm(kind: str) -> bytes:
    """AlgorithmIdentifier; with RSA the parameters are NULL."""
    return tlv(SEQUENCE, oid(kind), tlv(NULL) if kind.startswith(_RSA) else b"")


def _current_list(question: Question, item: Information) -> Information:
    lists = question.office.lists_der()
    return Information(CURRENT_CRL, lists[0] if lists else None)


def _newer_lists(question: Question, item: Information) -> Information:
    """Of each issuer or distribution point that is named the list, where it is newer than the one that is there."""
    asked = decode_list(ListStatuses, item.value_der or b"\x30\x00").items
    lists = [(der, x509.load_der_x509_crl(der)) for der in question.office.lists_der()]
    found = [
        der
        for der, known in lists
        if any(
            _is_about(bytes(one.source.tag_bytes), bytes(one.source.data), known)
            and (one.this_update is None or one.this_update.as_datetime() < known.last_update_utc)
            for one in asked
        )
    ]
    return Information(CRLS, tlv(SEQUENCE, *found) if found else None)


def _is_about(tag: bytes, source: bytes, known: x509.CertificateRevocationList) -> bool:
    """A distribution point is one of ours, or a question about somebody else's list; an issuer is compared."""
    if tag == bytes((_DISTRIBUTION_POINT,)):
        return True
    return known.issuer.public_bytes() in source


_ANSWERS: Mapping[str, Callable[[Question, Information], Information]] = {
    CA_CERTS: _ca_certificates,
    ROOT_CA_CERT: _root_update,
    CA_PROT_ENC_CERT: _nothing,
    CERT_REQ_TEMPLATE: _nothing,
    SIGN_KEY_PAIR_TYPES: _key_types,
    CURRENT_CRL: _current_list,
    CRL_STATUS_LIST: _newer_lists,
}
