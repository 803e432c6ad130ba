"""The keys on the HSM under which the verifying side seals what it keeps: one is current, older ones retire.

Each wraps seeds and does nothing else. Beside it lives a key that seals data (security cards): under one key for both,
whoever may open a card could open a seed as if it were one.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, Row, insert, select

from dojang.errors import NotFound, NotPermitted, Phrase, StateUnreadable
from dojang.otp import tables
from dojang.pkcs11.sealing import SealingKey, generate_sealing_key, has_sealing_key
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.pkcs11.wrapping import WrappingKey, generate_wrapping_key, wrapping_key

if TYPE_CHECKING:
    from dojang.otp.records import Clock, Note, Records
    from dojang.pkcs11.opened import OpenToken

_ID_BYTES: Final = 20
_KEK: Final = tables.otp_kek


class Home(NamedTuple):
    """Where new keys are made: on the token of the key at ``beside``. ``mark`` tells one owner from all others."""

    beside: str
    mark: bytes


@dataclass(frozen=True, slots=True)
class Kek:
    """One key, ready for use."""

    id: str
    token: "OpenToken"
    key_id: bytes


class Keks:
    """The keys of one database, for many threads. A token is opened when one of its keys is needed first."""

    def __init__(
        self,
        records: "Records",
        home: Callable[[Connection], Home],
        open_token: "Callable[[str], OpenToken]",
        note: "Note",
        clock: "Clock",
        owner: str,
    ) -> None:
        """``owner`` is whose keys these are, for people."""
        self._records, self._home, self._open_token = records, home, open_token
        self._note, self._clock, self.owner = note, clock, owner
        self._open: dict[str, Kek] = {}

    def current(self) -> Kek:
        """The key for what is new; made when there is none yet.

        Its CKA_ID follows from its number and from whose it is: a run that was killed between making and recording it
        left a key that the next one finds and takes. One at a time, so the token is asked inside the transaction.
        """
        with self._records.reading() as connection:
            row = current_row(connection)
        if row is None:
            with self._records.writing() as connection:
                row = current_row(connection) or self.add(connection, 1)
        return self._opened(row)

    def of(self, kek: str) -> Kek:
        """The key with this id. ``NotFound`` for one that has been destroyed."""
        found = self._open.get(kek)
        if found is not None:
            return found
        with self._records.reading() as connection:
            row = connection.execute(select(_KEK).where(_KEK.c.id == kek)).one_or_none()
        if row is None or row.state == "retired":
            raise _gone(kek, self.owner)
        return self._opened(row)

    def has_open(self, kek: str) -> bool:
        """Whether it has been used here, and is not known to be gone."""
        return kek in self._open

    def forget(self, kek: str) -> None:
        """It was seen to be gone."""
        self._open.pop(kek, None)

    def add(self, connection: Connection, number: int) -> Row[Any]:
        """A new current key, inside ``writing()``, where there is none."""
        home = self._home(connection)
        made = self._made(home, number)
        address = Pkcs11Uri.from_text(home.beside).for_object(id=made.key_id, type="secret-key").to_text()
        name = f"kek-{number}"
        values = {"id": name, "key_address": address, "check_value": made.check, "made_at": self._clock()}
        connection.execute(insert(_KEK).values(**values, state="current"))
        before = {"before": f"kek-{number - 1}"} if number > 1 else {}
        self._note(connection, event="otp-kek-made", subject=name, at=self._clock(), check=made.check, **before)
        row = current_row(connection)
        assert row is not None
        return row

    def destroy(self, kek: str) -> bool:
        """Destroy a retired key and the one beside it; false where both are gone already."""
        with self._records.reading() as connection:
            row = connection.execute(select(_KEK).where((_KEK.c.id == kek) & (_KEK.c.state == "retired"))).one()
        self.forget(kek)
        token, key_id = self._open_token(row.key_address), _key_id_in(row.key_address)
        return token.destroy(_beside(key_id), "secret-key") + token.destroy(key_id, "secret-key") > 0

    def sealer(self, kek: Kek, *, make: bool) -> SealingKey:
        """The key for data beside a key; ``make`` it where there is none yet. ``NotFound``: made anew it opens nothing
        that was sealed before.
        """
        key_id = _beside(kek.key_id)
        if not has_sealing_key(kek.token, key_id):
            if not make:
                raise _gone(kek.id, self.owner)
            with self._records.writing():  # one at a time: two keys under one id would be none
                if not has_sealing_key(kek.token, key_id):
                    generate_sealing_key(kek.token, label=f"{self.owner}-{kek.id}-data", key_id=key_id)
        return SealingKey(kek.token, key_id)

    def _made(self, home: Home, number: int) -> WrappingKey:
        key_id = hashlib.sha256(b"dojang otp kek 1\0%d\0" % number + home.mark).digest()[:_ID_BYTES]
        token = self._open_token(home.beside)
        try:
            found = wrapping_key(token, key_id=key_id)
        except NotFound:
            return generate_wrapping_key(token, label=f"{self.owner}-kek-{number}", key_id=key_id)
        if found.came_in:  # anybody can tell which id it has to have
            problem = Phrase("the wrapping key '{label}' was not made on the token", label=found.label)
            raise NotPermitted(problem=problem, remedy=Phrase("Find out who has put it there, and remove it."))
        return found

    def _opened(self, row: Row[Any]) -> Kek:
        found = self._open.get(row.id)
        if found is not None:
            return found
        token, key_id = self._open_token(row.key_address), _key_id_in(row.key_address)
        if wrapping_key(token, key_id=key_id).check != row.check_value:
            problem = Phrase("the wrapping key on the token is not the one under which its seeds lie")
            raise StateUnreadable(path=self.owner, problem=problem)
        return self._open.setdefault(row.id, Kek(row.id, token, key_id))


class SealingKeys:
    """The keys for data, by the ids of the keys beside which they live: what security cards are sealed under."""

    def __init__(self, keks: Keks) -> None:
        self._keks = keks
        self._open: dict[str, SealingKey] = {}

    def current(self) -> tuple[str, SealingKey]:
        """The id of the one for what is new, and that; made when there is none yet."""
        kek = self._keks.current()
        return kek.id, self._of(kek, make=True)

    def of(self, kek: str) -> SealingKey:
        """``NotFound`` for one that has been destroyed."""
        return self._open.get(kek) or self._of(self._keks.of(kek), make=False)

    def for_new(self, kek: str) -> SealingKey:
        """The same for what is to be sealed: made when there is none yet."""
        return self._of(self._keks.of(kek), make=True)

    def _of(self, kek: Kek, *, make: bool) -> SealingKey:
        return self._open.get(kek.id) or self._open.setdefault(kek.id, self._keks.sealer(kek, make=make))


def current_row(connection: Connection) -> Row[Any] | None:
    """The key for what is new, as it is recorded."""
    return connection.execute(select(_KEK).where(tables.IS_CURRENT)).one_or_none()


def _gone(kek: str, owner: str) -> NotFound:
    return NotFound(what=Phrase("the wrapping key {id}", id=kek), where=owner, command="dojang otp list")


def _key_id_in(address: str) -> bytes:
    return Pkcs11Uri.from_text(address).id or b""


def _beside(key_id: bytes) -> bytes:
    return hashlib.sha256(b"dojang otp data 1\0" + key_id).digest()[:_ID_BYTES]
