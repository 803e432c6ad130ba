"""What lies in a file of several credentials, and what each verb makes of it; nothing here reads or writes a file.

States stand in the labels, as on a token (see ``labels``). Every change gives new contents, which then replace the
file in one step; so nothing here can be half done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dojang.errors import AlreadyExists, FileMalformed, NotFound, NotPermitted, Phrase
from dojang.locations.issuers import chain_among, not_before
from dojang.locations.labels import Label, fresh_retired_label, shown

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A private key; ``held`` is how its file has it. An empty ``key_id``: only opening tells whose it is."""

    key_id: bytes
    label: str
    held: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeptCertificate:
    """A certificate of a signer; ``held`` is what its file keeps with it."""

    key_id: bytes
    label: str
    der: bytes
    held: object = None

    @property
    def state(self) -> Label:
        return Label.from_text(self.label)


@dataclass(frozen=True, slots=True)
class KeptPair:
    """The pair that decrypts, beside the credential of ``owner``; a file may hold half of it."""

    owner: bytes
    certificate: KeptCertificate | None = None
    key: KeptKey | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """Keys, certificates of signers, km pairs, certificates of issuers, and what belongs to other programs."""

    keys: tuple[KeptKey, ...] = ()
    certificates: tuple[KeptCertificate, ...] = ()
    km_pairs: tuple[KeptPair, ...] = ()
    issuers: tuple[KeptCertificate, ...] = ()
    rest: tuple[object, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.keys or self.certificates or self.km_pairs or self.issuers or self.rest)

    def key(self, key_id: bytes) -> KeptKey | None:
        return next((one for one in self.keys if one.key_id == key_id), None)

    def under(self, key_id: bytes) -> list[KeptCertificate]:
        """The certificates of one key."""
        return [one for one in self.certificates if one.key_id == key_id]

    def km_pair(self, owner: bytes) -> KeptPair | None:
        return next((one for one in self.km_pairs if one.owner == owner), None)

    def chain_of(self, certificate_der: bytes) -> tuple[bytes, ...]:
        return chain_among(certificate_der, [one.der for one in (*self.issuers, *self.certificates)])

    def live_first(self) -> "Contents":
        """In the order in which it is written: other programs take what comes first."""
        states = {one.key_id: _rank(one.state) for one in sorted(self.certificates, key=_by_state, reverse=True)}
        keys = sorted(self.keys, key=lambda one: states.get(one.key_id, _rank(Label.from_text(one.label))))
        return replace(self, keys=tuple(keys), certificates=tuple(sorted(self.certificates, key=_by_state)))


def check_label(contents: Contents, label: str, key_id: bytes | None, where: str) -> None:
    """``AlreadyExists`` for a label that a live credential under another id has, ``NotPermitted`` for a state's."""
    if not Label.from_text(label).live:
        raise NotPermitted(
            problem=Phrase("a label that ends in '{state}' means a state", state=label.rpartition(" (")[2]),
            remedy=Phrase("Choose another label."),
        )
    taken = [(one.key_id, one.label) for one in contents.keys] + [
        (one.key_id, one.label) for one in contents.certificates
    ]
    if any(name == label and owner not in (b"", key_id) for owner, name in taken):
        raise AlreadyExists(what=f"'{label}'", where=where)


def with_key(contents: Contents, key: KeptKey, label: str, replaces: bytes | None, where: str) -> Contents:
    """A new key; one under the same id that never got a certificate makes room."""
    if replaces is None:
        check_label(contents, label, key.key_id, where)
    if contents.under(key.key_id):
        raise AlreadyExists(what=Phrase("A key with the id {key_id}", key_id=key.key_id.hex()), where=where)
    others = [one for one in contents.keys if one.key_id != key.key_id]
    return replace(contents, keys=(*others, replace(key, label=shown(label, replaces))))


def with_certificate(
    contents: Contents, new: KeptCertificate, chain_der: Sequence[bytes], replaces: bytes | None, where: str
) -> Contents:
    """The certificate beside its key, and those above it that are not there yet."""
    here = contents.under(new.key_id)
    if any(one.der == new.der for one in here):
        return contents
    if replaces is None:
        check_label(contents, new.label, new.key_id, where)
        for one in here:
            if one.state.live:
                raise AlreadyExists(what=Phrase("A certificate for '{label}'", label=one.label), where=where)
    known = {one.der for one in (*contents.issuers, *contents.certificates)}
    issuers = [KeptCertificate(b"", "", der) for der in dict.fromkeys(chain_der) if der not in known]
    new = replace(new, label=shown(new.label, replaces))
    return replace(
        contents, certificates=(*contents.certificates, new), issuers=(*contents.issuers, *issuers)
    ).live_first()


def switched(
    contents: Contents, old_key_id: bytes, new_key_id: bytes, certificate_der: bytes | None, where: str
) -> tuple[Contents, KeptCertificate]:
    """The staged certificate gets the old one's name, the old one is retired, the km pair goes along.

    Switched already, everything stays. ``NotFound`` where there is no new certificate.
    """
    here, old = contents.under(new_key_id), contents.under(old_key_id)
    live = [one for one in here if one.state.live]
    # Of two that are live for one key, as another program may leave them, the younger is new if nobody says.
    new = (
        [one for one in here if one.state.staged]
        or [one for one in live if one.der == certificate_der]
        or sorted(live, key=lambda one: not_before(one.der))
    )[-1:]
    if not new:
        raise NotFound(what="The new credential", where=where, command=f"dojang cert list '{where}'")
    name = next((one.state.name for one in old if one.state.live and one not in new), new[0].state.name)
    done = _retired(contents, [one for one in old if one.state.live and one not in new])
    stored = replace(new[0], label=name)
    done = replace(
        done,
        certificates=tuple(stored if one == new[0] else one for one in done.certificates),
        keys=tuple(replace(one, label=name) if one.key_id == new_key_id else one for one in done.keys),
        km_pairs=tuple(replace(one, owner=new_key_id) if one.owner == old_key_id else one for one in done.km_pairs),
    )
    return done.live_first(), stored


def retired(contents: Contents, key_id: bytes, where: str) -> Contents:
    """The live certificate under the id taken out of use; ``NotFound`` where there is neither it nor a retired one."""
    here = contents.under(key_id)
    if not any(one.state.live or one.state.retired for one in here):
        raise NotFound(what=key_id.hex(), where=where, command=f"dojang cert list '{where}'")
    return _retired(contents, [one for one in here if one.state.live]).live_first()


def discarded(contents: Contents, key_id: bytes) -> Contents:
    """Without what is staged under the id; without its key too where nothing else needs that."""
    here = contents.under(key_id)
    kept = [one for one in here if not one.state.staged]
    if not kept:
        return deleted(contents, key_id)
    return _without_certificates(contents, [one for one in here if one not in kept])


def deleted(contents: Contents, key_id: bytes) -> Contents:
    """Without anything under the id, and without issuers that stood above nothing else."""
    left = _without_certificates(contents, contents.under(key_id))
    return replace(
        left,
        keys=tuple(one for one in left.keys if one.key_id != key_id),
        km_pairs=tuple(one for one in left.km_pairs if one.owner != key_id),
    )


def loaded(der: bytes) -> "x509.Certificate | None":
    """The certificate; ``None`` for what is none, or has a key of a kind that nobody here knows."""
    from dojang.x509.reading import UNREADABLE, read_certificate

    try:
        certificate = read_certificate(der)
        certificate.public_key()
    except (FileMalformed, *UNREADABLE):
        return None
    return certificate


def common_name(certificate: "x509.Certificate") -> str:
    """What a certificate goes by where its file gives it no name."""
    from cryptography.x509 import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else certificate.subject.rfc4514_string()


def _retired(contents: Contents, old: Iterable[KeptCertificate]) -> Contents:
    certificates, keys = list(contents.certificates), list(contents.keys)
    for one in old:
        label = fresh_retired_label(one.state.name, {other.label for other in certificates})
        certificates = [replace(other, label=label) if other == one else other for other in certificates]
        keys = [replace(other, label=label) if other.key_id == one.key_id else other for other in keys]
    return replace(contents, certificates=tuple(certificates), keys=tuple(keys))


def _without_certificates(contents: Contents, gone: Sequence[KeptCertificate]) -> Contents:
    kept = [one for one in contents.certificates if one not in gone]
    above = {der for one in gone for der in contents.chain_of(one.der)}
    needed = {der for one in kept for der in contents.chain_of(one.der)} if above else set()
    issuers = tuple(one for one in contents.issuers if one.der not in above - needed)
    return replace(contents, certificates=tuple(kept), issuers=issuers)


def _rank(label: Label) -> int:
    return 2 if label.retired else 1 if label.staged else 0


def _by_state(one: KeptCertificate) -> int:
    return _rank(one.state)
