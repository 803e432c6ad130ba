"""Whether a response to a challenge was made by the key of a certificate: as a bare signature or as a CMS message."""

import io
from collections.abc import Sequence

from cryptography import x509

from dojang.der import MalformedDer
from dojang.errors import UnsupportedMechanism, VerificationFailed
from dojang.signing.ber import BerReader, ByteWindow
from dojang.signing.cms_checks import Signature, check_signature
from dojang.signing.cms_reader import SignedMessage, read_signed_message
from dojang.signing.content import ContentDigest
from dojang.signing.digest import HASHES
from dojang.signing.source import open_source
from dojang.signing.verify_raw import verify_raw
from dojang.x509.reading import read_certificate

LARGEST = 1 << 16
_MOST_SIGNERS = 4


def is_response(response: bytes, certificate_der: bytes, contents: Sequence[bytes]) -> bool:
    """Whether ``response`` signs one of ``contents`` by the certificate's key; what it says of itself counts for
    nothing. A CMS message may hold the content or be detached. ``FileMalformed`` for a certificate that is none.
    """
    if len(response) > LARGEST:
        return False
    try:
        message, held = _read(response)
    except MalformedDer:
        return any(_signs_raw(response, certificate_der, content) for content in contents)
    certificate = read_certificate(certificate_der)
    covered = contents if held is None else [held] if held in contents else []
    return any(_signs(message, certificate, content) for content in covered)


def _read(response: bytes) -> tuple[SignedMessage, bytes | None]:
    held = bytearray()
    with open_source(io.BytesIO(response)) as source:
        message = read_signed_message(BerReader(ByteWindow(source)), held.extend)
    return message, None if message.content is None else bytes(held)


def _signs(message: SignedMessage, certificate: x509.Certificate, content: bytes) -> bool:
    for info in message.signers[:_MOST_SIGNERS]:
        digest = ContentDigest([info.digest_name] if info.digest_name else [], keep=True)
        digest.update(memoryview(content))
        signature = Signature(info, message.content_type, digest, certificate)
        if all(check.ok for check in check_signature(signature)):
            return True
    return False


def _signs_raw(signature: bytes, certificate_der: bytes, content: bytes) -> bool:
    return any(_verifies(signature, certificate_der, content, hash_name) for hash_name in HASHES)


def _verifies(signature: bytes, certificate_der: bytes, content: bytes, hash_name: str) -> bool:
    try:
        verify_raw(io.BytesIO(content), signature, certificate_der=certificate_der, hash_name=hash_name)
    except (VerificationFailed, UnsupportedMechanism):
        return False
    return True
