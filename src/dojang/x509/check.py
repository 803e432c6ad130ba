"""Does the certificate that came back answer the request that was sent?"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from cryptography import x509

from dojang.errors import AnswerMismatch, FileMalformed, Phrase
from dojang.x509.alternative_names import alternative_names_of, format_alternative_names
from dojang.x509.keys import same_key
from dojang.x509.name import format_name
from dojang.x509.path import check_path
from dojang.x509.reading import UNREADABLE, read_certificate
from dojang.x509.request import CertificateRequest


def check_issued(
    certificate_der: bytes,
    *,
    request: CertificateRequest,
    chain_der: Iterable[bytes],
    anchors_der: Iterable[bytes] = (),
    at: datetime,
    subject: x509.Name | None = None,
) -> None:
    """Return when the certificate answers the request: key, names, validity at ``at``, and a chain of sound signatures.

    Without anchors the top of ``chain_der`` is taken for one. ``subject`` stands in for the request's where the
    authority chooses it. Raises ``AnswerMismatch`` with every problem found.
    """
    try:
        certificate, chain = read_certificate(certificate_der), list(chain_der)
        anchors = list(anchors_der) or [der for der in chain if _is_top(read_certificate(der))] or chain[-1:]
        problems = [
            *_unlike_request(certificate, request, subject),
            *check_path(certificate_der, intermediates_der=chain, anchors_der=anchors, at=at).problems,
        ]
    except FileMalformed as error:
        raise AnswerMismatch(problems=(Phrase("a certificate in the answer cannot be decoded"),)) from error
    if problems:
        raise AnswerMismatch(problems=tuple(problems))


def _is_top(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer


def _unlike_request(
    certificate: x509.Certificate, request: CertificateRequest, subject: x509.Name | None
) -> Iterator[Phrase]:
    if not _same_key(certificate, request):
        yield Phrase("it is for another key")
    wanted = subject or request.subject
    if certificate.subject != wanted:
        yield Phrase(
            "it names {found} instead of {wanted}", found=format_name(certificate.subject), wanted=format_name(wanted)
        )
    try:
        missing = set(request.alternative_names) - set(alternative_names_of(certificate))
        constraints = [one.value for one in certificate.extensions if isinstance(one.value, x509.BasicConstraints)]
    except UNREADABLE:
        yield Phrase("its extensions cannot be decoded")
        return
    if missing:
        yield Phrase("it lacks the names {names}", names=", ".join(format_alternative_names(sorted(missing, key=str))))
    if any(one.ca for one in constraints):
        yield Phrase("it is an authority's certificate")


def _same_key(certificate: x509.Certificate, request: CertificateRequest) -> bool:
    try:
        return same_key(certificate.public_key(), request.public_key)
    except UNREADABLE:
        return False
