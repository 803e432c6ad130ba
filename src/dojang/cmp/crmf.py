"""Certificate requests in CRMF (RFC 4211), read and made: the template, the controls, and their form on the wire."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.asn1 import BitString, GeneralizedTime, UTCTime

from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.names import directory_name, directory_name_der
from dojang.cmp.schema import (
    CertRequest,
    IssuerAndSerial,
    Many,
    Requests,
    SigningKeyProof,
    Template,
    TypedValue,
    TypedValues,
    Validity,
    decode,
    decode_list,
    der_of,
    encode,
    few,
    malformed,
    oid_of,
    tlv_of,
    typed,
    value_of,
)
from dojang.cmp.signatures import sign
from dojang.der import OCTET_STRING, SEQUENCE, oid, tlv
from dojang.x509.keys import spki_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey

REGISTRATION_TOKEN = "1.3.6.1.5.5.7.5.1.1"  # noqa: S105  # the name of a control
AUTHENTICATOR = "1.3.6.1.5.5.7.5.1.2"
OLD_CERTIFICATE_ID = "1.3.6.1.5.5.7.5.1.5"
RA_VERIFIED, SIGNATURE, KEY_ENCIPHERMENT, KEY_AGREEMENT = PROOFS = (0x80, 0xA1, 0xA2, 0xA3)
_MOST_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class CertificateId:
    """CertId: a certificate by its issuer and serial."""

    issuer: x509.Name
    serial: int


@dataclass(frozen=True, slots=True)
class CertificateTemplate:
    """What the asker would like to have in the certificate; ``None`` and empty where nothing was said.

    ``public_key_der`` is a SubjectPublicKeyInfo, each of ``extensions_der`` an Extension.
    """

    subject: x509.Name | None = None
    public_key_der: bytes | None = None
    extensions_der: tuple[bytes, ...] = ()
    issuer: x509.Name | None = None
    serial: int | None = None
    not_before_at: datetime | None = None
    not_after_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """CertReqMsg. ``request_der`` is its CertRequest, which the proof signs; ``proof_der`` is the ProofOfPossession.

    ``controls`` and ``information`` (regInfo) are OIDs with the DER of their values.
    """

    request_id: int
    template: CertificateTemplate
    request_der: bytes
    proof_der: bytes | None = None
    controls: tuple[tuple[str, bytes], ...] = ()
    information: tuple[tuple[str, bytes], ...] = ()

    @property
    def old_certificate(self) -> CertificateId | None:
        """The control oldCertID. Raises ``CmpFault`` with badDataFormat or badCertId."""
        value = dict(self.controls).get(OLD_CERTIFICATE_ID)
        return None if value is None else read_certificate_id(decode(IssuerAndSerial, value))

    @property
    def registration_token(self) -> str | None:
        """The control regToken. Raises ``CmpFault`` with badDataFormat."""
        return self._text(REGISTRATION_TOKEN)

    @property
    def authenticator(self) -> str | None:
        """The control authenticator. Raises ``CmpFault`` with badDataFormat."""
        return self._text(AUTHENTICATOR)

    def to_der(self) -> bytes:
        """CertReqMsg; byte for byte what it was read from."""
        information = tlv(SEQUENCE, *map(_pair_der, self.information)) if self.information else b""
        return tlv(SEQUENCE, self.request_der, self.proof_der or b"", information)

    def _text(self, kind: str) -> str | None:
        value = dict(self.controls).get(kind)
        return None if value is None else decode(str, value)


def read_requests(content: bytes) -> tuple[RequestMessage, ...]:
    """CertReqMessages. Raises ``CmpFault`` with badDataFormat, or badRequest for none or too many."""
    found = decode_list(Requests, content).items
    if not 1 <= len(found) <= _MOST_REQUESTS:
        raise CmpFault(FailInfo.BAD_REQUEST, "there are no requests in the message, or too many")
    return tuple(_read([der_of(part) for part in parts]) for parts in found)


def read_request(der: bytes) -> RequestMessage:
    """One CertReqMsg. Raises ``CmpFault`` with badDataFormat."""
    return _read([der_of(part) for part in decode_list(Many, der).items])


def write_requests(requests: Iterable[RequestMessage]) -> bytes:
    """CertReqMessages in DER."""
    return tlv(SEQUENCE, *(request.to_der() for request in requests))


def build_request(
    key: "PrivateKey", template: CertificateTemplate, *, request_id: int = 0, replaces: CertificateId | None = None
) -> RequestMessage:
    """A request for ``template`` with ``key``'s public half, and ``key``'s signature as the proof of possession.

    ``replaces`` goes into the control oldCertID. What the key's location raises passes through.
    """
    full = replace(template, public_key_der=spki_of(key.public_key()))
    controls = () if replaces is None else ((OLD_CERTIFICATE_ID, certificate_id_der(replaces)),)
    written = [typed(oid(kind), value) for kind, value in controls]
    request_der = encode(
        CertRequest(request_id=request_id, template=template_as_written(full), controls=written or None)
    )
    algorithm, signature = sign(key, request_der)
    proof_der = encode(SigningKeyProof(signed=None, algorithm=algorithm, signature=BitString(signature, 0)))
    return RequestMessage(request_id, full, request_der, bytes((SIGNATURE,)) + proof_der[1:], controls)


def extension_der(extension: x509.ExtensionType) -> bytes:
    """An extension as templates have it; it is asked for, so it is not critical."""
    return tlv(SEQUENCE, oid(extension.oid.dotted_string), tlv(OCTET_STRING, extension.public_bytes()))


def template_of(template: Template) -> CertificateTemplate:
    """The template as a value. Raises ``CmpFault`` with badDataFormat."""
    validity, key = template.validity, template.public_key
    return CertificateTemplate(
        subject=template.subject,
        public_key_der=None if key is None else tlv(SEQUENCE, *map(der_of, key)),
        extensions_der=tuple(map(der_of, few(template.extensions or ()))),
        issuer=template.issuer,
        serial=template.serial,
        not_before_at=validity.not_before.as_datetime() if validity and validity.not_before else None,
        not_after_at=validity.not_after.as_datetime() if validity and validity.not_after else None,
    )


def template_as_written(value: CertificateTemplate) -> Template:
    """The other way round."""
    key = value.public_key_der
    return Template(
        version=None,
        serial=value.serial,
        signing_algorithm=None,
        issuer=value.issuer,
        validity=_validity(value.not_before_at, value.not_after_at),
        subject=value.subject,
        public_key=None if key is None else decode_list(Many, key).items,
        issuer_uid=None,
        subject_uid=None,
        extensions=[tlv_of(one) for one in value.extensions_der] or None,
    )


def read_certificate_id(value: IssuerAndSerial) -> CertificateId:
    """Raises ``CmpFault`` with badCertId for an issuer that is no distinguished name."""
    issuer = directory_name(der_of(value.issuer))
    if issuer is None:
        raise CmpFault(FailInfo.BAD_CERT_ID, "a certificate is named by something else than its issuer's name")
    return CertificateId(issuer, value.serial)


def certificate_id_of(named: CertificateId) -> IssuerAndSerial:
    return IssuerAndSerial(issuer=tlv_of(directory_name_der(named.issuer)), serial=named.serial)


def certificate_id_der(named: CertificateId) -> bytes:
    """CertId in DER."""
    return encode(certificate_id_of(named))


def pairs_of(values: Sequence[TypedValue] | None) -> tuple[tuple[str, bytes], ...]:
    """OIDs with their values. Raises ``CmpFault`` with badDataFormat for one without a value."""
    found = []
    for one in few(values or ()):
        kind, value = oid_of(one), value_of(one)
        if value is None:
            raise malformed()
        found.append((kind, value))
    return tuple(found)


def _read(parts: list[bytes]) -> RequestMessage:
    """CertRequest, perhaps the proof, perhaps regInfo."""
    rest = parts[1:]
    proof_der = rest.pop(0) if rest and rest[0][0] in PROOFS else None
    information = pairs_of(decode_list(TypedValues, rest.pop(0)).items) if rest and rest[0][0] == SEQUENCE else ()
    if not parts or rest:
        raise malformed()
    request = decode(CertRequest, parts[0])
    controls = pairs_of(request.controls)
    return RequestMessage(request.request_id, template_of(request.template), parts[0], proof_der, controls, information)


def _pair_der(pair: tuple[str, bytes]) -> bytes:
    kind, value = pair
    return tlv(SEQUENCE, oid(kind), value)


def _validity(not_before_at: datetime | None, not_after_at: datetime | None) -> Validity | None:
    if not_before_at is None and not_after_at is None:
        return None
    return Validity(not_before=_time(not_before_at), not_after=_time(not_after_at))


def _time(at: datetime | None) -> UTCTime | GeneralizedTime | None:
    """As in certificates: UTCTime until 2049 (RFC 5280 section 4.1.2.5)."""
    if at is None:
        return None
    return UTCTime(at) if 1950 <= at.year < 2050 else GeneralizedTime(at)
