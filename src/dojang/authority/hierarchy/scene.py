"""What the steps of a hierarchy work with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dojang.authority.hierarchy.certifying import Above
from dojang.authority.hierarchy.signers import Key, keys
from dojang.errors import CertificateUnusable, NotPermitted, Phrase
from dojang.x509.keys import same_key
from dojang.x509.name import format_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from sqlalchemy import Connection

    from dojang.authority.database import Database


@dataclass(frozen=True, slots=True)
class Scene:
    """One authority at one moment. ``open_key`` gives the private key at an address, ``publish`` the list of a signer.

    ``base`` is the authority's own address, ``profiles`` the folder with its own profiles.
    """

    name: str
    database: "Database"
    open_key: "Callable[[str], PrivateKey]"
    publish: Callable[[str], object]
    at: datetime
    base: str | None = None
    profiles: Path | None = None

    def private(self, one: Key) -> "PrivateKey":
        """The private half. ``CertificateUnusable`` where another key has come to lie at the address."""
        return private_of(one, self.open_key)

    def above(self, one: Key) -> Above:
        """That key, ready to certify others."""
        return Above(one, self.private(one), self.at, self.base)


def private_of(one: Key, open_key: "Callable[[str], PrivateKey]") -> "PrivateKey":
    """The private half; another key may have come to lie at the address, and nothing is ever signed with that."""
    found = open_key(one.key_address)
    if not same_key(found.public_key(), one.certificate.public_key()):
        problem = Phrase("the private key does not belong to it")
        raise CertificateUnusable(subject=format_name(one.certificate.subject), problem=problem)
    return found


def check_unused(connection: "Connection", private: "PrivateKey") -> None:
    """``NotPermitted`` for a key that does something else for this authority already."""
    for one in keys(connection):
        if same_key(private.public_key(), one.certificate.public_key()):
            raise NotPermitted(
                problem=Phrase("the key is that of '{signer}' already", signer=one.id),
                remedy=Phrase(
                    "Give each a key of its own, on the same token with another label: --key 'ADDRESS;object=NAME'."
                ),
            )
