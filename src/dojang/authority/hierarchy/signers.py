"""The keys of an authority as its database has them, each with its generation and what it does now.

next        certified and published; signs nothing yet but its first, empty revocation list
current     signs
retiring    signs no certificates any more; its revocation list and the answers about what it signed go on
retired     signs nothing
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from sqlalchemy import func, insert, select, update

from dojang.authority.tables import signer
from dojang.errors import NotFound, Phrase

if TYPE_CHECKING:
    from sqlalchemy import Connection

NEXT, CURRENT, RETIRING, RETIRED = "next", "current", "retiring", "retired"
_COLUMNS: Final = (
    signer.c.id,
    signer.c.role,
    signer.c.generation,
    signer.c.certificate_der,
    signer.c.key_address,
    signer.c.state,
    signer.c.crl_days,
)


@dataclass(frozen=True, slots=True)
class Key:
    """One generation of one role. ``id`` is the role, later generations are ``issuing-2`` and so on."""

    id: str
    role: str
    generation: int
    certificate_der: bytes
    key_address: str
    state: str
    crl_days: int

    @property
    def certificate(self) -> x509.Certificate:
        return _loaded(self.certificate_der)


_loaded = lru_cache(maxsize=64)(x509.load_der_x509_certificate)


def keys(connection: "Connection", *roles: str) -> list[Key]:
    """Every generation that has a certificate, the oldest of each role first; of some roles or of all."""
    query = select(*_COLUMNS).where(signer.c.certificate_der.is_not(None))
    if roles:
        query = query.where(signer.c.role.in_(roles))
    return [Key(*row) for row in connection.execute(query.order_by(signer.c.role, signer.c.generation))]


def in_state(connection: "Connection", role: str, state: str) -> Key | None:
    """The newest generation of that role in that state."""
    found = [one for one in keys(connection, role) if one.state == state]
    return found[-1] if found else None


def current(connection: "Connection", role: str) -> Key:
    """The one that signs. Raises ``NotFound``."""
    found = in_state(connection, role, CURRENT)
    if found is None:
        what = Phrase("A key in use for '{role}'", role=role)
        raise NotFound(what=what, where=Phrase("the authority"), command="dojang ca signer list")
    return found


def issuer_now(connection: "Connection") -> Key:
    """What signs subscribers' certificates: the issuing key, or the root where there is none."""
    return in_state(connection, "issuing", CURRENT) or current(connection, "root")


def add(
    connection: "Connection", role: str, certificate_der: bytes, key_address: str, *, state: str, crl_days: int = 0
) -> Key:
    """The next generation of that role, inside ``writing()``."""
    generation = next_generation(connection, role)
    made = Key(name_of(role, generation), role, generation, certificate_der, key_address, state, crl_days)
    facts = ("id", "role", "generation", "certificate_der", "key_address", "state", "crl_days")
    connection.execute(insert(signer), {fact: getattr(made, fact) for fact in facts})
    return made


def next_generation(connection: "Connection", role: str) -> int:
    newest = connection.execute(select(func.max(signer.c.generation)).where(signer.c.role == role)).scalar()
    return (newest or 0) + 1


def name_of(role: str, generation: int) -> str:
    """What a key is called, in the record and in addresses."""
    return role if generation == 1 else f"{role}-{generation}"


def set_state(connection: "Connection", one: Key, state: str) -> None:
    connection.execute(update(signer).where(signer.c.id == one.id).values(state=state))


def set_certificate(connection: "Connection", one: Key, certificate_der: bytes) -> None:
    """The same key with a newer certificate."""
    connection.execute(update(signer).where(signer.c.id == one.id).values(certificate_der=certificate_der))


def is_known(connection: "Connection", key_address: str) -> bool:
    """Whether the key at that address is on record, certified or not."""
    query = select(signer.c.id).where(signer.c.key_address == key_address)
    return connection.execute(query.limit(1)).first() is not None


def root_addresses(connection: "Connection") -> frozenset[str]:
    """Where the keys of roots are, of every generation: what a server never opens."""
    query = select(signer.c.key_address).where(signer.c.role == "root")
    return frozenset(connection.execute(query).scalars())
