"""Which blocks of a PEM file are what, and in which order they are written: first what other programs look for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dojang.locations.file_contents import Contents, KeptCertificate, KeptKey, common_name, loaded
from dojang.locations.issuers import is_authority
from dojang.locations.pem_blocks import CERTIFICATE, CERTIFICATES, KEYS, PARKED, PLAIN_KEY, Block
from dojang.npki.certificates import load_certificate
from dojang.npki.contents import public_key_hash
from dojang.npki.pkcs8 import Pkcs8


@dataclass(frozen=True, slots=True)
class Rest:
    """A block, or the text after the last, that is nobody's here; ``file`` says in which of two it lies."""

    file: int
    text: str


def sorted_out(files: Sequence[tuple[list[Block], str]]) -> Contents:
    """What the blocks are. Of two files the first is read for certificates and the last for keys."""
    certificates = [one for one in files[0][0] if one.kind in CERTIFICATES and loaded(_der(one)) is not None]
    keys = [one for one in files[-1][0] if one.kind in KEYS]
    rest = [Rest(number, one.to_text()) for number, (blocks, _) in enumerate(files) for one in blocks
            if not any(one is known for known in (*certificates, *keys))]  # fmt: skip
    rest += [Rest(number, after) for number, (_, after) in enumerate(files) if after.strip()]
    kept = _keys(keys)
    signers, issuers = _certificates(certificates, kept)
    if not signers and any(not one.key_id for one in kept):  # an authority's own pair
        signers, issuers = [_as_signer(one) for one in issuers[:1]], issuers[1:]
    return Contents(_guessed(kept, signers), tuple(signers), (), tuple(issuers), tuple(rest)).live_first()


def laid_out(contents: Contents, files: int) -> list[str]:
    """The text of each file: certificates in use, those above them, keys, and what is not in use."""
    live = [one for one in contents.certificates if one.state.live]
    above = contents.chain_of(live[0].der) if live and len(contents.issuers) > 1 else ()
    issuers = sorted(contents.issuers, key=lambda one: above.index(one.der) if one.der in above else len(above))
    texts: list[list[str]] = [[] for _ in range(files)]
    texts[0] += [_certificate_block(one, CERTIFICATE).to_text() for one in live]
    texts[0] += [_block(one).to_text() for one in issuers]
    texts[-1] += [_key_block(one).to_text() for one in contents.keys]
    texts[0] += [_certificate_block(one, PARKED).to_text() for one in contents.certificates if one not in live]
    for one in contents.rest:
        assert isinstance(one, Rest)
        texts[one.file].append(one.text)
    return ["".join(text if text.endswith("\n") else f"{text}\n" for text in each) for each in texts]


def _keys(blocks: Sequence[Block]) -> list[KeptKey]:
    """By the id that stands above, unless several have it; else by the public key, which the clear ones show."""
    counts = Counter(one.key_id for one in blocks)
    return [
        KeptKey(one.key_id if counts[one.key_id] == 1 and one.key_id else _hash_of(one), one.name, one)
        for one in blocks
    ]


def _certificates(
    blocks: Iterable[Block], keys: Sequence[KeptKey]
) -> tuple[list[KeptCertificate], list[KeptCertificate]]:
    """Those of signers, and those of issuers."""
    ids = {one.key_id for one in keys if one.key_id}
    signers, issuers = [], []
    for block in blocks:
        certificate = loaded(block.der)
        assert certificate is not None
        own = public_key_hash(certificate.public_key())
        key_id = block.key_id if block.key_id in ids else own
        if key_id not in ids and is_authority(block.der):
            issuers.append(KeptCertificate(b"", block.name, block.der, block))
        else:
            signers.append(KeptCertificate(key_id, block.name or common_name(certificate), block.der, block))
    return signers, issuers


def _as_signer(one: KeptCertificate) -> KeptCertificate:
    certificate = load_certificate(one.der)
    return replace(one, key_id=public_key_hash(certificate.public_key()), label=one.label or common_name(certificate))


def _guessed(keys: Sequence[KeptKey], signers: Sequence[KeptCertificate]) -> tuple[KeptKey, ...]:
    """One key that does not tell whose it is, and one certificate without a key: they are taken for a pair.

    Whoever opens the key finds out, and says so where they are none.
    """
    ids = {one.key_id for one in keys}
    alone = [one.key_id for one in signers if one.key_id not in ids]
    unknown = [one for one in keys if not one.key_id]
    if len(set(alone)) != 1 or len(unknown) != 1:
        return tuple(keys)
    return tuple(one if one.key_id else replace(one, key_id=alone[0]) for one in keys)


def _key_block(key: KeptKey) -> Block:
    assert isinstance(key.held, Block)
    return key.held.named(key.label, key.key_id)


def _certificate_block(one: KeptCertificate, kind: str) -> Block:
    return _block(one).as_kind(kind).named(one.label, one.key_id)


def _block(one: KeptCertificate) -> Block:
    return one.held if isinstance(one.held, Block) else Block.of(CERTIFICATE, one.der)


def _der(block: Block) -> bytes:
    try:
        return block.der
    except ValueError:
        return b""


def _hash_of(block: Block) -> bytes:
    """The hash of the public key of what anybody can read; nothing for other keys."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if block.asks:
        return b""
    try:
        if block.kind == PLAIN_KEY:
            return public_key_hash(Pkcs8.from_der(block.der).key().public_key())
        return public_key_hash(load_pem_private_key(block.body.encode(errors="surrogateescape"), None).public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return b""
