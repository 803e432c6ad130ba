"""An OATH device as a place for seeds: opened by its address, each thing it does one exchange with the card."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from dojang.errors import Ambiguous, DevicePasswordIncorrect, NotFound, TokenRemoved
from dojang.otp.base import Access, Code, NewSeed, Seed
from dojang.otp.oath.address import OathAddress
from dojang.pcsc.extra import smartcard_extra
from dojang.secret import Secret

if TYPE_CHECKING:
    from yubikit.oath import OathSession

    from dojang.otp.oath.discovery import Found


@contextmanager
def open_at(address: str, access: Access) -> Iterator["OathDevice"]:
    """The device in which ``address`` lies; nothing is held open between two of its answers.

    ``TokenNotFound`` where it is not plugged in, ``AmbiguousToken`` where more than one is meant, ``ExtraMissing``.
    """
    wanted = OathAddress.from_text(address)
    with smartcard_extra():
        from dojang.otp.oath.discovery import pick
    yield OathDevice(pick(wanted.device), access)


class OathDevice:
    """A device that is plugged in. Its password is asked for when it wants one, once, and tried once."""

    def __init__(self, found: "Found", access: Access) -> None:
        """``access`` gives the password and is told of touches."""
        self._found = found
        self._access = access
        self._password: Secret | None = None
        self._refused = False

    @property
    def address(self) -> str:
        return self._found.address

    @property
    def name(self) -> str:
        return self._found.name

    @property
    def serial(self) -> str:
        return self._found.name

    def seeds(self) -> Iterator[Seed]:
        """Every account; a list, so that nobody keeps the card while somebody reads it."""
        from dojang.otp.oath.stored import stored

        with self._session() as session:
            found = [one.seed(self.name) for one in stored(session)]
        return iter(found)

    def find(self, address: str) -> Seed:
        """By the name that the device knows, or one that people read; the only account where none is named."""
        wanted = OathAddress.from_text(address).account
        seeds = list(self.seeds())
        exact = [one for one in seeds if wanted in (None, one.key_id)]
        fitting = exact or [one for one in seeds if wanted in (one.name.encode(), one.parameters.account.encode())]
        if len(fitting) > 1:
            raise Ambiguous(what=address, matches=", ".join(one.address for one in fitting))
        if not fitting:
            raise NotFound(what=address, where=self.address, command=f"dojang otp list '{self.address}'")
        return fitting[0]

    def add(self, new: NewSeed) -> Seed:
        """Put it in if no account has its name (the device would write over it), and prove it where that is free."""
        from dojang.otp.oath.adding import put, refuse_unfit

        refuse_unfit(new, self.address)
        with self._session() as session:
            return put(session, new, self.name)

    def code(self, seed: Seed, at: datetime) -> Code:
        """By time, or the next by the device's own counter, which has gone on when this returns.

        ``TouchTimedOut`` where nobody touched it; then no code was computed.
        """
        from dojang.otp.oath.calculation import calculated
        from dojang.otp.oath.touch import with_patience

        self._ask_password()

        def work() -> Code:
            with self._session() as session:
                return calculated(session, seed, at, self.name)

        return with_patience(work, self.name, expected=seed.touch, tell=self._access.wants_touch)

    def delete(self, seed: Seed) -> None:
        """Gone for good, in one step; one that was gone already is no error."""
        from dojang.otp.oath.calculation import removed

        with self._session() as session:
            removed(session, seed)

    @contextmanager
    def _session(self) -> Iterator["OathSession"]:
        """One exchange with the same application as was found, unlocked."""
        from dojang.otp.oath.exchange import exchange
        from dojang.otp.oath.password import unlock

        self._ask_password()
        with exchange(self._found.reader, self.name) as session:
            if session.device_id != self._found.identity:
                raise TokenRemoved(token=self.name)
            if session.locked:
                if self._password is None or self._refused:
                    raise DevicePasswordIncorrect(address=self.address)
                self._refused = True  # until it is proved: nothing that is open tries a wrong one a second time
                unlock(session, self.address, self._password, self._access.guard)
                self._refused = False
            yield session

    def _ask_password(self) -> None:
        """Before an exchange: a person who types would keep the card from everybody else."""
        if self._found.locked and self._password is None:
            self._password = self._access.passwords(self.address)
