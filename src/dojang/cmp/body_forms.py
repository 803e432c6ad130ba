"""How each kind of body stands on the wire (RFC 9810 section 5.3)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from cryptography.hazmat.asn1 import BitString, Null

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
    Kind,
    Other,
    Pkcs10,
    Poll,
    Revocation,
    RevocationRequest,
    Revoked,
    Status,
    Wait,
    Waiting,
)
from dojang.cmp.crmf import (
    CertificateId,
    certificate_id_of,
    read_certificate_id,
    read_requests,
    template_as_written,
    template_of,
    write_requests,
)
from dojang.cmp.faults import FailInfo, failure_bits, failures_in
from dojang.cmp.schema import (
    CertRepMessage,
    CertResponse,
    CertStatus,
    CertStatuses,
    ErrorContent,
    PollAnswer,
    PollAnswers,
    PollQuestion,
    PollQuestions,
    RevocationDetails,
    Revocations,
    RevRepContent,
    StatusInfo,
    TypedValue,
    TypedValues,
    decode,
    decode_list,
    der_of,
    encode,
    encode_list,
    few,
    malformed,
    oid_of,
    tlv_of,
    typed,
    value_of,
)
from dojang.der import NULL, SEQUENCE, oid, tlv


def read_body(tag: int, content_der: bytes) -> Body:
    """Raises ``CmpFault``, nearly always badDataFormat."""
    reader = _READERS.get(tag)
    return Other(tag, content_der) if reader is None else reader(content_der)


def write_body(body: Body) -> tuple[int, bytes]:
    """The tag of the body and its content in DER."""
    match body:
        case Certification(kind, requests):
            return kind, write_requests(requests)
        case Pkcs10(request_der):
            return Kind.P10CR, request_der
        case Certified(kind, answers, certificates):
            return kind, _certified_der(answers, certificates)
        case General(kind, items):
            return kind, encode_list(TypedValues(items=[typed_of(item) for item in items]))
        case _:
            return _write_other(body)


def _write_other(body: Body) -> tuple[int, bytes]:
    match body:
        case RevocationRequest(details):
            return Kind.RR, encode_list(Revocations(items=[_details_of(one) for one in details]))
        case Revoked(statuses, certificates):
            return Kind.RP, encode(_revoked_of(statuses, certificates))
        case Failure(status, code, details):
            content = ErrorContent(status=status_of(status), code=code, details=list(details) or None)
            return Kind.ERROR, encode(content)
        case Confirmations(items):
            return Kind.CERTCONF, encode_list(CertStatuses(items=[_confirmation_of(one) for one in items]))
        case Confirmed():
            return Kind.PKICONF, tlv(NULL)
        case Poll(request_ids):
            return Kind.POLLREQ, encode_list(PollQuestions(items=[PollQuestion(request_id=one) for one in request_ids]))
        case Waiting(items):
            return Kind.POLLREP, encode_list(PollAnswers(items=[_wait_of(one) for one in items]))
        case Other(tag, content_der):
            return tag, content_der
    raise AssertionError(f"no such body: {body}")


def status_of(status: Status) -> StatusInfo:
    """PKIStatusInfo as it is written."""
    bits = BitString(*failure_bits(status.failures)) if status.failures else None
    return StatusInfo(status=int(status.status), text=list(status.text) or None, failure=bits)


def typed_of(item: Information) -> TypedValue:
    """InfoTypeAndValue as it is written."""
    return typed(oid(item.kind), item.value_der)


def information_in(values: Sequence[TypedValue]) -> tuple[Information, ...]:
    """Raises ``CmpFault`` with badDataFormat."""
    return tuple(Information(oid_of(one), value_of(one)) for one in few(values))


def _status(found: StatusInfo) -> Status:
    bits = found.failure
    failures = frozenset[FailInfo]() if bits is None else failures_in(bits.as_bytes(), bits.padding_bits())
    return Status(found.status, tuple(found.text or ()), failures)


def _read_certification(kind: Kind, content: bytes) -> Body:
    return Certification(kind, read_requests(content))


def _read_pkcs10(content: bytes) -> Body:
    return Pkcs10(content)


def _read_certified(kind: Kind, content: bytes) -> Body:
    found = decode(CertRepMessage, content)
    return Certified(kind, tuple(map(_answer, found.responses)), tuple(map(der_of, found.ca_certificates or ())))


def _answer(found: CertResponse) -> Answer:
    certificate = None
    if found.key_pair is not None:
        if found.key_pair.certificate.tag_bytes != b"\xa0":
            raise malformed()
        certificate = der_of(tlv_of(found.key_pair.certificate.data))
    return Answer(found.request_id, _status(found.status), certificate)


def _certified_der(answers: Iterable[Answer], certificates: Sequence[bytes]) -> bytes:
    """``CertRepMessage``, put together by hand: every certificate leaves in one."""
    responses = tlv(SEQUENCE, *map(_answer_der, answers))
    return tlv(SEQUENCE, tlv(0xA1, tlv(SEQUENCE, *certificates)) if certificates else b"", responses)


def _answer_der(answer: Answer) -> bytes:
    key_pair = b"" if answer.certificate_der is None else tlv(SEQUENCE, tlv(0xA0, answer.certificate_der))
    return tlv(SEQUENCE, encode(answer.request_id), encode(status_of(answer.status)), key_pair)


def _read_revocations(content: bytes) -> Body:
    found = few(decode_list(Revocations, content).items)
    return RevocationRequest(
        tuple(Revocation(template_of(one.template), tuple(map(der_of, few(one.extensions or ())))) for one in found)
    )


def _details_of(one: Revocation) -> RevocationDetails:
    extensions = [tlv_of(extension) for extension in one.extensions_der]
    return RevocationDetails(template=template_as_written(one.template), extensions=extensions or None)


def _read_revoked(content: bytes) -> Body:
    found = decode(RevRepContent, content)
    return Revoked(tuple(map(_status, found.status)), tuple(map(read_certificate_id, found.certificates or ())))


def _revoked_of(statuses: Iterable[Status], certificates: Iterable[CertificateId]) -> RevRepContent:
    named = [certificate_id_of(one) for one in certificates]
    return RevRepContent(status=[status_of(one) for one in statuses], certificates=named or None, lists=None)


def _read_general(kind: Kind, content: bytes) -> Body:
    return General(kind, information_in(decode_list(TypedValues, content).items))


def _read_failure(content: bytes) -> Body:
    found = decode(ErrorContent, content)
    return Failure(_status(found.status), found.code, tuple(found.details or ()))


def _read_confirmations(content: bytes) -> Body:
    return Confirmations(tuple(map(_confirmation, few(decode_list(CertStatuses, content).items))))


def _confirmation(found: CertStatus) -> Confirmation:
    algorithm = None if found.hash_algorithm is None else oid_of(found.hash_algorithm)
    status = None if found.status is None else _status(found.status)
    return Confirmation(found.certificate_hash, found.request_id, status, algorithm)


def _confirmation_of(one: Confirmation) -> CertStatus:
    return CertStatus(
        certificate_hash=one.certificate_hash,
        request_id=one.request_id,
        status=None if one.status is None else status_of(one.status),
        hash_algorithm=None if one.hash_algorithm is None else typed(oid(one.hash_algorithm)),
    )


def _read_confirmed(content: bytes) -> Body:
    decode(Null, content)
    return Confirmed()


def _read_poll(content: bytes) -> Body:
    return Poll(tuple(one.request_id for one in few(decode_list(PollQuestions, content).items)))


def _read_waiting(content: bytes) -> Body:
    found = decode_list(PollAnswers, content).items
    return Waiting(tuple(Wait(one.request_id, one.check_after, tuple(one.reason or ())) for one in found))


def _wait_of(one: Wait) -> PollAnswer:
    return PollAnswer(request_id=one.request_id, check_after=one.seconds, reason=list(one.reason) or None)


_READERS: Mapping[int, Callable[[bytes], Body]] = {
    **{kind: partial(_read_certification, kind) for kind in (Kind.IR, Kind.CR, Kind.KUR)},
    **{kind: partial(_read_certified, kind) for kind in (Kind.IP, Kind.CP, Kind.KUP)},
    **{kind: partial(_read_general, kind) for kind in (Kind.GENM, Kind.GENP)},
    Kind.P10CR: _read_pkcs10,
    Kind.RR: _read_revocations,
    Kind.RP: _read_revoked,
    Kind.PKICONF: _read_confirmed,
    Kind.ERROR: _read_failure,
    Kind.CERTCONF: _read_confirmations,
    Kind.POLLREQ: _read_poll,
    Kind.POLLREP: _read_waiting,
}
