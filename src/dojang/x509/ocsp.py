"""Asking for the state of one certificate (OCSP, RFC 6960): the question, and what an answer is worth.

An answer counts when it is about this certificate, signed by who may (``ocsp_responder``), of this time, and made for
this question: it repeats the question's nonce (RFC 9654), or, from responders that answer without, says until when it
holds. One with another nonce is somebody else's answer sent again.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain, islice
from secrets import token_bytes

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from dojang.der import SEQUENCE, children, parse_shallowly
from dojang.errors import FileMalformed
from dojang.x509.ocsp_responder import why_not_authorized
from dojang.x509.reading import UNREADABLE
from dojang.x509.revocation import GOOD, REVOKED, SUSPENDED, UNKNOWN
from dojang.x509.standing import CLOCK_SKEW, OCSP, Standing, not_known

NONCE_BYTES = 32
LARGEST_ANSWER = 1 << 18
REQUEST_TYPE = "application/ocsp-request"
_MOST_ANSWERS = 64
_RECENT = timedelta(days=1)
_BOOLEAN, _EXTENSIONS = 0x01, 0xA1


class Question:
    """About one certificate; asked once, because its nonce must never serve twice."""

    def __init__(self, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
        """Choose a nonce."""
        self.issuer, self.nonce = issuer, token_bytes(NONCE_BYTES)
        # SHA-1 only names the issuer here (RFC 5019 section 2.1.1), and every responder knows it.
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
        self._asked = builder.add_extension(x509.OCSPNonce(self.nonce), critical=False).build()

    def to_der(self) -> bytes:
        return self._asked.public_bytes(Encoding.DER)

    def standing(
        self,
        answer_der: bytes,
        *,
        at: datetime,
        place: str = "",
        crls_der: Iterable[bytes] = (),
    ) -> Standing:
        """What the answer says at the moment ``at``; ``crls_der`` may tell that its signer is revoked. Never raises."""
        if len(answer_der) > LARGEST_ANSWER:
            return not_known(OCSP, place, "it is larger than {limit} bytes", limit=LARGEST_ANSWER)
        try:
            return self._judged(ocsp.load_der_ocsp_response(answer_der), at, place, crls_der)
        except (FileMalformed, *UNREADABLE):
            return not_known(OCSP, place, "its answer cannot be decoded")

    def _judged(self, response: ocsp.OCSPResponse, at: datetime, place: str, crls_der: Iterable[bytes]) -> Standing:
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            status = response.response_status.name.lower().replace("_", " ")
            return not_known(OCSP, place, "it gave no answer ({status})", status=status)
        single = self._about_this(response)
        if single is None:
            return not_known(OCSP, place, "its answer is about another certificate")
        problem = why_not_authorized(response, self.issuer, at, crls_der)
        if problem is not None:
            return Standing(UNKNOWN, OCSP, place, problem=problem)
        return self._in_time(response, single, at, place)

    def _about_this(self, response: ocsp.OCSPResponse) -> ocsp.OCSPSingleResponse | None:
        some = islice(response.responses, _MOST_ANSWERS)
        return next((single for single in some if _named_in(single) == _named_in(self._asked)), None)

    def _in_time(
        self, response: ocsp.OCSPResponse, single: ocsp.OCSPSingleResponse, at: datetime, place: str
    ) -> Standing:
        nonce = _nonce_of(response)
        begin, end = single.this_update_utc, single.next_update_utc
        critical = any(one.critical and one.oid != x509.OCSPNonce.oid for one in response.extensions)
        if critical or _has_critical_inside(response.tbs_response_bytes):
            return not_known(OCSP, place, "its answer has a critical extension that is not understood")
        if nonce is not None and nonce != self.nonce:
            return not_known(OCSP, place, "its answer was made for another question (wrong nonce)")
        if begin > at + CLOCK_SKEW:
            return not_known(OCSP, place, "it is from {moment}, which is still to come", moment=begin)
        if end is not None and end < at - CLOCK_SKEW:
            return not_known(OCSP, place, "it held until {moment} only", moment=end)
        if end is None and begin < at - _RECENT:
            return not_known(OCSP, place, "it is from {moment}, which is long ago", moment=begin)
        if nonce is None and end is None:
            return not_known(
                OCSP, place, "its answer may be an old one: it has no nonce and does not say how long it holds"
            )
        return _standing(single, place)


def _named_in(one: ocsp.OCSPRequest | ocsp.OCSPSingleResponse) -> tuple[object, ...]:
    """Which certificate it is about (CertID)."""
    return type(one.hash_algorithm), one.issuer_name_hash, one.issuer_key_hash, one.serial_number


def _standing(single: ocsp.OCSPSingleResponse, place: str) -> Standing:
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        return not_known(OCSP, place, "it does not know the certificate")
    state = GOOD
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        state = SUSPENDED if single.revocation_reason is x509.ReasonFlags.certificate_hold else REVOKED
    return Standing(
        state,
        OCSP,
        place,
        this_update_at=single.this_update_utc,
        next_update_at=single.next_update_utc,
        since_at=single.revocation_time_utc,
    )


def _has_critical_inside(tbs_der: bytes) -> bool:
    """Whether one of the single answers has a critical extension; none is understood here."""
    answers = next(part for part in children(parse_shallowly(tbs_der, SEQUENCE)) if part.tag == SEQUENCE)
    fields = chain.from_iterable(children(one)[3:] for one in children(answers))
    extensions = chain.from_iterable(children(*children(field)) for field in fields if field.tag == _EXTENSIONS)
    return any(part.tag == _BOOLEAN and part.content != b"\0" for one in extensions for part in children(one))


def _nonce_of(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def responder_addresses(certificate: x509.Certificate) -> list[str]:
    """Where the certificate says that its state may be asked."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return []
    wanted = [one.access_location for one in access if one.access_method == AuthorityInformationAccessOID.OCSP]
    return [name.value for name in wanted if isinstance(name, x509.UniformResourceIdentifier)]
