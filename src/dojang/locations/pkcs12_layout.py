"""Which certificate in a PKCS#12 file belongs to which key, and in which order all are written.

By localKeyID where that tells, else by the public key.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dojang.errors import PasswordIncorrect, UnsupportedFormat
from dojang.locations.file_contents import Contents, KeptCertificate, KeptKey, KeptPair, common_name, loaded
from dojang.locations.issuers import is_authority
from dojang.npki.certificates import load_certificate
from dojang.npki.contents import public_key_hash
from dojang.npki.keyfile import load_key
from dojang.npki.pkcs8 import Pkcs8
from dojang.npki.pkcs12_bags import Bags, CertificateBag, KeyBag

if TYPE_CHECKING:
    from cryptography import x509

KM: Final = b"km"
"""After the id of the pair that signs, this makes the id of the pair that decrypts beside it."""

_LONGEST_KEY_ID: Final = 64


def sorted_out(bags: Bags, opened: Callable[[KeyBag], Pkcs8]) -> Contents:
    """What the bags hold. Keys are opened only where their ids do not tell whose they are."""
    keys = _keys(bags.keys, opened)
    certificates, issuers = _certificates(bags.certificates, keys, opened)
    owners = _owners(keys, certificates)
    theirs = {key_id: [one for one in certificates if one.key_id == key_id] for key_id in owners}
    pairs = [
        KeptPair(owner, next(iter(theirs[key_id]), None), next((one for one in keys if one.key_id == key_id), None))
        for key_id, owner in owners.items()
    ]
    return Contents(
        tuple(one for one in keys if one.key_id not in owners),
        tuple(one for one in certificates if one.key_id not in owners),
        tuple(pairs),
        (*issuers, *(one for several in theirs.values() for one in several[1:])),
        tuple(bags.others),
    ).live_first()


def laid_out(contents: Contents) -> Bags:
    """As it is written: live credentials first, km pairs after all that sign, issuers last."""
    contents = contents.live_first()
    names = {one.key_id: one.label for one in contents.keys}
    names |= {one.key_id: one.label for one in reversed(contents.certificates)}
    km = [(one, f"{names.get(one.owner, '')} (km)", one.owner + KM) for one in contents.km_pairs]
    keys = [_key_bag(one, one.label, one.key_id) for one in contents.keys]
    keys += [_key_bag(one.key, name, key_id) for one, name, key_id in km if one.key]
    certificates = [_certificate_bag(one, one.label, one.key_id) for one in contents.certificates]
    certificates += [_certificate_bag(one.certificate, name, key_id) for one, name, key_id in km if one.certificate]
    certificates += [_bag_of(one) for one in contents.issuers]
    return Bags(keys, certificates, [one for one in contents.rest if isinstance(one, bytes)])


def _keys(bags: Iterable[KeyBag], opened: Callable[[KeyBag], Pkcs8]) -> list[KeptKey]:
    """An id that several keys have, as some programs write it, tells nothing."""
    counts = Counter(bag.key_id for bag in bags)
    return [
        KeptKey(bag.key_id if bag.key_id and _tells(bag.key_id, counts) else _hash_of(bag, opened), bag.name or "", bag)
        for bag in bags
    ]


def _tells(key_id: bytes, counts: Counter[bytes | None]) -> bool:
    return counts[key_id] == 1 and len(key_id) <= _LONGEST_KEY_ID


def _certificates(
    bags: Iterable[CertificateBag], keys: list[KeptKey], opened: Callable[[KeyBag], Pkcs8]
) -> tuple[list[KeptCertificate], list[KeptCertificate]]:
    """Those of signers, and the others."""
    read = [(bag, loaded(bag.der)) for bag in bags]
    ids = {one.key_id for one in keys}
    taken = {bag.key_id for bag, certificate in read if certificate is not None}
    alone = [one for one in keys if one.key_id not in taken]
    by_hash: dict[bytes, bytes] = {}
    if alone and any(bag.key_id not in ids for bag, certificate in read if certificate is not None):
        by_hash = {_hash_of(one.held, opened): one.key_id for one in alone if isinstance(one.held, KeyBag)}
    signers, issuers = [], []
    for bag, certificate in read:
        key_id = None if certificate is None else _owner(bag, certificate, ids, by_hash)
        if certificate is None or key_id is None:
            issuers.append(KeptCertificate(b"", bag.name or "", bag.der, bag))
        else:
            signers.append(KeptCertificate(key_id, bag.name or common_name(certificate), bag.der, bag))
    return signers, issuers


def _owner(
    bag: CertificateBag, certificate: "x509.Certificate", ids: set[bytes], by_hash: dict[bytes, bytes]
) -> bytes | None:
    """The id of the key, or what it would be where there is no key; ``None`` for an issuer's."""
    if bag.key_id is not None and bag.key_id in ids:
        return bag.key_id
    own = public_key_hash(certificate.public_key())
    if own in by_hash or own in ids:
        return by_hash.get(own, own)
    if is_authority(bag.der):
        return None
    return bag.key_id if bag.key_id and len(bag.key_id) <= _LONGEST_KEY_ID else own


def _owners(keys: list[KeptKey], certificates: list[KeptCertificate]) -> dict[bytes, bytes]:
    """The ids of pairs that decrypt, each with the id of the pair that signs beside it."""
    ids = {one.key_id for one in keys} | {one.key_id for one in certificates}
    owners = {key_id: key_id.removesuffix(KM) for key_id in ids if key_id.removesuffix(KM) in ids - {key_id}}
    signers = {one.key_id: load_certificate(one.der) for one in certificates if one.key_id not in owners}
    for key_id, certificate in signers.items():
        if _usage(certificate) == "decrypts":
            for other, one in signers.items():
                if _usage(one) == "signs" and _same_person(one, certificate):
                    owners.setdefault(key_id, other)
    return owners


def _same_person(one: "x509.Certificate", other: "x509.Certificate") -> bool:
    return (one.subject, one.issuer) == (other.subject, other.issuer)


def _usage(certificate: "x509.Certificate") -> str:
    """``signs``, ``decrypts`` (and does not sign) or nothing, by keyUsage."""
    from cryptography import x509

    from dojang.x509.reading import UNREADABLE

    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return ""
    if usage.digital_signature or usage.content_commitment:
        return "signs"
    return "decrypts" if usage.key_encipherment or usage.data_encipherment or usage.key_agreement else ""


def _hash_of(bag: KeyBag, opened: Callable[[KeyBag], Pkcs8]) -> bytes:
    """The hash of the public key; of a key that cannot be opened, something that stays the same."""
    import hashlib

    try:
        return public_key_hash(load_key(opened(bag), "").public_key())
    except (PasswordIncorrect, UnsupportedFormat):
        return hashlib.sha1(bag.value, usedforsecurity=False).digest()


def _key_bag(key: KeptKey, name: str, key_id: bytes) -> KeyBag:
    assert isinstance(key.held, KeyBag)
    return replace(key.held, name=name or None, key_id=key_id)


def _certificate_bag(one: KeptCertificate, name: str, key_id: bytes) -> CertificateBag:
    return replace(_bag_of(one), name=name or None, key_id=key_id)


def _bag_of(one: KeptCertificate) -> CertificateBag:
    return one.held if isinstance(one.held, CertificateBag) else CertificateBag(one.der)
