"""What a message asks for: one certificate, for a key that the asker has proved to hold."""

from typing import TYPE_CHECKING, NamedTuple

from dojang.cmp.bodies import Certification, Kind, Pkcs10
from dojang.cmp.crmf import CertificateId, RequestMessage
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.messages import Message
from dojang.cmp.proof import certificate_request, verify_proof
from dojang.errors import FileMalformed
from dojang.x509.request import CertificateRequest

if TYPE_CHECKING:
    from dojang.secret import Secret

PKCS10_ID = -1
"""certReqId of the answer to a request that has none (RFC 9810 section 5.3.4)."""
_ANSWERS = {Kind.IR: Kind.IP, Kind.CR: Kind.CP, Kind.KUR: Kind.KUP, Kind.P10CR: Kind.CP}


class Wish(NamedTuple):
    """One certificate that is asked for. ``replaces`` is what the asker says it comes after."""

    kind: Kind
    request_id: int
    request: CertificateRequest
    request_der: bytes
    replaces: CertificateId | None
    implicit_confirm: bool
    profile: str | None

    @property
    def answer_kind(self) -> Kind:
        return _ANSWERS[self.kind]


def wish_in(message: Message, profile: str | None, secret: "Secret | None") -> Wish:
    """``profile`` is named by the address that the message came to; ``secret`` is that of a code.

    Raises ``CmpFault``: badPOP, badCertTemplate, badRequest …
    """
    body, header = message.body, message.header
    named = _profile_in(header.profiles, profile)
    if isinstance(body, Pkcs10):
        request = _proved(body.request_der)
        return Wish(Kind.P10CR, PKCS10_ID, request, body.request_der, None, header.implicit_confirm, named)
    assert isinstance(body, Certification)
    asked = _only(body.requests)
    verify_proof(asked, secret=secret, sender_der=header.sender_der)
    request = certificate_request(asked)
    return Wish(
        body.kind, asked.request_id, request, asked.to_der(), asked.old_certificate, header.implicit_confirm, named
    )


def _profile_in(said: tuple[str, ...], addressed: str | None) -> str | None:
    names = {*said, *([addressed] if addressed else [])}
    if len(names) > 1:
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "the message names two profiles")
    return next(iter(names), None)


def _only(requests: tuple[RequestMessage, ...]) -> RequestMessage:
    if len(requests) != 1:
        raise CmpFault(FailInfo.BAD_REQUEST, "one certificate is asked for at a time")
    return requests[0]


def _proved(request_der: bytes) -> CertificateRequest:
    try:
        return CertificateRequest.from_pkcs10(request_der)
    except FileMalformed as error:
        raise CmpFault(FailInfo.BAD_POP, "the request does not prove possession of the key") from error
