"""An authority that is reached over a network, and what it has to know of whoever asks it.

What was said is kept by the asker, in his journal, so that a conversation that was cut short goes on where it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dojang.authority.base import CertificateAuthority
from dojang.ledger import Fact

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.x509 import ReasonFlags


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs what is asked: a key where it lies, with its certificate and the certificates above that."""

    key: "PrivateKey"
    certificate_der: bytes
    chain_der: tuple[bytes, ...] = ()


class Asker(Protocol):
    """Whoever asks for one operation."""

    @property
    def by_key(self) -> bool:
        """Whether only the signer speaks, whatever code was given."""
        ...

    @property
    def notes(self) -> Mapping[str, Fact]:
        """What was noted of the conversation so far, in this run or in one before it."""
        ...

    def note(self, **facts: Fact) -> None:
        """Keep it; durable when this returns. Never a code, never a key."""
        ...

    def signer(self) -> Signer | None:
        """The key of the certificate that it is about, where it can be used; a PIN or password may be asked."""
        ...


class AskedElsewhere(CertificateAuthority, Protocol):
    """One operation's side of a conversation."""

    def signer(self) -> Signer | None:
        """See ``Asker``."""
        ...

    def revoke_for(self, transaction_id: str, certificate_der: bytes, reason: "ReasonFlags") -> None:
        """Have a certificate revoked for good; revoked already, nothing is left to do.

        Raises ``AuthorityRefused``, ``AuthorityUnreachable``, ``AuthorityUntrusted``.
        """
        ...

    def learn_root(self, chain_der: tuple[bytes, ...]) -> None:
        """Ask, once for all who ask, what came in the place of the newest root that it is believed by, and believe that
        too.

        ``chain_der`` may lead from one to the other. Raises ``AuthorityUntrusted`` for a root that nothing leads to.
        """
        ...


@runtime_checkable
class Elsewhere(Protocol):
    """An authority whose rules are not known here: it says itself what it grants."""

    name: str

    def has_reference(self, *, needed: bool = False) -> bool:
        """Whether there is a reference number with its code; if ``needed``, it may be asked for. ``InputRequired``."""
        ...

    def asked_by(self, asker: Asker) -> AskedElsewhere:
        """The same authority, as the asker speaks with it."""
        ...
