"""What is sealed on an authority's own token: the keys for seeds and cards, and what is kept under them."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dojang.authority import audit
from dojang.authority.enrolment.code_key import issuing_key
from dojang.errors import Phrase, UnsupportedOperation

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dojang.authority.local import LocalAuthority
    from dojang.otp.cards import Cards
    from dojang.otp.devices import Devices
    from dojang.otp.keks import Home, Keks
    from dojang.otp.rotation import Rotation
    from dojang.pkcs11.opened import OpenToken


@runtime_checkable
class TokenRing(Protocol):
    """Who can open the tokens of an authority, as a process has them."""

    def token(self, address: str) -> "OpenToken":
        """The token of the key at that address; it stays open as long as this."""
        ...


def keks_of(authority: "LocalAuthority", opener: object) -> "Keks":
    """The keys under which the authority seals. The token is opened when one is needed first."""
    from dojang.otp.keks import Keks

    def token(address: str) -> "OpenToken":
        if not isinstance(opener, TokenRing):
            raise UnsupportedOperation(where=Phrase("This authority"), operation=Phrase("seal on its token"))
        return opener.token(address)

    return Keks(authority.database, _home, token, audit.record, authority.now, authority.name)


def devices_of(authority: "LocalAuthority", keks: "Keks") -> "Devices":
    """The registered devices of the authority."""
    from dojang.otp.devices import Devices
    from dojang.otp.vault import Vault

    policy = authority.settings.otp()
    note, many = audit.record, audit.record_many
    return Devices(authority.database, Vault(keks), note, authority.now, policy, authority.name, many)


def rotation_of(authority: "LocalAuthority") -> "Rotation":
    """A new key over all of it."""
    from dojang.otp.rotation import Rotation

    vault, others = authority.devices.vault, [authority.cards.seal_anew]
    return Rotation(authority.database, vault, audit.record, authority.now, others)


def cards_of(authority: "LocalAuthority", keks: "Keks") -> "Cards":
    """The security cards of the authority."""
    from dojang.otp.cards import Cards
    from dojang.otp.keks import SealingKeys

    policy = authority.settings.cards()
    return Cards(authority.database, SealingKeys(keks), audit.record, authority.now, policy, authority.name)


def _home(connection: "Connection") -> "Home":
    from dojang.otp.keks import Home

    address, certificate_der = issuing_key(connection)
    return Home(address, certificate_der)
