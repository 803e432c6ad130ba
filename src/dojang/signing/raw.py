"""A bare signature over a file of any size: the host hashes, the key signs the digest once.

Ed25519 has to see the message itself (PureEdDSA, RFC 8032), so there the file is held in memory and limited.
"""

import hashlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dojang.errors import NotPermitted, Phrase, UnsupportedMechanism
from dojang.signing.digest import DigestSigner, Scheme, choose_scheme, sign_prepared
from dojang.signing.output import open_output
from dojang.signing.registry import Signed
from dojang.signing.source import Progress, Source, open_source, refuse_same_file

ED25519_LIMIT = 16 << 20


class RawOptions(NamedTuple):
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
    unsynced: set[Path] | None = None,
) -> Signed:
    """Sign ``source`` into ``output``, whole or not at all; ``unsynced`` as in ``atomic_output``."""
    refuse_same_file(source, output)
    with open_output(output, unsynced=unsynced) as destination:
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
        raise UnsupportedMechanism(
            where=signer.algorithm,
            mechanism=Phrase("r||s, which is a form of ECDSA"),
            next_step="Leave --plain-ecdsa out, or sign with an EC key.",
        )
    with open_source(source) as opened:
        digest, message = _prepare(opened, scheme, on_progress)
    signature = sign_prepared(signer, scheme, digest=digest, message=message)
    if options.plain_ecdsa:
        from dojang.signing.ecdsa import plain_from_der

        signature = plain_from_der(signature, signer.algorithm)
    return signature, scheme


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
        raise UnsupportedMechanism(
            where="ed25519",
            mechanism=Phrase("a chosen hash; it hashes by itself"),
            next_step="Leave --hash out; the one that suits the key is taken.",
        )
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
