"""What must hold for one signature of a CMS message, apart from the path of its certificate (RFC 5652 section 5.6)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.der import GENERALIZED_TIME, OCTET_STRING, UTC_TIME, Element, MalformedDer, span
from dojang.errors import Phrase
from dojang.signing import oids
from dojang.signing.cms_ess import certificate_binding
from dojang.signing.cms_reader import SignerInfo
from dojang.signing.content import ContentDigest
from dojang.signing.signature import hash_is_allowed, signature_matches
from dojang.x509.keys import algorithm_of, is_strong
from dojang.x509.path import Check

_SINGLE = (
    oids.CONTENT_TYPE,
    oids.MESSAGE_DIGEST,
    oids.SIGNING_TIME,
    oids.SIGNING_CERTIFICATE,
    oids.SIGNING_CERTIFICATE_V2,
)
_TIME_FORMATS = {UTC_TIME: "%y%m%d%H%M%SZ", GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature, the content it claims to cover, and the certificate found for it, if any."""

    info: SignerInfo
    content_type: bytes
    content: ContentDigest
    certificate: x509.Certificate | None

    def value(self, identifier: bytes) -> Element | None:
        """The one value of a signed attribute; ``None`` when it is absent or there is not exactly one."""
        found = [values for attribute, values in self.info.attributes or () if attribute == identifier]
        return found[0][0] if len(found) == 1 and len(found[0]) == 1 else None

    def has(self, identifier: bytes) -> bool:
        """Whether a signed attribute occurs at all."""
        return any(attribute == identifier for attribute, _ in self.info.attributes or ())


def signed_at(signature: Signature) -> datetime | None:
    """The time the signer claims; ``None`` when there is none or it cannot be read."""
    value = signature.value(oids.SIGNING_TIME)
    if value is None or value.tag not in _TIME_FORMATS:
        return None
    try:
        moment = datetime.strptime(value.content.decode("ascii"), _TIME_FORMATS[value.tag]).replace(tzinfo=UTC)
    except ValueError:
        return None
    # RFC 5280 section 4.1.2.5.1: two digits from 50 on are of the last century; strptime says so from 69 on.
    return moment.replace(year=moment.year - 100) if value.tag == UTC_TIME and moment.year > 2049 else moment


def check_signature(signature: Signature) -> Iterator[Check]:
    """Every check on this signature, good and bad."""
    yield _digest_algorithm(signature)
    yield _signature_algorithm(signature)
    if signature.info.attributes is None:
        yield _bare_content(signature)
    else:
        yield _attributes(signature)
        yield _content_type(signature)
        yield _message_digest(signature)
        if signature.has(oids.SIGNING_TIME):
            yield Check("signing-time", ok=signed_at(signature) is not None, detail=_shown_time(signature))
    yield _certificate(signature)
    if signature.has(oids.SIGNING_CERTIFICATE_V2) or signature.has(oids.SIGNING_CERTIFICATE):
        yield _binding(signature)
    yield _signature(signature)


def _digest_algorithm(signature: Signature) -> Check:
    name = signature.info.digest_name
    if hash_is_allowed(name):
        return Check("digest-algorithm", ok=True, detail=name or "")
    return Check("digest-algorithm", ok=False, detail=Phrase("{hash} is not accepted", hash=name or "unknown"))


def _signature_algorithm(signature: Signature) -> Check:
    algorithm, digest_name = signature.info.algorithm, signature.info.digest_name
    if algorithm.padding is None:
        return Check("signature-algorithm", ok=False, detail=Phrase("it is unknown"))
    if algorithm.padding == "ed25519" and digest_name != "sha512":
        return Check("signature-algorithm", ok=False, detail=Phrase("Ed25519 goes with SHA-512 (RFC 8419)"))
    if algorithm.hash_name not in (None, digest_name):
        detail = Phrase("it hashes with {one}, the content with {other}", one=algorithm.hash_name, other=digest_name)
        return Check("signature-algorithm", ok=False, detail=detail)
    if algorithm.padding == "pss" and not hash_is_allowed(algorithm.mgf_hash):
        return Check("signature-algorithm", ok=False, detail=Phrase("{hash} is not accepted", hash=algorithm.mgf_hash))
    return Check("signature-algorithm", ok=True, detail=algorithm.padding)


def _attributes(signature: Signature) -> Check:
    types = [identifier for identifier, _ in signature.info.attributes or ()]
    if len(set(types)) != len(types):
        return Check("signed-attributes", ok=False, detail=Phrase("one occurs more than once"))
    if any(signature.has(single) and signature.value(single) is None for single in _SINGLE):
        return Check("signed-attributes", ok=False, detail=Phrase("one does not have exactly one value"))
    return Check("signed-attributes", ok=True, detail="")


def _bare_content(signature: Signature) -> Check:
    # Without attributes only plain data may be signed, and data that reads as attributes is a signature over
    # attributes passed off as one over content (draft-ietf-lamps-cms-euf-cma-signeddata).
    if signature.content_type != oids.DATA:
        return Check("signed-attributes", ok=False, detail=Phrase("they are missing"))
    if _reads_as_attributes(signature.content):
        return Check("signed-attributes", ok=False, detail=Phrase("they stand in place of the content"))
    return Check("signed-attributes", ok=True, detail="")


def _reads_as_attributes(content: ContentDigest) -> bool:
    if content.head[:1] != b"\x31":
        return False
    try:
        start, end = span(content.head, 0, content.size)
    except MalformedDer:
        return False
    return end == content.size and content.head[start : start + 1] == b"\x30"


def _content_type(signature: Signature) -> Check:
    value = signature.value(oids.CONTENT_TYPE)
    if value is None or value.der != signature.content_type:
        return Check("content-type", ok=False, detail=Phrase("it is not that of the content"))
    return Check("content-type", ok=True, detail="")


def _message_digest(signature: Signature) -> Check:
    value = signature.value(oids.MESSAGE_DIGEST)
    digest = signature.content.digest(signature.info.digest_name or "")
    if value is None:
        return Check("message-digest", ok=False, detail=Phrase("it is missing"))
    if digest is None:
        return Check("message-digest", ok=False, detail=Phrase("its hash is not announced at the head of the message"))
    if value.tag != OCTET_STRING or value.content != digest:
        return Check("message-digest", ok=False, detail=Phrase("the content is not the one that was signed"))
    return Check("message-digest", ok=True, detail="")


def _shown_time(signature: Signature) -> str:
    moment = signed_at(signature)
    return moment.isoformat() if moment else Phrase("it cannot be read")


def _certificate(signature: Signature) -> Check:
    if signature.certificate is None:
        return Check("certificate", ok=False, detail=Phrase("the signer's certificate is not there"))
    try:
        key = signature.certificate.public_key()
    except Exception:  # cryptography has no common class for what a key in a certificate may have wrong
        return Check("certificate", ok=False, detail=Phrase("its key cannot be read"))
    if not is_strong(key):
        return Check("certificate", ok=False, detail=Phrase("its key {key} is too weak", key=algorithm_of(key)))
    return Check("certificate", ok=True, detail=algorithm_of(key))


def _binding(signature: Signature) -> Check:
    if signature.certificate is None:
        return Check("signing-certificate", ok=False, detail=Phrase("not checked"))
    version_2 = signature.has(oids.SIGNING_CERTIFICATE_V2)
    value = signature.value(oids.SIGNING_CERTIFICATE_V2 if version_2 else oids.SIGNING_CERTIFICATE)
    certificate_der = signature.certificate.public_bytes(Encoding.DER)
    problem = certificate_binding(value, certificate_der, version_2=version_2)
    return Check("signing-certificate", ok=problem is None, detail=problem or "")


def _signature(signature: Signature) -> Check:
    if signature.certificate is None:
        return Check("signature", ok=False, detail=Phrase("not checked"))
    digest, message = _covered(signature)
    if digest is None or (message is None and signature.info.algorithm.padding == "ed25519"):
        return Check("signature", ok=False, detail=Phrase("not checked"))
    try:
        good = signature_matches(
            signature.certificate.public_key(),
            signature.info.algorithm,
            signature.info.signature,
            hash_name=signature.info.digest_name or "",
            digest=digest,
            message=message,
        )
    except Exception:  # as above: the key itself may be unreadable
        good = False
    return Check("signature", ok=good, detail="" if good else Phrase("it was not made by this key over this content"))


def _covered(signature: Signature) -> tuple[bytes | None, bytes | None]:
    info = signature.info
    if not hash_is_allowed(info.digest_name):
        return None, None
    if info.attributes is None:
        return signature.content.digest(info.digest_name or ""), signature.content.message()
    return hashlib.new(info.digest_name or "", info.attributes_der).digest(), info.attributes_der
