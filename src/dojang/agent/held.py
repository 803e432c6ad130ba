"""What the agent holds: tokens that are logged in, and the keys on them that it was told to sign with."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dojang.agent.permission import Permission
from dojang.errors import (
    DeviceBusy,
    LoginRequired,
    PinIncorrect,
)
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.pin import PinRequest
from dojang.pkcs11.signer import TokenSigner
from dojang.pkcs11.token import Token
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.whereabouts import TokenIdentity

_REFERENCE_BYTES = 16


class Unserved(Exception):
    """The agent does not hold what is asked for; the asker goes on as without it."""


class Locked(Unserved):
    """It would, but its PIN is forgotten."""


class PinWanted(Exception):
    """The PIN of ``request``'s token is needed first."""

    def __init__(self, request: PinRequest) -> None:
        super().__init__()
        self.request = request


@dataclass(slots=True, eq=False)
class HeldKey:
    """One key that may sign; ``reference`` names it in requests, ``name`` is its address for people."""

    token: "HeldToken"
    address: str
    name: str
    key_id: bytes
    permission: Permission
    signer: TokenSigner
    always_authenticate: bool
    public: dict[int, bytes]
    ssh_blob: bytes
    reference: bytes = field(default_factory=lambda: os.urandom(_REFERENCE_BYTES))
    signatures: int = 0

    @property
    def asks(self) -> bool:
        """Whether a person must agree to each signature: as told, or because the key is always authenticated."""
        return self.permission.confirm or self.always_authenticate


class HeldToken:
    """A token that is logged in, or was: ``locked`` then says why its PIN was forgotten."""

    def __init__(self, token: Token, guard: PinGuard) -> None:
        """Not logged in yet."""
        self.token = token
        self.guard = guard
        self.locked = "never-opened"
        self.opened: OpenToken | None = None
        self._pin: Secret | None = None

    @property
    def identity(self) -> "TokenIdentity":
        return self.token.info.identity

    def open(self, pin: Secret | None, *, last_try: bool) -> None:
        """Log in with ``pin`` (``None`` for a keypad); one guarded try, and nothing is kept if it fails."""
        self._pin = pin
        with OpenToken(self.token, lambda _: pin, self.guard, last_try=last_try) as first:
            first.log_in()
            self._check_was_tried(pin)
            # From here on the last try is never spent: nobody is there to ask.
            self.opened = OpenToken(self.token, self._answer, self.guard)
        self.locked = ""

    def _check_was_tried(self, pin: Secret | None) -> None:
        """A login that is still there (a signature is just ending) would let any PIN through."""
        if pin is not None and self.token.info.login_required and not self._knows(pin):
            raise DeviceBusy(token=self.token.info.label, function="C_Login", result="that a login is still there")

    def _knows(self, pin: Secret) -> bool:
        return self.token.module.remembered.get(self.token.key) == pin

    def check_pin(self, pin: Secret | None) -> None:
        """``PinIncorrect`` unless this is the PIN that is held; after one wrong answer the token is locked."""
        if pin is None or pin != self._pin:
            self.lock("refused")
            raise PinIncorrect(token=self.token.info.label, role="user")

    def lock(self, reason: str) -> None:
        """Forget the PIN and end the login; a signature that is being made is still finished."""
        self._pin = None
        if not self.locked:
            self.locked = reason
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.close()

    def usable(self) -> OpenToken:
        """The open token; ``Locked``."""
        if self.opened is None:
            raise Locked
        return self.opened

    def _answer(self, request: PinRequest) -> Secret | None:
        """The PIN, when the login was lost or a key wants it with each signature.

        It was right once. The first refusal locks the token, and then it is not known here any more.
        """
        if self.locked:
            raise LoginRequired(token=request.token)
        return self._pin
