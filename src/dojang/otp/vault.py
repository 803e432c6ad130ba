"""Seeds at scale: kept sealed under a key on the HSM, computed with there, and never in this process in plain.

    sealed = vault.make(32)                                     # made by the HSM
    vault.hmacs(sealed, "sha1", [message, …])                   # unwrapped, used and destroyed there in one turn

What is sealed says under which key; it is kept in the owner's database, as many as there are devices.
"""

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from dojang.otp.keks import Kek, Keks, current_row
from dojang.otp.truncation import HASHES
from dojang.pkcs11 import sealed_hmac
from dojang.pkcs11.wrapping import unwrap_value

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ONCE_BYTES: Final = 32


class Sealed(NamedTuple):
    """A seed under the key with the id ``kek``."""

    kek: str
    wrapped: bytes


class Vault:
    """Any number of threads and processes may use it."""

    def __init__(self, keks: Keks) -> None:
        self.keks = keks
        self._decoys: dict[str, Sealed] = {}

    # In

    def make(self, hash_name: str) -> Sealed:
        """A new seed, as long as the hash and no shorter than 32 bytes; some tokens compute with no shorter one."""
        length = max(HASHES[hash_name], 32)
        return self._sealed(lambda kek: sealed_hmac.new_seed(kek.token, length, under=kek.key_id), hash_name)

    def take(self, value: bytearray, hash_name: str) -> Sealed:
        """A seed that was made elsewhere; there are zeros in ``value`` afterwards.

        It is filled up with zeros to what ``hash_name`` gives, which makes no difference to an HMAC (RFC 2104, 2).
        """
        length = max(HASHES[hash_name], len(value))
        filled = bytearray(length + -length % sealed_hmac.BLOCK)  # to make ``value`` longer may leave a copy of it
        filled[: len(value)] = value
        value[:] = bytes(len(value))
        return self._sealed(lambda kek: sealed_hmac.seal_seed(kek.token, filled, under=kek.key_id), hash_name)

    def take_wrapped(self, wrapped: bytes, transport_key: bytes, way: str, hash_name: str) -> Sealed:
        """A seed that came wrapped under a key both sides know (``sealed_hmac.take_seed``); plain on the HSM only."""

        def taken(kek: Kek) -> bytes:
            return sealed_hmac.take_seed(kek.token, wrapped, transport_key, way, under=kek.key_id)

        return self._sealed(taken, hash_name)

    def _sealed(self, work: Callable[[Kek], bytes], hash_name: str) -> Sealed:
        """Proved by one HMAC: a token may take a seed with which it cannot compute."""
        kek = self.keks.current()
        made = Sealed(kek.id, work(kek))
        self.hmacs(made, hash_name, [bytes(8)])
        return made

    def is_current(self, connection: "Connection", sealed: Sealed) -> bool:
        """Whether it may be kept; asked in the transaction that keeps it. Its key may have been replaced meanwhile."""
        row = current_row(connection)
        return row is not None and row.id == sealed.kek

    # Use

    def hmacs(self, sealed: Sealed, hash_name: str, messages: Sequence[bytes]) -> list[bytes]:
        """HMAC of each message. ``NotFound`` where the key is gone: the seed may lie under a newer one by now."""
        kek = self.keks.of(sealed.kek)
        return sealed_hmac.seed_hmacs(kek.token, sealed.wrapped, messages, under=kek.key_id, hash_name=hash_name)

    def was_replaced(self, sealed: Sealed) -> bool:
        """Whether the key under which it was sealed is gone because there is a newer one; then it is forgotten here."""
        self.keks.forget(sealed.kek)
        return self.keks.current().id != sealed.kek

    def decoy(self, hash_name: str) -> Sealed:
        """A seed of nobody, for what is to look like work; another one in each process, made anew under a new key."""
        found = self._decoys.get(hash_name)
        if found is None or not self.keks.has_open(found.kek):
            found = self._decoys[hash_name] = self.make(hash_name)
        return found

    # Anew, and out

    def seal_anew(self, sealed: Sequence[bytes], old: str, new: str) -> list[bytes]:
        """Seeds under one key, each under another; on the HSM.

        To another HSM, as after a rollover to one, each goes wrapped under a key for this once, and is plain in both
        only.
        """
        before, after = self.keks.of(old), self.keks.of(new)
        if before.token.token.guarded_name == after.token.token.guarded_name:
            return sealed_hmac.rewrap_seeds(before.token, sealed, under=before.key_id, to=after.key_id)
        once = secrets.token_bytes(_ONCE_BYTES)
        given = [sealed_hmac.give_seed(before.token, one, once, "kw", under=before.key_id) for one in sealed]
        return [sealed_hmac.take_seed(after.token, one, once, "kw", under=after.key_id) for one in given]

    def give_wrapped(self, sealed: Sealed, transport_key: bytes, way: str) -> bytes:
        """A seed under a key both sides know (``sealed_hmac.give_seed``)."""
        kek = self.keks.of(sealed.kek)
        return sealed_hmac.give_seed(kek.token, sealed.wrapped, transport_key, way, under=kek.key_id)

    def reveal_unprotected(self, sealed: Sealed) -> bytes:
        """The seed itself, for a QR code or a file that somebody asked for; nothing else calls this."""
        kek = self.keks.of(sealed.kek)
        return unwrap_value(kek.token, sealed.wrapped, under=kek.key_id)
