"""What a conversation needs of the authority behind it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cryptography import x509

from dojang.authority.base import Entry, Kind
from dojang.x509.request import CertificateRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes as PublicKey

    from dojang.authority.database import Database
    from dojang.authority.enrolment import Enrolments
    from dojang.authority.factors.desk import FactorDesk
    from dojang.authority.hierarchy.chains import RootUpdate
    from dojang.authority.settings import CmpSettings
    from dojang.x509.profiles import Profile


class Order(NamedTuple):
    """One certificate to be issued. ``transaction_id`` is never used for another; ``request_der`` is kept to tell
    whether the same was asked. ``reference`` is the enrolment that is used up by it. ``confirmed`` when nobody will.
    """

    kind: Kind
    request: CertificateRequest
    request_der: bytes
    profile: str
    transaction_id: str
    replaces_der: bytes | None = None
    years: int | None = None
    reference: str | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """A certificate that the authority issued. ``state`` is as in its records."""

    serial: str
    certificate_der: bytes
    state: str
    profile: str
    is_replaced: bool
    reference: str | None

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate_der)


@dataclass(frozen=True, slots=True)
class Spokesman:
    """Who signs what the authority says: the key that issues, or one with a certificate for that (cmcCA)."""

    key: "PrivateKey"
    certificate_der: bytes
    chain_der: tuple[bytes, ...]


class Office(Protocol):
    """The authority, as far as CMP has to do with it. What is refused is ``AuthorityRefused`` or ``CodeRefused``."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> "CmpSettings": ...

    @property
    def confirm_term(self) -> timedelta:
        """How long a certificate is waited for to be confirmed; then it is revoked."""
        ...

    @property
    def database(self) -> "Database": ...

    @property
    def enrolments(self) -> "Enrolments": ...

    @property
    def factors(self) -> "FactorDesk":
        """Where applicants pass what issuing asks for."""
        ...

    def now(self) -> datetime:
        """UTC, in whole seconds."""
        ...

    def chain_der(self) -> tuple[bytes, ...]:
        """The certificate that issues first, the root last."""
        ...

    def spokesman(self) -> Spokesman: ...

    def known(self, certificate_der: bytes) -> Known | None:
        """The record of exactly this certificate."""
        ...

    def named(self, issuer: x509.Name, serial: int) -> Known | None:
        """The record of the certificate with this issuer and serial."""
        ...

    def certificate_der(self, serial: str) -> bytes:
        """A certificate that was issued."""
        ...

    def several(self, profile: str) -> "Profile | None":
        """This profile, where one who has a certificate by it may have another beside it."""
        ...

    def is_certified(self, public_key: "PublicKey") -> bool:
        """Whether there is or was a certificate for this key."""
        ...

    def issue(self, order: Order, entry: Callable[[bytes], Entry]) -> bytes:
        """Sign the certificate, then record it and what ``entry`` makes of its DER, both or neither.

        Returns the one on record, which is another where somebody has answered the transaction meanwhile.
        """
        ...

    def confirm(self, transaction_id: str, entry: Entry) -> None:
        """Record that it arrived; after a reissue the old one is revoked and the list published."""
        ...

    def cancel(self, transaction_id: str, entry: Entry) -> None:
        """Revoke what was not confirmed."""
        ...

    def revoke(self, serial: str, reason: str, entry: Entry) -> None:
        """For good, or with ``certificateHold`` until somebody restores it; and publish it."""
        ...

    def root_update(self, old_der: bytes | None) -> "RootUpdate | None":
        """What came in the place of this root, or of the oldest; ``None`` where it is the newest."""
        ...

    def lists_der(self) -> Sequence[bytes]:
        """The newest complete revocation lists."""
        ...
