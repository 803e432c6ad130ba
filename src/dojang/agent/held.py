"""What the agent holds: tokens that are logged in, and the keys on them that it was told to sign with."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from dojang.agent import ssh
from dojang.agent.permission import Permission, confirming_program
from dojang.errors import (
    Ambiguous,
    DeviceBusy,
    DojangError,
    LoginRequired,
    NotFound,
    NotPermitted,
    Phrase,
    PinIncorrect,
    PinKnownWrong,
    PinLastTry,
    PinLocked,
    PinNotSet,
    TokenRemoved,
)
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.discovery import ModuleSearch, find_modules, for_address
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.listing import find_token
from dojang.pkcs11.opened import OpenToken
from dojang.pkcs11.pin import PinRequest
from dojang.pkcs11.signer import TokenSigner
from dojang.pkcs11.token import Token
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.whereabouts import TokenIdentity

_REFERENCE_BYTES = 16
_PIN_IS_WRONG = (PinIncorrect, PinKnownWrong, PinLastTry, PinLocked, PinNotSet, LoginRequired)
"""After one of these the PIN that is held opens nothing any more."""


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
    """One key that may sign; ``reference`` names it in requests."""

    token: "HeldToken"
    address: str
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
        offered = iter((pin,))
        first = OpenToken(self.token, lambda _: next(offered, None), self.guard, last_try=last_try)
        with first:
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
        """The PIN for a key that wants it with each signature. A login is made again with the PIN that is known to be
        right and by nothing else, so the question for that one means that it is no longer known to be.
        """
        if request.role != "context":
            raise LoginRequired(token=request.token)
        return self._pin


class Wanted(NamedTuple):
    """A key to take up: its address, where to look for its module, and its rules."""

    address: str
    search: ModuleSearch
    permission: Permission
    guard_path: str
    last_try: bool = False


class Holdings:
    """Every token and key the agent has; thread-safe."""

    def __init__(self, seen: Callable[[Token, ModuleSearch], None]) -> None:
        """``seen`` is told of each token that was opened, so that somebody watches it."""
        self._seen = seen
        self._tokens: list[HeldToken] = []
        self._keys: dict[bytes, HeldKey] = {}
        self._changing = threading.RLock()

    # Taking up and giving up

    def add(self, wanted: Wanted, pin: Secret | None, *, has_pin: bool) -> tuple[HeldKey, bool]:
        """Take up a key, logging in first where that is needed; false when it was there with the same rules.

        ``PinWanted`` when a login needs a PIN and ``has_pin`` says that none was given.
        """
        uri = Pkcs11Uri.from_text(wanted.address)
        with self._changing:
            held = self._held(uri, wanted)
            if held.locked:
                self._open(held, pin, wanted, has_pin=has_pin)
            try:
                key = self._take_up(held, uri, wanted.permission)
            except BaseException:
                if held not in self._tokens:
                    held.lock("refused")
                raise
            same = next((one for one in self._keys.values() if _same_key(one, key)), None)
            if same is not None and same.permission == key.permission:
                same.signer = key.signer
                return same, False
            if same is not None:
                del self._keys[same.reference]
            if held not in self._tokens:
                self._tokens.append(held)
            self._keys[key.reference] = key
            return key, True

    def _held(self, uri: Pkcs11Uri, wanted: Wanted) -> HeldToken:
        token = find_token(uri.token_part(), wanted.search)
        for held in self._tokens:
            if held.token.module is token.module and held.token.key == token.key:
                if held.locked:
                    held.token = token  # it may be in another slot now
                return held
        return HeldToken(token, PinGuard(wanted.guard_path))  # type: ignore[arg-type]

    def _open(self, held: HeldToken, pin: Secret | None, wanted: Wanted, *, has_pin: bool) -> None:
        info = held.token.refresh()
        if info.login_required and not info.protected_authentication_path and not has_pin:
            state = info.user_pin
            lengths = info.min_pin_length, info.max_pin_length
            raise PinWanted(PinRequest(info.label, info.serial, "user", state.count_low, state.final_try, *lengths))
        try:
            held.open(pin, last_try=wanted.last_try)
        except BaseException:
            held.lock("refused")
            raise
        self._take_up_again(held)
        self._seen(held.token, wanted.search)

    def _take_up_again(self, held: HeldToken) -> None:
        """The keys that were served before the token was locked, as far as they are still there."""
        for key in [one for one in self._keys.values() if one.token is held]:
            try:
                key.signer = held.usable().signer(key_id=key.key_id)
            except (NotFound, Ambiguous):
                del self._keys[key.reference]

    def _take_up(self, held: HeldToken, uri: Pkcs11Uri, permission: Permission) -> HeldKey:
        opened = held.usable()
        signer = opened.signer(label=uri.object, key_id=uri.id)
        key_id = signer.attributes.get(ck.CKA_ID, b"")
        if not key_id:
            raise NotPermitted(
                problem=Phrase("the key has no CKA_ID, so it cannot be told from others"),
                remedy=Phrase("Give it one with the program that put it there."),
            )
        own = opened.signer(key_id=key_id)  # by what no renewal changes; a second key under it is Ambiguous
        label = signer.attributes.get(ck.CKA_LABEL, b"").decode("utf-8", "replace").rstrip("\0")
        address = Pkcs11Uri.from_text(opened.address).for_object(object=label or None, id=key_id).to_text()
        always = own.attributes.get(ck.CKA_ALWAYS_AUTHENTICATE, b"\0") != b"\0"
        if permission.confirm or always:
            confirming_program(os.environ, address)
        public, blob = ssh.public_parts(opened, own)
        return HeldKey(held, address, key_id, permission, own, always, public, blob)

    def lock(self, reason: str, identity: "TokenIdentity | None" = None, module_path: str | None = None) -> None:
        """Forget the PIN of every token, or of those with this identity and in this module."""
        with self._changing:
            for held in self._tokens:
                same = identity is None or held.identity == identity
                if same and module_path in (None, held.token.module.path):
                    held.lock(reason)

    # Asking

    @property
    def keys(self) -> list[HeldKey]:
        with self._changing:
            return list(self._keys.values())

    @property
    def locked(self) -> bool:
        """Whether nothing can be signed with anything."""
        with self._changing:
            return all(held.locked for held in self._tokens)

    def by_reference(self, reference: bytes) -> HeldKey:
        key = self._keys.get(reference)
        if key is None:
            raise Unserved
        return key

    def by_ssh_blob(self, blob: bytes) -> HeldKey:
        return next((key for key in self.keys if key.ssh_blob == blob and blob), None) or _unserved()

    def find(self, address: str, module: str) -> HeldKey:
        """The key that the address names *now*: labels wander when certificates are renewed.

        ``Unserved`` unless the address names one token that is held (by label or serial), and on it one key that is.
        """
        uri = Pkcs11Uri.from_text(address)
        if (uri.token is None and not uri.serial) or uri.type not in (None, "private"):
            raise Unserved
        held = [one for one in self._matching(uri) if not module or _is_module(one, module)]
        if len(held) != 1:
            raise Unserved
        opened = held[0].usable()
        if uri.object is None and uri.id is not None:
            wanted = uri.id  # that the key is still there, signing finds out
        else:
            try:
                wanted = opened.signer(label=uri.object, key_id=uri.id).attributes.get(ck.CKA_ID, b"")
            except (NotFound, Ambiguous):
                raise Unserved from None
        return next((key for key in self.keys if key.token is held[0] and key.key_id == wanted), None) or _unserved()

    def _matching(self, uri: Pkcs11Uri) -> "Iterator[HeldToken]":
        with self._changing:
            tokens = list(self._tokens)
        for held in tokens:
            info, slot = held.token.info, held.token.slot
            if (
                uri.matches_token(
                    label=info.label, manufacturer=info.manufacturer, model=info.model, serial=info.serial
                )
                and uri.matches_slot(
                    description=slot.description, manufacturer=slot.manufacturer, slot_id=held.token.slot_id
                )
                and not (uri.library_manufacturer or uri.library_description or uri.library_version)
                and _is_named_module(held, uri)
            ):
                yield held

    def using(self, key: HeldKey, work: Callable[[TokenSigner], bytes]) -> bytes:
        """Sign. A token that is gone, or that no longer takes the PIN, is locked; ``Locked`` says that it is."""
        key.token.usable()
        try:
            signature = work(key.signer)
        except TokenRemoved:
            self._lock_one(key.token, "removed")
            raise
        except _PIN_IS_WRONG:
            self._lock_one(key.token, "refused")
            raise Locked from None
        except DojangError:
            if key.token.locked:  # while it was at it; the failure is only that of a session closed
                raise Locked from None
            raise
        key.signatures += 1
        return signature

    def _lock_one(self, held: HeldToken, reason: str) -> None:
        with self._changing:
            held.lock(reason)


def _same_key(one: HeldKey, other: HeldKey) -> bool:
    return one.token is other.token and one.key_id == other.key_id


def _is_named_module(held: HeldToken, uri: Pkcs11Uri) -> bool:
    named = for_address(ModuleSearch(), uri).module
    return named is None or _is_module(held, named)


def _is_module(held: HeldToken, module: str) -> bool:
    """Whether ``module``, a path or a name as ``--module`` takes it, is the one that shows the token."""
    own = held.token.module
    if os.sep in module:
        return os.path.realpath(module) == os.path.realpath(own.path)
    try:
        spec = find_modules(ModuleSearch(module=module))[0]
    except DojangError:
        return module.lower() == own.name.lower()
    return os.path.realpath(spec.path) == os.path.realpath(own.path)


def _unserved() -> HeldKey:
    raise Unserved
