"""A bare signature over a file of any size: the host hashes, the key signs the digest once.

Ed25519 has to see the message itself (PureEdDSA, RFC 8032), so there the file is held in memory and limited.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dojang.errors import NotPermitted, Phrase, UnsupportedMechanism
from dojang.signing.der import SEQUENCE, MalformedDer, children, integer, parse, read_integer, tlv
from dojang.signing.digest import DigestSigner, Scheme, choose_scheme, sign_prepared
from dojang.signing.output import open_output
from dojang.signing.registry import Signed
from dojang.signing.source import Progress, Source, open_source, refuse_same_file

ED25519_LIMIT = 16 << 20
_COORDINATE_BYTES = {"ec-p256": 32, "ec-p384": 48, "ec-p521": 66}


@dataclass(frozen=True, slots=True)
class RawOptions:
    """``None`` chooses by key. ``plain_ecdsa`` writes r and s side by side (IEEE P1363) in place of DER."""

    hash_name: str | None = None
    padding: str | None = None
    plain_ecdsa: bool = False


def sign_file(
    source: Path | BinaryIO,
    output: Path | BinaryIO,
    signer: DigestSigner,
    options: RawOptions | None = None,
    on_progress: Progress | None = None,
) -> Signed:
    """Sign ``source`` and leave the signature in ``output``, whole or not at all."""
    refuse_same_file(source, output)
    with open_output(output) as destination:
        signature, scheme = sign_raw(source, signer, options or RawOptions(), on_progress)
        destination.write(signature)
    return Signed(output=str(output) if isinstance(output, Path) else "-", format="raw", algorithm=scheme.label)


def sign_raw(
    source: Path | BinaryIO, signer: DigestSigner, options: RawOptions, on_progress: Progress | None = None
) -> tuple[bytes, Scheme]:
    """The signature over ``source`` and the scheme that made it.

    Nothing is signed when the file changed while it was read (``FileChanged``). ``NotPermitted`` for Ed25519 over more
    than ``ED25519_LIMIT`` bytes; ``UnsupportedMechanism`` when the key cannot do what the options ask.
    """
    scheme = choose_scheme(signer.algorithm, hash_name=_hash_option(signer, options), padding=options.padding)
    if options.plain_ecdsa and scheme.padding != "ecdsa":
        raise UnsupportedMechanism(where=signer.algorithm, mechanism=Phrase("r||s, which is a form of ECDSA"))
    with open_source(source) as opened:
        digest, message = _prepare(opened, scheme, on_progress)
    signature = sign_prepared(signer, scheme, digest=digest, message=message)
    return (plain_from_der(signature, signer.algorithm) if options.plain_ecdsa else signature), scheme


def plain_from_der(signature_der: bytes, key_algorithm: str) -> bytes:
    """r and s side by side, each as long as the curve's order, from a DER ``Ecdsa-Sig-Value``."""
    size = _COORDINATE_BYTES[key_algorithm]
    first, second = children(parse(signature_der, SEQUENCE))
    return read_integer(first).to_bytes(size, "big") + read_integer(second).to_bytes(size, "big")


def der_from_plain(signature_plain: bytes, key_algorithm: str) -> bytes:
    """A DER ``Ecdsa-Sig-Value`` from r and s side by side; ``MalformedDer`` when the length is wrong."""
    size = _COORDINATE_BYTES.get(key_algorithm, -1)
    if len(signature_plain) != 2 * size:
        raise MalformedDer(Phrase("r and s do not have the length of the curve"))
    values = (int.from_bytes(part, "big") for part in (signature_plain[:size], signature_plain[size:]))
    return tlv(SEQUENCE, *(integer(value) for value in values))


def read_message(source: Source, on_progress: Progress | None) -> bytes:
    """All of a source that must be held in memory; ``NotPermitted`` above ``ED25519_LIMIT``."""
    _check_limit(source.size or 0)
    message = bytearray()
    for part in source.chunks(on_progress):
        _check_limit(len(message) + len(part))
        message += part
    return bytes(message)


def _hash_option(signer: DigestSigner, options: RawOptions) -> str | None:
    if signer.algorithm == "ed25519" and options.hash_name is not None:
        raise UnsupportedMechanism(where="ed25519", mechanism=Phrase("a chosen hash; it hashes by itself"))
    return options.hash_name


def _prepare(source: Source, scheme: Scheme, on_progress: Progress | None) -> tuple[bytes, bytes]:
    if scheme.padding == "ed25519":
        return b"", read_message(source, on_progress)
    running = hashlib.new(scheme.hash_name)
    for part in source.chunks(on_progress):
        running.update(part)
    return running.digest(), b""


def _check_limit(size: int) -> None:
    if size > ED25519_LIMIT:
        raise NotPermitted(
            problem=Phrase("a raw Ed25519 signature takes at most {limit} MiB at once", limit=ED25519_LIMIT >> 20),
            remedy=Phrase("Sign it as CMS ('dojang sign cms'), which takes a file of any size."),
        )
