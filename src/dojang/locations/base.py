"""What every place that keeps a key and its certificate can do, and what each says of itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Protocol, runtime_checkable

from dojang.errors import Phrase
from dojang.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from dojang.errors import DojangError
    from dojang.locations.password_tries import PasswordTries
    from dojang.npki.keyfile import KeyFileForm
    from dojang.npki.pkcs8 import Pkcs8
    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.guard import PinGuard
    from dojang.pkcs11.pin import PinProvider
    from dojang.pkcs11.wrapping import WrappingKey
    from dojang.tbs import Glance

    PrivateKey = CertificateIssuerPrivateKeyTypes

PasswordProvider = Callable[[str, bool], Secret]
"""Given the path a password is for, and whether it is new (and so to be typed twice), gives the password."""


@dataclass(frozen=True, slots=True)
class RObject:
    """CKA_LABEL and CKA_APPLICATION of the data object that keeps R on a token; no published text says what they are,
    so both are settings.
    """

    label: str = "R"
    application: str = "NPKI"


R_OBJECT = RObject()


@dataclass(frozen=True, slots=True)
class Access:
    """What opening a location may take: where modules are, who gives PINs and passwords, how careful to be, whether
    the agent that runs may sign, what R goes by on tokens, how key files are written, where wrong passwords count,
    which of ``npki.pkcs12_writing.PROFILES`` a PKCS#12 file gets, where not the one that it has, and who gives the key
    that a card wants before a certificate on it is changed, where it is not the usual one.
    """

    search: "ModuleSearch | None" = None
    pins: "PinProvider | Secret | None" = None
    passwords: PasswordProvider | None = None
    guard: "PinGuard | None" = None
    last_try: bool = False
    agent: bool = True
    r_object: RObject = R_OBJECT
    key_files: "KeyFileForm | None" = None
    tries: "PasswordTries | None" = None
    pkcs12_profile: str | None = None
    so_pins: "PinProvider | None" = None


@dataclass(frozen=True, slots=True)
class Traits:
    """What a location states plainly about itself.

    ``listed_by`` says what it takes to see the certificates: a PKCS#12 file hides them under its password.
    ``watchable``: it can be told when it comes and goes.
    """

    key_leaves: bool
    copyable: bool
    opened_by: str  # "pin", "password" or "nothing"
    holds_r: bool
    watchable: bool = False
    listed_by: str = "nothing"  # or "password"


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """One certificate and the key it belongs to, as found in a location.

    ``address`` can be pasted into the next command; ``key_id`` is the identity that outlives renaming.
    ``seen`` is what was read of the certificate on the way, where it was.
    ``has_key`` is ``None`` where only opening would tell. ``staged``: installed by a renewal that has not switched yet.
    """

    address: str
    kind: str  # "token", "disk", …
    label: str
    key_id: bytes
    certificate_der: bytes
    has_key: bool | None = None
    staged: bool = False
    retired: bool = False
    seen: "Glance | None" = field(default=None, compare=False, repr=False)

    @property
    def live(self) -> bool:
        """Whether its name finds it: neither staged nor retired."""
        return not (self.staged or self.retired)


class Location(Protocol):
    """Lists, opens, generates, installs, retires and deletes; everything is named by ``key_id`` (CKA_ID on a token).

    ``key_id`` is chosen by the caller before anything is made: so a journal can name what a killed run left behind.

    A credential is *staged*, then *live*, then *retired*. One that replaces another (``replaces`` is that one's
    ``key_id``, the same again when the key is kept) stays staged, out of everybody's way, until ``switch``. Names find
    live credentials only; ids find all three, the live one first.
    """

    @property
    def address(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def traits(self) -> Traits: ...

    def credentials(self) -> Iterator[StoredCredential]:
        """Every certificate here, staged and retired ones too, without asking for a PIN and without touching keys."""
        ...

    def find(self, address: str) -> StoredCredential:
        """The one credential that ``address`` names; ``NotFound`` or ``Ambiguous`` otherwise."""
        ...

    def chain_of(self, certificate_der: bytes) -> tuple[bytes, ...]:
        """The issuer certificates kept here for that certificate, its own issuer first; empty when none are kept."""
        ...

    def check_free(self, *, label: str, subject_der: bytes) -> None:
        """Refuse with ``AlreadyExists`` when a live credential has the name a new one would get."""
        ...

    def generate(self, algorithm: str, *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        """Make a key pair here under ``key_id`` and hand it out; durable when this returns."""
        ...

    def private_key(self, key_id: bytes) -> "PrivateKey":
        """The private key under ``key_id``, as a ``cryptography`` key that signs in its location."""
        ...

    def has_key(self, key_id: bytes) -> bool:
        """Whether a private key lies under ``key_id``; may need the PIN."""
        ...

    def install(
        self,
        *,
        key_id: bytes,
        label: str,
        certificate_der: bytes,
        chain_der: Sequence[bytes] = (),
        replaces: bytes | None = None,
    ) -> StoredCredential:
        """Put certificate and chain beside the key; installing the same again changes nothing."""
        ...

    def switch(self, *, old_key_id: bytes, new_key_id: bytes, certificate_der: bytes | None = None) -> StoredCredential:
        """Give the staged credential the old one's place and retire the old; finishes a switch that was cut short.

        ``certificate_der``, the new certificate, tells old from new where both are for one key and equally young.
        """
        ...

    def discard(self, key_id: bytes) -> None:
        """Undo ``generate`` and a staging ``install``: remove what is not live or retired under ``key_id``."""
        ...

    def delete(self, key_id: bytes) -> None:
        """Remove key, certificates and data under ``key_id``, live and retired; nothing there is not an error."""
        ...


IN_USE: Final = Phrase("A credential in use")
"""What is not found where a whole place is asked for the one that is in it."""


@runtime_checkable
class MayBeAbsent(Protocol):
    """A location that opens where nothing is yet, and so looks empty while its disk is not mounted."""

    def check_present(self) -> None:
        """Refuse with ``FileUnreadable`` when there is nothing at all, not even an empty location."""
        ...


@runtime_checkable
class MayBeDamaged(Protocol):
    """A location in which a credential may be that is listed by nothing, since it cannot be read."""

    def damaged(self) -> "list[tuple[str, DojangError]]":
        """The addresses of those that the last look at the credentials had to leave out, and what is wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Companions:
    """What other programs keep beside a signing pair: the pair that decrypts (km), and issuers as the CA sent them.

    Empty where there is none. Without the km key, nothing that was encrypted before can be read.
    """

    km_certificate_der: bytes = b""
    km_key: "Pkcs8 | None" = None
    ca_pubs: bytes = b""

    def names(self) -> frozenset[str]:
        """Which of ``km`` and ``ca_pubs`` are there."""
        found = {"km": bool(self.km_certificate_der or self.km_key), "ca_pubs": bool(self.ca_pubs)}
        return frozenset(name for name, there in found.items() if there)


@runtime_checkable
class GivesKeys(Protocol):
    """A location that a key can be taken out of."""

    def export_key(self, key_id: bytes) -> "Pkcs8":
        """The private key under ``key_id`` with everything its file keeps with it, R above all; in memory only."""
        ...


@runtime_checkable
class TakesKeys(Protocol):
    """A location that a key made elsewhere can be put into."""

    def import_key(self, key: "Pkcs8", *, key_id: bytes, label: str, replaces: bytes | None = None) -> "PrivateKey":
        """Keep ``key``, its R with it, under ``key_id``, and hand it out as it signs here; durable when this returns.

        As with ``generate``: ``install`` completes it, ``discard`` takes it back.
        """
        ...


@runtime_checkable
class HoldsR(Protocol):
    """A location whose kind holds R, and that tells of this very one whether it does."""

    @property
    def holds_r(self) -> bool:
        """Whether R can be kept here: not on a token without data objects. May need the PIN."""
        ...

    def random_number(self, key_id: bytes) -> Secret | None:
        """R of the key under ``key_id``; ``None`` where there is none."""
        ...


@runtime_checkable
class TakesR(Protocol):
    """A location that makes a key for an R that is known before: that of its predecessor, or of a VID."""

    def keep_random_number(self, random_number: Secret, *, key_id: bytes, replaces: bytes | None = None) -> None:
        """The key that is made next under ``key_id``, with the same ``replaces``, gets this R. ``NotPermitted`` where
        R cannot be kept.

        ``discard`` and ``delete`` take it back, with the key or without.
        """
        ...


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A private key and its R, encrypted under a wrapping key (AES-KWP, RFC 5649): the one as PKCS#8, the other, where
    there is one, as an OCTET STRING; zeros may follow both. ``public_key_der`` is a SubjectPublicKeyInfo.
    """

    algorithm: str
    public_key_der: bytes
    key: bytes
    random_number: bytes = b""


class WaitingKey(NamedTuple):
    """A key that is there and waits for its certificate."""

    key_id: bytes
    algorithm: str


@runtime_checkable
class KeepsKeys(Protocol):
    """A location that has keys and makes none, as a card whose keys another program puts there.

    ``generate`` hands out the key that waits under ``key_id``, ``discard`` leaves it there. Its certificate is written
    in one step over one that the key signed for itself; what was begun with that is finished, never undone.
    """

    def refuse_new_key(self) -> NoReturn:
        """``UnsupportedOperation``, with the keys that are there and the program that makes others."""
        ...

    def waiting_key(self, address: str) -> WaitingKey | None:
        """The key that ``address`` names, or the only one; ``None`` where that is none, or might be several.

        ``AlreadyExists`` where it has a certificate that was issued.
        """
        ...


@runtime_checkable
class WrapsKeys(Protocol):
    """A location whose keys can leave it encrypted under another of its keys, where they were made for that."""

    def find_key(self, address: str) -> tuple[bytes, str]:
        """``key_id`` and label of the one private key that ``address`` names, whether it has a certificate or not."""
        ...

    def wrapping_key(self, name: str) -> "WrappingKey":
        """The wrapping key of that label or address. ``NotFound``, ``Ambiguous``; ``NotPermitted`` if it is none."""
        ...

    def generate_wrappable(
        self, algorithm: str, *, key_id: bytes, label: str, under: "WrappingKey", replaces: bytes | None = None
    ) -> "PrivateKey":
        """As ``generate``, but wrapping keys may wrap it; only trusted ones where ``under`` is one of those."""
        ...

    def wrap(self, key_id: bytes, under: "WrappingKey") -> WrappedKey:
        """The key under ``key_id`` with its R. ``KeyDoesNotLeave`` for one that was not made for it."""
        ...

    def unwrap(self, wrapped: WrappedKey, under: "WrappingKey", *, key_id: bytes, label: str) -> "PrivateKey":
        """Keep a wrapped key and its R under ``key_id``, never to leave again; as ``TakesKeys.import_key``."""
        ...

    def wrap_value(self, value: bytes, under: "WrappingKey") -> bytes:
        """Bytes in hand encrypted in the same way, always to the same; a multiple of eight of them."""
        ...


@runtime_checkable
class KeepsWrappingKeys(Protocol):
    """A location that can be given a wrapping key; ``discard`` takes it back."""

    def wrapping_key(self, name: str) -> "WrappingKey":
        """As ``WrapsKeys``."""
        ...

    def keep_wrapping_key(self, value: bytes, *, key_id: bytes, label: str) -> "WrappingKey":
        """Keep a wrapping key that was made elsewhere, never to leave again; proven by what it wraps."""
        ...


@runtime_checkable
class HoldsCompanions(Protocol):
    """A location that keeps the companions of a signing pair, or some of them."""

    @property
    def companions_held(self) -> frozenset[str]:
        """Of ``km`` and ``ca_pubs`` those that can be kept here."""
        ...

    def export_companions(self, key_id: bytes) -> Companions:
        """What lies beside the key under ``key_id``."""
        ...

    def import_companions(self, companions: Companions, *, key_id: bytes) -> None:
        """Put those that can be kept beside a key that ``import_key`` brought and ``install`` has not completed."""
        ...


@runtime_checkable
class Retires(Protocol):
    """A location that takes a credential out of use though nothing here takes its place."""

    def retire(self, key_id: bytes) -> StoredCredential:
        """Retire the live credential under ``key_id``: readable still, found by its name no longer; retired already,
        nothing changes. Needs no password: the key may be lost.
        """
        ...


@runtime_checkable
class ChangesPassword(Protocol):
    """A location whose credentials lie under passwords of their own."""

    def change_password(self, key_id: bytes) -> None:
        """Put the credential under a new password; both are asked of the password provider, the old one first.

        Killed at any moment, every key opens with the old or the new one; run again, it finishes.
        """
        ...
