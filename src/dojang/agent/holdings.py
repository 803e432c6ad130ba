"""Everything the agent holds: which key an address names, and what becomes of tokens that fail."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from dojang.agent import ssh
from dojang.agent.held import HeldKey, HeldToken, Locked, PinWanted, Unserved
from dojang.agent.permission import Permission, confirming_program
from dojang.agent.trusted import narrowed
from dojang.errors import (
    Ambiguous,
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
from dojang.pkcs11.pin import PinRequest
from dojang.pkcs11.same_key import half_of
from dojang.pkcs11.signer import TokenSigner
from dojang.pkcs11.token import Token, TokenInfo
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret

if TYPE_CHECKING:
    from dojang.pkcs11.whereabouts import TokenIdentity

_PIN_IS_WRONG = (PinIncorrect, PinKnownWrong, PinLastTry, PinLocked, PinNotSet, LoginRequired)
"""After one of these the PIN that is held opens nothing any more."""


class Wanted(NamedTuple):
    """A key to take up: its address, where to look for its module, and its rules."""

    address: str
    search: ModuleSearch
    permission: Permission
    guard_path: str
    last_try: bool = False


class Holdings:
    """Every token and key the agent has; thread-safe."""

    def __init__(
        self, seen: Callable[[Token, ModuleSearch], None], present: "Callable[[], dict[str, set[TokenIdentity]]]"
    ) -> None:
        """``seen`` is told of each token that was opened, and returns when somebody watches it. ``present`` tells
        which tokens are there, held or not, in each module that is watched.
        """
        self._seen = seen
        self._present = present
        self._tokens: list[HeldToken] = []
        self._keys: dict[bytes, HeldKey] = {}
        self._adding = threading.Lock()  # held while a person may be typing at a keypad
        self._changing = threading.RLock()  # held for moments
        self._locked_times = 0

    # Taking up and giving up

    def add(
        self,
        wanted: Wanted,
        pin: Secret | None,
        *,
        has_pin: bool,
        proved: set[object] | None = None,
        first: bool = False,
    ) -> tuple[HeldKey, bool]:
        """Take up a key, logging in first where that is needed; false when it was served already by the same rules.

        Whoever would have more signed than before must know the PIN; ``proved`` are the tokens whose PIN was given.
        ``PinWanted`` when it is needed and ``has_pin`` says that none was given. ``first`` is for whoever starts the
        agent, and may name any module.
        """
        uri, proved = Pkcs11Uri.from_text(wanted.address), set() if proved is None else proved
        if not first:
            search, uri = narrowed(wanted.search, uri)
            wanted = wanted._replace(search=search)
        with self._adding:
            before = self._locked_times
            held = self._held(uri, wanted)
            closed = bool(held.locked)
            try:
                if closed:
                    self._open(held, pin, wanted, has_pin=has_pin)
                    proved.add(held)
                key = self._take_up(held, uri, wanted.permission)
                if held not in proved and self._widens(key):
                    self._prove(held, pin, has_pin=has_pin)
                    proved.add(held)
            except BaseException:
                if held not in self._tokens:
                    held.lock("refused")
                raise
            with self._changing:
                if self._locked_times != before:
                    held.lock("lock")  # it was told to forget every PIN, and this is one
                    raise Locked
                kept, new = self._keep(held, key)
                return kept, new or closed

    def _keep(self, held: HeldToken, key: HeldKey) -> tuple[HeldKey, bool]:
        if held not in self._tokens:
            self._tokens.append(held)
        same = next((one for one in self._keys.values() if one.token is held and one.key_id == key.key_id), None)
        if same is not None and same.permission == key.permission and _is_same_key(same.signer, key.signer):
            same.signer = key.signer
            return same, False
        if same is not None:
            del self._keys[same.reference]
        self._keys[key.reference] = key
        return key, True

    def _widens(self, key: HeldKey) -> bool:
        """Whether with this key something may be signed that could not be before."""
        same = (one for one in self.keys if one.token is key.token and one.key_id == key.key_id)
        return not any(key.permission.within(one.permission) for one in same)

    @staticmethod
    def _prove(held: HeldToken, pin: Secret | None, *, has_pin: bool) -> None:
        info = held.token.info
        if info.protected_authentication_path:
            raise NotPermitted(
                problem=Phrase("the PIN is asked for at the token's keypad, and only while the agent is locked"),
                remedy=Phrase("Run 'dojang agent lock' first."),
            )
        if info.login_required and not has_pin:
            raise PinWanted(_request(info))
        if info.login_required:
            held.check_pin(pin)

    def _held(self, uri: Pkcs11Uri, wanted: Wanted) -> HeldToken:
        token = find_token(uri.token_part(), wanted.search)
        for held in self._tokens:
            if held.token.module is token.module and held.token.key == token.key:
                if held.locked:
                    held.token = token  # it may be in another slot now
                return held
        return HeldToken(token, PinGuard(wanted.guard_path))

    def _open(self, held: HeldToken, pin: Secret | None, wanted: Wanted, *, has_pin: bool) -> None:
        info = held.token.refresh()
        pin = None if info.protected_authentication_path else pin
        if info.login_required and not info.protected_authentication_path and not has_pin:
            raise PinWanted(_request(info))
        try:
            held.open(pin, last_try=wanted.last_try)
            self._seen(held.token, wanted.search)
        except BaseException:
            held.lock("refused")
            raise
        self._take_up_again(held)

    def _take_up_again(self, held: HeldToken) -> None:
        """The keys that were served before the token was locked, as far as they are still there."""
        for key in [one for one in self.keys if one.token is held]:
            try:
                signer = held.usable().signer(key_id=key.key_id)
            except (NotFound, Ambiguous):
                signer = None
            if signer is not None and _is_same_key(signer, key.signer):
                key.signer = signer
            else:
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
        address, name = (
            Pkcs11Uri.from_text(opened.address).for_object(object=label or None, id=shown).to_text()
            for shown in (key_id, None if label else key_id)
        )
        always = own.attributes.get(ck.CKA_ALWAYS_AUTHENTICATE, b"\0") != b"\0"
        if permission.confirm or always:
            confirming_program(os.environ, address)
        public, blob = ssh.public_parts(opened, own)
        return HeldKey(held, address, name, key_id, permission, own, always, public, blob)

    def lock(self, reason: str, identity: "TokenIdentity | None" = None, module_path: str | None = None) -> None:
        """Forget the PIN of every token, or of those with this identity and in this module."""
        with self._changing:
            self._locked_times += 1
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

        ``Unserved`` unless the address names one token that is held (by label or serial), and on it one key that is;
        and where a token that is not held answers to that address as well, so that whoever looks will see both.
        """
        uri = Pkcs11Uri.from_text(address)
        if (uri.token is None and not uri.serial) or uri.type not in (None, "private"):
            raise Unserved
        held = [one for one in self._matching(uri) if not module or _is_module(one, module)]
        if len(held) != 1 or self._others(uri, held[0], alone=bool(module)):
            raise Unserved
        keys = [key for key in self.keys if key.token is held[0]]
        if uri.object is None and uri.id is not None:  # that the key is still there, signing finds out
            return next((key for key in keys if key.key_id == uri.id), None) or _unserved()
        named = self._named_now(held[0], uri)
        return next((key for key in keys if _is_same_key(key.signer, named)), None) or _unserved()

    def _matching(self, uri: Pkcs11Uri) -> "Iterator[HeldToken]":
        with self._changing:
            tokens = list(self._tokens)
        for held in tokens:
            slot = held.token.slot
            if (
                _matches(uri, held.identity)
                and uri.matches_slot(
                    description=slot.description, manufacturer=slot.manufacturer, slot_id=held.token.slot_id
                )
                and not (uri.library_manufacturer or uri.library_description or uri.library_version)
                and _is_named_module(held, uri)
            ):
                yield held

    def _others(self, uri: Pkcs11Uri, held: HeldToken, *, alone: bool) -> bool:
        """Whether another token answers to the address; ``alone``: where only this one's module is asked."""
        path = held.token.module.path
        return any(
            _matches(uri, one) and (module, one) != (path, held.identity)
            for module, tokens in self._present().items()
            if module == path or not alone
            for one in tokens
        )

    def _named_now(self, held: HeldToken, uri: Pkcs11Uri) -> TokenSigner:
        try:
            return held.usable().signer(label=uri.object, key_id=uri.id)
        except DojangError as error:
            self._mind(held, error)
            raise Unserved from None  # whoever looks without us will see why

    def using(self, key: HeldKey, work: Callable[[TokenSigner], bytes]) -> bytes:
        """Sign. ``Locked`` where the token is, or has just proved to have to be."""
        key.token.usable()
        try:
            signature = work(key.signer)
        except DojangError as error:
            self._mind(key.token, error)
            raise
        key.signatures += 1
        return signature

    def _mind(self, held: HeldToken, error: DojangError) -> None:
        """Lock a token that turns out to be gone, or not to take the PIN any more. ``Locked`` where that is all."""
        if isinstance(error, TokenRemoved):
            self._lock_one(held, "removed")
            return
        if isinstance(error, _PIN_IS_WRONG):
            self._lock_one(held, "refused")
        if held.locked:  # or it was locked meanwhile, and failed for no other reason
            raise Locked from None

    def _lock_one(self, held: HeldToken, reason: str) -> None:
        with self._changing:
            held.lock(reason)


def _request(info: TokenInfo) -> PinRequest:
    state = info.user_pin
    lengths = info.min_pin_length, info.max_pin_length
    return PinRequest(info.label, info.serial, "user", state.count_low, state.final_try, *lengths)


def _is_same_key(one: TokenSigner, other: TokenSigner) -> bool:
    """Neither a label nor a CKA_ID says that alone: cards keep both for the next key, and two keys may share them."""
    half, other_half = (half_of(signer.attributes | signer.public) for signer in (one, other))
    telling = (ck.CKA_ID,) if half else (ck.CKA_ID, ck.CKA_LABEL)
    return half == other_half and all(one.attributes.get(kind) == other.attributes.get(kind) for kind in telling)


def _matches(uri: Pkcs11Uri, one: "TokenIdentity") -> bool:
    return uri.matches_token(label=one.label, manufacturer=one.manufacturer, model=one.model, serial=one.serial)


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
