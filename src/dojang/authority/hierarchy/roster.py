"""Who signs for an authority now, and with which chain: asked of the database every few seconds, and before it counts.

A server that was started before a switch goes on with the new key: what was signed with the old one after the switch is
not recorded (``may_sign``), but signed again.
"""

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from cryptography import x509
from sqlalchemy import bindparam, select

from dojang.authority.folder import CRL_NAME, ROOT_CRL_NAME
from dojang.authority.hierarchy.chains import chain_of, issuer_of, root_of
from dojang.authority.hierarchy.scene import private_of
from dojang.authority.hierarchy.signers import CURRENT, Key, current, in_state, issuer_now, keys
from dojang.authority.swift import Prepared
from dojang.authority.tables import IS_CURRENT, certificate, signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes as PrivateKey
    from sqlalchemy import Connection, RootTransaction

    from dojang.authority.database import Database

_AGAIN: Final = 5.0
"""Seconds after which another process's switch is looked for."""
_IN_USE: Final = Prepared(select(signer.c.id).where(IS_CURRENT, signer.c.id == bindparam("name")))


@dataclass(frozen=True, slots=True)
class Roll:
    """As it was at one look. ``root`` is the root in use, ``above`` the one that certified the issuer.

    ``standing`` is the state of the issuer's certificate. ``speaker`` signs what is said over CMP, and
    ``above_speaker_der`` leads from whoever certified it, which after a switch is the key before, to the root.
    """

    issuer: Key
    root: Key
    above: Key
    chain_der: tuple[bytes, ...]
    keys: tuple[Key, ...]
    standing: str
    speaker: Key
    above_speaker_der: tuple[bytes, ...]

    @property
    def is_two_tier(self) -> bool:
        return self.issuer.role != "root"

    def file_of(self, name: str) -> str:
        """The file that the revocation list of a key has in the authority's folder."""
        if name == "root":
            return ROOT_CRL_NAME if self.is_two_tier else CRL_NAME
        return CRL_NAME if name == "issuing" else f"{name}-{CRL_NAME}"


class Roster:
    """For many threads. ``open_key`` is called at most once for the key at an address."""

    def __init__(
        self,
        folder: Path,
        database: "Database",
        open_key: "Callable[[str], PrivateKey]",
        clock: "Callable[[], datetime]",
    ) -> None:
        self._folder, self._database, self._open_key, self._clock = folder, database, open_key, clock
        self._private: dict[str, PrivateKey] = {}
        self._turn, self._looking = threading.Lock(), threading.Lock()
        self._roll, self._looked_at = self._look(), time.monotonic()

    def now(self) -> Roll:
        """Not older than a few seconds."""
        if time.monotonic() - self._looked_at > _AGAIN:
            self.look()
        return self._roll

    def look(self) -> Roll:
        """As of this moment. One thread looks at a time, so that none puts an older look in the place of a newer."""
        with self._looking:
            self._roll, self._looked_at = self._look(), time.monotonic()
            return self._roll

    def named(self, name: str) -> Key:
        """A key of any generation that has a certificate."""
        found = {one.id: one for one in self._roll.keys}
        return found[name] if name in found else {one.id: one for one in self.look().keys}[name]

    def private(self, name: str) -> "PrivateKey":
        """The private half of that key. ``CertificateUnusable`` where another has come to lie at its address."""
        with self._turn:
            if name not in self._private:
                self._private[name] = private_of(self.named(name), self._open_key)
            return self._private[name]

    def chain_of(self, name: str) -> tuple[bytes, ...]:
        """What belongs to a certificate that this key signed."""
        roll = self.now()
        if name == roll.issuer.id:
            return roll.chain_der
        with self._database.reading() as connection:
            return chain_of(connection, self.named(name), self._clock())

    def list_path(self, name: str) -> Path:
        """Where the revocation list of that key lies."""
        return self._folder / self.now().file_of(name)

    def close(self) -> None:
        self._private.clear()

    def _look(self) -> Roll:
        with self._database.reading() as connection:
            issuer = issuer_now(connection)
            root, above = current(connection, "root"), root_of(connection, issuer)
            chain_der = chain_of(connection, issuer, self._clock())
            standing = standing_of(connection, issuer.certificate)
            speaker = in_state(connection, "cmp", CURRENT)
            above_speaker = chain_der if speaker is None else self._chain_above(connection, speaker)
            known = tuple(keys(connection))
            return Roll(issuer, root, above, chain_der, known, standing, speaker or issuer, above_speaker)

    def _chain_above(self, connection: "Connection", one: Key) -> tuple[bytes, ...]:
        return chain_of(connection, issuer_of(connection, one), self._clock())


_STANDING: Final = Prepared(select(certificate.c.state).where(certificate.c.serial == bindparam("own")))
_seen: "WeakKeyDictionary[RootTransaction, dict[str, bool]]" = WeakKeyDictionary()


def may_sign(connection: "Connection", name: str, certificate: x509.Certificate) -> bool:
    """Inside ``writing()``: whether that key signs now, and its certificate stands. Asked once in a transaction."""
    transaction = connection.get_transaction()
    assert transaction is not None
    known = _seen.setdefault(transaction, {})
    if name not in known:
        is_in_use = _IN_USE.row(connection, {"name": name}) is not None
        known[name] = is_in_use and standing_of(connection, certificate) == "confirmed"
    return known[name]


def standing_of(connection: "Connection", own: x509.Certificate) -> str:
    """The state of an issuer's certificate; a root's is on no record, and stands."""
    row = _STANDING.row(connection, {"own": f"{own.serial_number:x}"})
    return "confirmed" if row is None else str(row[0])
