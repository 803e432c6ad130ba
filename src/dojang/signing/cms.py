"""A CMS signature (RFC 5652) over a file of any size: read once, signed once, in constant memory.

The signed attributes are content type, message digest, signing time and the ESS signing certificate (RFC 5035).
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from dojang.der import oid
from dojang.signing import cms_frame, oids
from dojang.signing.cms_proof import check_certificate, check_signature
from dojang.signing.cms_seal import Seal, signature_length
from dojang.signing.digest import DigestSigner, choose_scheme, sign_prepared
from dojang.signing.output import Output, OutputFile, open_output
from dojang.signing.pem import PemWriter
from dojang.signing.registry import Signed
from dojang.signing.source import CHUNK, Progress, Source, open_source, refuse_same_file


@dataclass(frozen=True, slots=True)
class CmsOptions:
    """The signer's certificate and what else may be chosen; ``None`` chooses by key, or now.

    ``chain_der`` are certificates sent along. ``padding`` is ``pkcs1v15`` or ``pss`` for RSA. ``content_type`` says, in
    dots, what the content is; plain data unless it is something of which a signature must not pass for one over data.
    """

    certificate_der: bytes
    chain_der: tuple[bytes, ...] = ()
    detached: bool = False
    pem: bool = False
    hash_name: str | None = None
    padding: str | None = None
    signed_at: datetime | None = None
    content_type: str | None = None


def sign_file(
    source: Path | BinaryIO,
    output: Path | BinaryIO,
    signer: DigestSigner,
    options: CmsOptions,
    on_progress: Progress | None = None,
    unsynced: set[Path] | None = None,
) -> Signed:
    """Sign ``source`` into ``output``, which appears whole or not at all.

    With the content inside, a file gives DER; a pipe, or an ECDSA signature over a large file into a stream or PEM,
    gives BER of indefinite length. ``FileChanged``, before anything is signed, when the file changed while it was read;
    ``CertificateUnusable`` when the certificate is not that of the key or not valid now.
    """
    refuse_same_file(source, output)
    seal = _seal(signer, options)
    with open_source(source) as content, open_output(output, unsynced=unsynced) as destination:
        signing = _Signing(content, seal, signer, on_progress)
        if options.pem:
            armour = PemWriter(destination, "CMS")
            signing.write(armour, detached=options.detached)
            armour.close()
        else:
            signing.write(destination, detached=options.detached)
    target = str(output) if isinstance(output, Path) else "-"
    return Signed(output=target, format="cms", algorithm=seal.scheme.label)


def _seal(signer: DigestSigner, options: CmsOptions) -> Seal:
    scheme = choose_scheme(signer.algorithm, hash_name=options.hash_name, padding=options.padding)
    signed_at = options.signed_at or datetime.now(UTC)
    check_certificate(options.certificate_der, signer.algorithm, signed_at)
    kind = oids.DATA if options.content_type is None else oid(options.content_type)
    return Seal(options.certificate_der, options.chain_der, scheme, signed_at, kind)


@dataclass(frozen=True, slots=True)
class _Signing:
    """One message being written: the content is read by ``digest``, the signature made by ``trailer``, each once."""

    content: Source
    seal: Seal
    signer: DigestSigner
    on_progress: Progress | None

    def write(self, output: Output, *, detached: bool) -> None:
        """Choose the form by what is known of the content, the signature and the output."""
        longest, fixed = signature_length(self.signer.algorithm)
        size, algorithms = self.content.size, self.seal.digest_algorithms
        if detached:
            output.write(cms_frame.detached(algorithms, self.trailer(self.digest()), self.seal.kind))
        elif size is not None and fixed:
            self._write_definite(output, size, longest)
        elif size is not None and isinstance(output, OutputFile) and output.readable():
            self._write_corrected(output, size, longest)
        elif size is not None and size <= CHUNK:
            spool = io.BytesIO()
            self._write_corrected(spool, size, longest)
            output.write(spool.getbuffer())
        else:
            self._write_indefinite(output)

    def digest(self, also: Callable[[memoryview], object] | None = None) -> bytes:
        """Read the whole content, hand it on to ``also`` and give its digest."""
        running = hashlib.new(self.seal.scheme.hash_name)
        for part in self.content.chunks(self.on_progress):
            running.update(part)
            if also is not None:
                also(part)
        return running.digest()

    def trailer(self, digest: bytes) -> bytes:
        """Sign the attributes over ``digest``, and everything that follows the content."""
        attributes = self.seal.attributes(digest)
        attributes_digest = hashlib.new(self.seal.scheme.hash_name, attributes).digest()
        signature = sign_prepared(self.signer, self.seal.scheme, digest=attributes_digest, message=attributes)
        check_signature(self.seal, signature, digest=attributes_digest, message=attributes)
        return self.seal.trailer(attributes, signature)

    def _write_definite(self, output: Output, size: int, longest: int) -> None:
        trailer_length = self.seal.longest_trailer(longest)
        output.write(cms_frame.definite_opening(self.seal.digest_algorithms, size, trailer_length, self.seal.kind))
        output.write(self.trailer(self.digest(output.write)))

    def _write_corrected(self, output: cms_frame.Rewritable, size: int, longest: int) -> None:
        # An ECDSA signature has its own length each time: the lengths in front are guessed, then put right.
        algorithms, kind = self.seal.digest_algorithms, self.seal.kind
        guess = cms_frame.definite_opening(algorithms, size, self.seal.longest_trailer(longest), kind)
        output.write(guess)
        trailer = self.trailer(self.digest(output.write))
        right = cms_frame.definite_opening(algorithms, size, len(trailer), kind)
        cms_frame.correct_opening(output, guess, right, size)
        output.write(trailer)

    def _write_indefinite(self, output: Output) -> None:
        def write_piece(part: memoryview) -> None:
            output.write(cms_frame.indefinite_piece(part))
            output.write(part)

        output.write(cms_frame.indefinite_opening(self.seal.digest_algorithms, self.seal.kind))
        output.write(cms_frame.indefinite_closing(self.trailer(self.digest(write_piece))))
