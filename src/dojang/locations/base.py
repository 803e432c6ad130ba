"""What every place that keeps a key and its certificate can do, and what each says of itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey


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

    ``address`` can be pasted into the next command. ``has_key`` is ``None`` where only opening would tell.
    """

    address: str
    kind: str  # "token", "disk", …
    label: str
    key_id: bytes
    certificate_der: bytes
    chain_der: tuple[bytes, ...] = ()
    has_key: bool | None = None
    retired: bool = False


class Location(Protocol):
    """Lists, opens, generates, installs, retires and deletes; everything is named by ``key_id`` (CKA_ID on a token).

    ``key_id`` is chosen by the caller before anything is made, so that a journal can name what a killed run left behind.
    """

    address: str
    kind: str
    traits: Traits

    def credentials(self) -> Iterator[StoredCredential]:
        """Every certificate here, retired ones too, without asking for a PIN and without touching keys."""
        ...

    def find(self, address: str) -> StoredCredential:
        """The one credential that ``address`` names; ``NotFound`` or ``Ambiguous`` otherwise. Retired ones only by id."""
        ...

    def generate(self, algorithm: str, *, key_id: bytes, label: str) -> "PrivateKey":
        """Make a key pair here under ``key_id`` and hand it out; durable when this returns."""
        ...

    def private_key(self, key_id: bytes) -> "PrivateKey":
        """The private key under ``key_id``, as a ``cryptography`` key that signs in its location."""
        ...

    def has_key(self, key_id: bytes) -> bool:
        """Whether a private key lies under ``key_id``."""
        ...

    def install(
        self, *, key_id: bytes, label: str, certificate_der: bytes, chain_der: Sequence[bytes]
    ) -> StoredCredential:
        """Put certificate and chain beside the key; installing the same again changes nothing."""
        ...

    def switch(self, *, old_key_id: bytes, new_key_id: bytes) -> StoredCredential:
        """Give the new credential the old one's name and mark the old retired; finishes a switch that was cut short."""
        ...

    def delete(self, key_id: bytes) -> None:
        """Remove key, certificate and data under ``key_id``; nothing there is not an error."""
        ...
