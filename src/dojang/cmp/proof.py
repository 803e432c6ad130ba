"""Proof of possession (RFC 4211 section 4): that whoever asks for a certificate holds the private key."""

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.serialization import load_der_public_key

from dojang.cmp.crmf import KEY_AGREEMENT, KEY_ENCIPHERMENT, RA_VERIFIED, SIGNATURE, RequestMessage, read_request
from dojang.cmp.faults import CmpFault, FailInfo
from dojang.cmp.macs import Mac
from dojang.cmp.names import NOBODY
from dojang.cmp.schema import PublicKeyMac, SigningKeyInput, SigningKeyProof, decode, der_of
from dojang.cmp.signatures import verify
from dojang.der import BIT_STRING, INTEGER, SEQUENCE, SET, oid, tlv
from dojang.errors import FileMalformed
from dojang.secret import Secret
from dojang.x509.reading import UNREADABLE
from dojang.x509.reading import read_request as read_pkcs10
from dojang.x509.request import CertificateRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes as CertificatePublicKey

_SENDER, _ATTRIBUTES = 0xA0, 0xA0
_EXTENSION_REQUEST = oid("1.2.840.113549.1.9.14")
_NO_ALGORITHM = tlv(SEQUENCE, oid("1.3.6.1.5.5.7.6.2"))  # id-alg-noSignature (RFC 5272)
_VERSION = tlv(INTEGER, b"\x00")


def public_key_of(request: RequestMessage) -> "CertificatePublicKey":
    """The key to certify. Raises ``CmpFault`` with badCertTemplate; keys are never made here for others."""
    der = request.template.public_key_der
    # A SubjectPublicKeyInfo with nothing in its BIT STRING asks the authority to make the key (RFC 9483 section 4.1.6).
    if der is None or der.endswith(tlv(BIT_STRING, b"\x00")):
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "the request has no public key, and none is made here")
    try:
        return cast("CertificatePublicKey", _loaded(der))
    except UNREADABLE as error:
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "the request's key is of an unknown kind") from error


_loaded = lru_cache(maxsize=64)(load_der_public_key)  # for the proof, and for what is asked


def verify_proof(request: RequestMessage, *, secret: Secret | None = None, sender_der: bytes | None = None) -> None:
    """Raises ``CmpFault``: badPOP, or badAlg and badCertTemplate for what cannot be checked.

    A proof may be bound to who asks (POPOSigningKeyInput). That is checked against ``secret`` or ``sender_der``, the
    sender of the message, where they are given.
    """
    public_key = public_key_of(request)
    proof = _signature_in(request)
    data = request.request_der
    if proof.signed is not None:
        data = tlv(SEQUENCE, *map(der_of, proof.signed))
        _check_input(decode(SigningKeyInput, data), request, secret, sender_der)
    verify(public_key, proof.algorithm, proof.signature.as_bytes(), data, failure=FailInfo.BAD_POP)


def certificate_request(request: RequestMessage) -> CertificateRequest:
    """What is asked for; ``verify_proof`` has shown that the asker holds the key.

    Raises ``CmpFault`` with badCertTemplate.
    """
    if not request.template.extensions_der:
        return CertificateRequest(request.template.subject or NOBODY, public_key_of(request))
    try:
        return CertificateRequest.unproven(read_pkcs10(_as_pkcs10(request)))
    except FileMalformed as error:
        raise CmpFault(FailInfo.BAD_CERT_TEMPLATE, "the request cannot be decoded") from error


def request_from_crmf(request_der: bytes) -> CertificateRequest:
    """The same from one CertReqMsg in DER, its proof checked. Raises ``CmpFault``."""
    request = read_request(request_der)
    verify_proof(request)
    return certificate_request(request)


def _as_pkcs10(request: RequestMessage) -> bytes:
    """The template in the dress of PKCS#10, for reading only: its signature is empty and proves nothing."""
    template = request.template
    subject = template.subject or NOBODY
    asked = tlv(SEQUENCE, _EXTENSION_REQUEST, tlv(SET, tlv(SEQUENCE, *template.extensions_der)))
    content = (_VERSION, subject.public_bytes(), template.public_key_der or b"", tlv(_ATTRIBUTES, asked))
    return tlv(SEQUENCE, tlv(SEQUENCE, *content), _NO_ALGORITHM, tlv(BIT_STRING, b"\x00"))


def _signature_in(request: RequestMessage) -> SigningKeyProof:
    der = request.proof_der
    if der is None:
        raise CmpFault(FailInfo.BAD_POP, "the request does not prove possession of the key")
    if der[0] == SIGNATURE:
        return decode(SigningKeyProof, bytes((SEQUENCE,)) + der[1:])
    if der[0] == RA_VERIFIED:
        raise CmpFault(FailInfo.BAD_POP, "nobody else's word is taken for possession of the key")
    assert der[0] in (KEY_ENCIPHERMENT, KEY_AGREEMENT)
    raise CmpFault(FailInfo.BAD_POP, "possession of the key is proved by a signature here")


def _check_input(
    signed: SigningKeyInput, request: RequestMessage, secret: Secret | None, sender_der: bytes | None
) -> None:
    key_der = der_of(signed.public_key)
    if key_der != request.template.public_key_der:
        raise CmpFault(FailInfo.BAD_POP, "the proof of possession is about another key")
    who = der_of(signed.who)
    if who[0] == _SENDER:
        if sender_der is not None and bytes(signed.who.data) != sender_der:
            raise CmpFault(FailInfo.BAD_POP, "the proof of possession is somebody else's")
        return
    mac = decode(PublicKeyMac, who)
    if secret is None:
        return
    try:
        Mac(secret, mac.algorithm).verify(mac.value.as_bytes(), key_der)
    except CmpFault as error:
        raise CmpFault(FailInfo.BAD_POP, "the proof of possession is not made with the secret") from error
