"""What every place that keeps a key and its certificate can do, and what each says of itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dojang.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from dojang.pkcs11.discovery import ModuleSearch
    from dojang.pkcs11.guard import PinGuard
    from dojang.pkcs11.pin import PinProvider

    PrivateKey = CertificateIssuerPrivateKeyTypes

PasswordProvider = Callable[[str, bool], Secret]
"""Given the path a password is for, and whether it is new (and so to be typed twice), gives the password."""


@dataclass(frozen=True, slots=True)
class Access:
    """What opening a location may take: where modules are, who gives PINs and passwords, how careful to be, and whether
    the agent that runs may sign.
    """

    search: "ModuleSearch | None" = None
    pins: "PinProvider | Secret | None" = None
    passwords: PasswordProvider | None = None
    guard: "PinGuard | None" = None
    last_try: bool = False
    agent: bool = True


@dataclass(frozen=True, slots=True)
class Traits:
    """What a location states plainly about itself."""

    key_leaves: bool
    copyable: bool
    opened_by: str  # "pin", "password" or "nothing"
    holds_r: bool


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """One certificate and the key it belongs to, as found in a location.

    ``address`` can be pasted into the next command; ``key_id`` is the identity that outlives renaming.
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


@runtime_checkable
class MayBeAbsent(Protocol):
    """A location that opens where nothing is yet, and so looks empty while its disk is not mounted."""

    def check_present(self) -> None:
        """Refuse with ``FileUnreadable`` when there is nothing at all, not even an empty location."""
        ...
