"""Verifying a bare signature, whose file says nothing of who made it: the certificate or key is given beside it."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dojang.der import MalformedDer
from dojang.errors import FileMalformed, Phrase
from dojang.signing.algorithms import SignatureAlgorithm
from dojang.signing.digest import Scheme, choose_scheme
from dojang.signing.ecdsa import der_from_plain
from dojang.signing.raw import read_message
from dojang.signing.signature import signature_matches
from dojang.signing.source import Progress, open_source
from dojang.signing.verification import Trust, Verification, VerifiedSigner, require_valid
from dojang.x509.keys import algorithm_of, is_strong
from dojang.x509.name import format_name
from dojang.x509.path import Check
from dojang.x509.reading import read_certificate

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey


def verify_raw(
    content: Path | BinaryIO,
    signature: bytes,
    *,
    certificate_der: bytes | None = None,
    public_key_der: bytes | None = None,
    trust: Trust | None = None,
    hash_name: str | None = None,
    padding: str | None = None,
    on_progress: Progress | None = None,
) -> Verification:
    """Verify ``signature`` over ``content`` by a certificate or a SubjectPublicKeyInfo, whichever is given.

    Without ``hash_name`` it is the one that signing chooses for such a key; without ``padding`` either RSA padding will
    do, and ECDSA may be DER or plain. The certificate's path is checked when ``trust`` is given. ``VerificationFailed``
    has every check under the fact ``checks``.
    """
    key = _public_key(certificate_der, public_key_der)
    scheme = choose_scheme(algorithm_of(key), hash_name=hash_name, padding=padding)
    digest, message, size = _read(content, scheme, on_progress)
    made_by = next(
        (
            candidate
            for candidate in _candidates(scheme, any_padding=padding is None)
            for form in _forms(signature, candidate, algorithm_of(key))
            if _made(key, candidate, form, digest, message)
        ),
        None,
    )
    checks = [_strength(key), _match(made_by)]
    if trust is not None and certificate_der is not None:
        checks.extend(trust.check(certificate_der))
    signer = _signer(certificate_der, made_by or scheme)
    return require_valid(Verification("raw", (signer,), tuple(checks), size))


def _public_key(certificate_der: bytes | None, public_key_der: bytes | None) -> "PublicKey":
    try:
        if certificate_der is not None:
            return read_certificate(certificate_der).public_key()
        return load_der_public_key(public_key_der or b"")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        expected = Phrase("a public key")
        raise FileMalformed(path="-", expected=expected, problem=Phrase("it cannot be decoded")) from error


def _read(content: Path | BinaryIO, scheme: Scheme, on_progress: Progress | None) -> tuple[bytes, bytes, int]:
    with open_source(content) as source:
        if scheme.padding == "ed25519":
            message = read_message(source, on_progress)
            return b"", message, len(message)
        running = hashlib.new(scheme.hash_name)
        for part in source.chunks(on_progress):
            running.update(part)
        return running.digest(), b"", source.done


def _candidates(scheme: Scheme, *, any_padding: bool) -> list[Scheme]:
    if any_padding and scheme.padding == "pkcs1v15":
        return [scheme, Scheme("pss", scheme.hash_name)]
    return [scheme]


def _forms(signature: bytes, scheme: Scheme, key_algorithm: str) -> list[bytes]:
    if scheme.padding != "ecdsa":
        return [signature]
    try:
        return [signature, der_from_plain(signature, key_algorithm)]
    except MalformedDer:
        return [signature]


def _made(key: "PublicKey", scheme: Scheme, signature: bytes, digest: bytes, message: bytes) -> bool:
    hash_name = scheme.hash_name
    algorithm = SignatureAlgorithm(scheme.padding, hash_name, mgf_hash=hash_name, salt_length=None)
    return signature_matches(key, algorithm, signature, hash_name=hash_name, digest=digest, message=message)


def _strength(key: "PublicKey") -> Check:
    algorithm = algorithm_of(key)
    if is_strong(key):
        return Check("key", ok=True, detail=algorithm)
    return Check("key", ok=False, detail=Phrase("the key {key} is too weak", key=algorithm))


def _match(made_by: Scheme | None) -> Check:
    if made_by is not None:
        return Check("signature", ok=True, detail=made_by.label)
    return Check("signature", ok=False, detail=Phrase("it was not made by this key over this content"))


def _signer(certificate_der: bytes | None, scheme: Scheme) -> VerifiedSigner:
    if certificate_der is None:
        return VerifiedSigner("", None, scheme.label, signed_at=None, certificate_der=None)
    certificate = read_certificate(certificate_der)
    return VerifiedSigner(
        subject=format_name(certificate.subject),
        serial=f"{certificate.serial_number:x}",
        algorithm=scheme.label,
        signed_at=None,
        certificate_der=certificate_der,
    )
