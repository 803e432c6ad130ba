"""Verifying CMS messages and bare signatures of any size, in constant memory, with every fault listed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dojang.der import MalformedDer
from dojang.errors import FileMalformed, InputRequired, Phrase, Usage
from dojang.signing.ber import BerReader, ByteWindow
from dojang.signing.certificate import identify
from dojang.signing.cms_checks import Signature, check_signature, signed_at
from dojang.signing.cms_reader import SignedMessage, SignerInfo, read_signed_message
from dojang.signing.content import ContentDigest
from dojang.signing.digest import Scheme
from dojang.signing.output import atomic_output
from dojang.signing.source import Progress, Source, open_source
from dojang.signing.verification import Trust, Verification, VerifiedSigner, require_valid
from dojang.x509.name import format_name
from dojang.x509.path import Check
from dojang.x509.reading import read_certificate


def verify_cms(
    message: Path | BinaryIO,
    *,
    trust: Trust,
    content: Path | BinaryIO | None = None,
    extract_to: Path | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Verify a CMS SignedData in DER, BER or PEM: every signature, every signer's path.

    ``content`` is the signed file of a detached signature: ``InputRequired`` when it is missing, ``Usage`` when there
    should be none. The content of an enveloping one is written to ``extract_to``, which appears only when all is good.
    ``VerificationFailed`` has every check under the fact ``checks``; ``FileMalformed`` when it is no such message.
    """
    with _extraction(extract_to) as write:
        with open_source(message) as source:
            parsed = _read(source, write, on_progress if content is None else None)
        digests = parsed.content or _digest_detached(parsed, content, on_progress)
        if parsed.content is not None and content is not None:
            raise Usage(problem=Phrase("This signature holds what it signs; leave out the content file."))
        return require_valid(_judge(parsed, digests, trust))


@contextmanager
def _extraction(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
    else:
        with atomic_output(path) as file:
            yield file


def _read(source: Source, extract: BinaryIO | None, on_progress: Progress | None) -> SignedMessage:
    def on_content(part: memoryview) -> None:
        if extract is not None:
            extract.write(part)
        if on_progress is not None:
            on_progress(source.done, source.size)

    try:
        parsed = read_signed_message(BerReader(ByteWindow(source)), on_content)
    except MalformedDer as error:
        expected = Phrase("a CMS signature")
        raise FileMalformed(path=source.name, expected=expected, problem=error.args[0]) from error
    source.check_unchanged()
    if extract is not None and parsed.content is None:
        raise Usage(problem=Phrase("This signature is detached; there is no content in it to write out."))
    return parsed


def _digest_detached(
    message: SignedMessage, content: Path | BinaryIO | None, on_progress: Progress | None
) -> ContentDigest:
    if content is None:
        raise InputRequired(what=Phrase("The file that was signed"), option="--content")
    names = {signer.digest_name for signer in message.signers}
    keep = any(signer.attributes is None and signer.algorithm.padding == "ed25519" for signer in message.signers)
    digests = ContentDigest([name for name in names if name], keep=keep)
    with open_source(content) as source:
        for part in source.chunks(on_progress):
            digests.update(part)
    return digests


def _judge(message: SignedMessage, content: ContentDigest, trust: Trust) -> Verification:
    signers: list[VerifiedSigner] = []
    checks: list[Check] = []
    candidates = [*message.certificates_der, *trust.intermediates_der, *trust.anchors_der]
    for info in message.signers:
        certificate = _certificate_of(info, candidates)
        signature = Signature(info, message.content_type, content, certificate)
        signers.append(_signer(signature))
        checks.extend(check_signature(signature))
        if certificate is not None:
            der = certificate.public_bytes(Encoding.DER)
            checks.extend(trust.check(der, message.certificates_der, message.crls_der))
    if not signers:
        checks.append(Check("signature", ok=False, detail=Phrase("nobody signed it")))
    return Verification("cms", tuple(signers), tuple(checks), content.size)


def _certificate_of(info: SignerInfo, candidates_der: list[bytes]) -> x509.Certificate | None:
    for der in candidates_der:
        try:
            certificate = read_certificate(der)
            if _is_named(info, der, certificate):
                return certificate
        except (FileMalformed, MalformedDer, ValueError):
            continue  # what cannot be read was not the signer's, or there is no telling
    return None


def _is_named(info: SignerInfo, certificate_der: bytes, certificate: x509.Certificate) -> bool:
    if info.key_identifier is None:
        identity = identify(certificate_der)
        return (identity.issuer_der, identity.serial_number) == (info.issuer_der, info.serial_number)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return False
    return extension.value.digest == info.key_identifier


def _signer(signature: Signature) -> VerifiedSigner:
    info, certificate = signature.info, signature.certificate
    algorithm = info.algorithm.padding or "unknown"
    if info.algorithm.padding is not None:
        algorithm = Scheme(info.algorithm.padding, info.digest_name or "unknown").label
    return VerifiedSigner(
        subject=format_name(certificate.subject) if certificate else "",
        serial=f"{certificate.serial_number:x}" if certificate else None,
        algorithm=algorithm,
        signed_at=signed_at(signature),
        certificate_der=certificate.public_bytes(Encoding.DER) if certificate else None,
    )
