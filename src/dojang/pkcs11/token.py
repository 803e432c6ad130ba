"""Slots and the tokens in them: found by label, serial or URI, initialised, and their PINs looked after."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError
from dojang.pkcs11.discovery import ModuleSearch, find_modules, for_address
from dojang.pkcs11.failures import explain
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.mechanisms import MechanismTable
from dojang.pkcs11.module import Module
from dojang.pkcs11.pin import PinState
from dojang.pkcs11.session import TokenIdentity
from dojang.pkcs11.structures import UNAVAILABLE, TokenInfoStruct, text
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.secret import Secret

T = TypeVar("T")


class TokenInfo(NamedTuple):
    """What a token says of itself (CK_TOKEN_INFO), at the moment it was asked."""

    label: str
    manufacturer: str
    model: str
    serial: str
    flags: int
    min_pin_length: int
    max_pin_length: int
    max_sessions: int | None
    firmware: str

    @classmethod
    def from_struct(cls, info: TokenInfoStruct) -> "TokenInfo":
        unlimited = info.max_session_count in (0, UNAVAILABLE)
        return cls(
            label=text(info.label),
            manufacturer=text(info.manufacturer),
            model=text(info.model),
            serial=text(info.serial),
            flags=info.flags,
            min_pin_length=info.min_pin_len,
            max_pin_length=info.max_pin_len,
            max_sessions=None if unlimited else info.max_session_count,
            firmware=str(info.firmware_version),
        )

    @property
    def initialized(self) -> bool:
        return bool(self.flags & ck.CKF_TOKEN_INITIALIZED)

    @property
    def login_required(self) -> bool:
        return bool(self.flags & ck.CKF_LOGIN_REQUIRED)

    @property
    def user_pin_set(self) -> bool:
        return bool(self.flags & ck.CKF_USER_PIN_INITIALIZED)

    @property
    def protected_authentication_path(self) -> bool:
        """The PIN is typed on the device itself."""
        return bool(self.flags & ck.CKF_PROTECTED_AUTHENTICATION_PATH)

    @property
    def user_pin(self) -> PinState:
        return PinState(
            count_low=bool(self.flags & ck.CKF_USER_PIN_COUNT_LOW),
            final_try=bool(self.flags & ck.CKF_USER_PIN_FINAL_TRY),
            locked=bool(self.flags & ck.CKF_USER_PIN_LOCKED),
            to_be_changed=bool(self.flags & ck.CKF_USER_PIN_TO_BE_CHANGED),
        )

    @property
    def so_pin(self) -> PinState:
        return PinState(
            count_low=bool(self.flags & ck.CKF_SO_PIN_COUNT_LOW),
            final_try=bool(self.flags & ck.CKF_SO_PIN_FINAL_TRY),
            locked=bool(self.flags & ck.CKF_SO_PIN_LOCKED),
            to_be_changed=bool(self.flags & ck.CKF_SO_PIN_TO_BE_CHANGED),
        )

    @property
    def identity(self) -> TokenIdentity:
        return TokenIdentity(self.label, self.serial, self.manufacturer, self.model)

    def flag_names(self) -> list[str]:
        """The set flags, in the words of the standard without their prefix."""
        return [name for bit, name in ck.TOKEN_FLAG_NAMES.items() if self.flags & bit]


class Token:
    """A token seen in a slot. It is named by label and serial; the slot number is only where it was seen last."""

    def __init__(self, slot: "Slot", info: TokenInfo) -> None:
        """Made by ``list_tokens`` and ``find_token``."""
        self.module = slot.module
        self.slot = slot
        self.slot_id = slot.slot_id
        self.info = info

    @property
    def address(self) -> str:
        """A PKCS#11 URI that names this token and no other."""
        return Pkcs11Uri(token=self.info.label, serial=self.info.serial or None).to_text()

    def refresh(self) -> TokenInfo:
        """Ask the token again; flags change with every PIN try."""
        self.info = TokenInfo.from_struct(self._call(lambda cryptoki: cryptoki.token_info(self.slot_id)))
        return self.info

    def mechanisms(self) -> MechanismTable:
        """What the token lists; trials correct it while it is used."""
        return MechanismTable(frozenset(self._call(lambda cryptoki: cryptoki.mechanism_list(self.slot_id))))

    def change_pin(self, old: Secret | None, new: Secret | None, guard: PinGuard, *, last_try: bool = False) -> None:
        """Replace the user PIN (C_SetPIN); a wrong old PIN costs one guarded try. ``None`` means the token's keypad."""
        self._check_new_pin(new)
        old_pin, new_pin = _reveal(old), _reveal(new)
        self._guarded(
            guard,
            "user",
            old,
            lambda cryptoki, session: cryptoki.set_pin(session, old_pin, new_pin),
            last_try=last_try,
        )
        guard.forget(serial=self.info.serial, role="user")

    def change_so_pin(self, old: Secret | None, new: Secret | None, guard: PinGuard, *, last_try: bool = False) -> None:
        """Replace the SO PIN; some tokens refuse everything else until the factory's own has been replaced."""
        self._check_new_pin(new)
        old_pin, new_pin = _reveal(old), _reveal(new)
        self._guarded(
            guard,
            "so",
            old,
            lambda cryptoki, session: cryptoki.login(session, ck.CKU_SO, old_pin),
            lambda cryptoki, session: cryptoki.set_pin(session, old_pin, new_pin),
            last_try=last_try,
        )
        guard.forget(serial=self.info.serial, role="so")

    def unblock_pin(
        self, so_pin: Secret | None, new: Secret | None, guard: PinGuard, *, last_try: bool = False
    ) -> None:
        """Set the user PIN as security officer (C_InitPIN): the first one, or after it locked."""
        self._check_new_pin(new)
        new_pin = _reveal(new)
        self._guarded(
            guard,
            "so",
            so_pin,
            lambda cryptoki, session: cryptoki.login(session, ck.CKU_SO, _reveal(so_pin)),
            lambda cryptoki, session: cryptoki.init_pin(session, new_pin),
            last_try=last_try,
        )
        guard.forget(serial=self.info.serial, role="user")

    def wipe(
        self, *, serial: str, so_pin: Secret | None, guard: PinGuard, label: str | None = None, last_try: bool = False
    ) -> "Token":
        """Erase everything (C_InitToken) and keep or change the label; ``serial`` must be the token's own."""
        if serial != self.info.serial:
            raise errors.SerialMismatch(serial=self.info.serial)
        name = label or self.info.label
        _check_label(name)
        guard.attempt(
            serial=self.info.serial,
            token=self.info.label,
            role="so",
            pin=so_pin,
            flags=lambda: self.refresh().so_pin,
            login=lambda: self._call(lambda c: c.init_token(self.slot_id, _reveal(so_pin), name), role="so"),
            last_try=last_try,
        )
        guard.forget(serial=self.info.serial, role="user")
        return _seen_again(self.module, self.slot_id, name)

    def _check_new_pin(self, new: Secret | None) -> None:
        low, high = self.info.min_pin_length, self.info.max_pin_length
        if new is not None and low <= high and high and not low <= len(new) <= high:
            raise errors.PinUnusable(
                token=self.info.label, problem="its length is not allowed", min_length=low, max_length=high
            )

    def _guarded(
        self,
        guard: PinGuard,
        role: str,
        pin: Secret | None,
        prove: Callable[[Cryptoki, int], None],
        then: Callable[[Cryptoki, int], None] | None = None,
        *,
        last_try: bool,
    ) -> None:
        cryptoki = self.module.cryptoki
        session = self._call(lambda c: c.open_session(self.slot_id, read_write=True))
        try:
            guard.attempt(
                serial=self.info.serial,
                token=self.info.label,
                role=role,
                pin=pin,
                flags=lambda: self.refresh().so_pin if role == "so" else self.refresh().user_pin,
                login=lambda: self._call(lambda c: prove(c, session), role=role),
                last_try=last_try,
            )
            if then is not None:
                self._call(lambda c: then(c, session))
        finally:
            _close_quietly(cryptoki, session)

    def _call(self, work: Callable[[Cryptoki], T], role: str = "user") -> T:
        try:
            return self.module.call(work)
        except CryptokiError as error:
            if error.rv in (ck.CKR_PIN_INVALID, ck.CKR_PIN_LEN_RANGE, ck.CKR_PIN_TOO_WEAK):
                raise errors.PinUnusable(
                    token=self.info.label,
                    problem=errors.Phrase("the token answered {result}", result=ck.result_name(error.rv)),
                    min_length=self.info.min_pin_length,
                    max_length=self.info.max_pin_length,
                ) from error
            raise explain(error, token=self.info.label, role=role) from error


class Slot(NamedTuple):
    """A place for a token. ``info`` is ``None`` while no token is there."""

    module: Module
    slot_id: int
    description: str
    manufacturer: str
    removable: bool
    info: TokenInfo | None

    def initialize(self, *, label: str, so_pin: Secret | None, user_pin: Secret | None, guard: PinGuard) -> Token:
        """C_InitToken, then the first user PIN (C_InitPIN); for tokens not initialised yet (``Token.wipe`` erases).

        A crash between the two leaves an initialised token without user PIN, which ``Token.unblock_pin`` completes.
        """
        if self.info is not None and self.info.initialized:
            raise errors.AlreadyExists(
                what=errors.Phrase("Token {token}", token=self.info.label),
                where=errors.Phrase("slot {slot}", slot=self.description),
            )
        _check_label(label)
        try:
            self.module.call(lambda cryptoki: cryptoki.init_token(self.slot_id, _reveal(so_pin), label))
        except CryptokiError as error:
            if error.rv in (ck.CKR_PIN_INVALID, ck.CKR_PIN_LEN_RANGE, ck.CKR_PIN_TOO_WEAK):
                low, high = (self.info.min_pin_length, self.info.max_pin_length) if self.info else (4, 255)
                raise errors.PinUnusable(
                    token=label, problem="the SO PIN was refused", min_length=low, max_length=high
                ) from error
            raise explain(error, token=label, role="so") from error
        token = _seen_again(self.module, self.slot_id, label)
        if user_pin is not None or token.info.protected_authentication_path:
            token.unblock_pin(so_pin, user_pin, guard)
        token.refresh()
        return token


class TokenListing(NamedTuple):
    """Everything the modules show: tokens, slots that wait for one, and modules that do not load."""

    tokens: list[Token]
    empty_slots: list[Slot]
    modules: list[Module]
    failures: list[errors.ModuleUnloadable]


def list_tokens(search: ModuleSearch | None = None) -> TokenListing:
    """Ask every module for its slots. A module that fails is listed and hides no other."""
    listing = TokenListing([], [], [], [])
    for spec in find_modules(search or ModuleSearch()):
        try:
            module = Module.load(spec)
            slots = list_slots(module)
        except errors.ModuleUnloadable as error:
            listing.failures.append(error)
            continue
        except CryptokiError as error:
            listing.failures.append(
                errors.ModuleUnloadable(
                    module=spec.path,
                    problem=str(error),
                    remedy="Check the daemon and the configuration of this module.",
                )
            )
            continue
        listing.modules.append(module)
        for slot in slots:
            if slot.info is not None and slot.info.initialized:
                listing.tokens.append(Token(slot, slot.info))
            else:
                listing.empty_slots.append(slot)
    return listing


def list_slots(module: Module) -> list[Slot]:
    """The slots of one module, with the token in each; a slot that fails alone is left out."""

    def read(cryptoki: Cryptoki) -> list[Slot]:
        slots = []
        for slot_id in cryptoki.slot_list(token_present=False):
            try:
                slots.append(_read_slot(module, cryptoki, slot_id))
            except CryptokiError as error:
                if error.rv == ck.CKR_CRYPTOKI_NOT_INITIALIZED:
                    raise
        return slots

    return module.call(read)


def _read_slot(module: Module, cryptoki: Cryptoki, slot_id: int) -> Slot:
    slot = cryptoki.slot_info(slot_id)
    info = None
    if slot.flags & ck.CKF_TOKEN_PRESENT:
        try:
            info = TokenInfo.from_struct(cryptoki.token_info(slot_id))
        except CryptokiError as error:
            if error.rv not in (ck.CKR_TOKEN_NOT_PRESENT, ck.CKR_TOKEN_NOT_RECOGNIZED, ck.CKR_DEVICE_REMOVED):
                raise
    removable = bool(slot.flags & ck.CKF_REMOVABLE_DEVICE)
    return Slot(module, slot_id, text(slot.description), text(slot.manufacturer), removable, info)


def find_token(uri: str | Pkcs11Uri, search: ModuleSearch | None = None) -> Token:
    """The one initialised token that the URI names, by label, serial, manufacturer, model or slot description.

    ``TokenNotFound`` when there is none, ``AmbiguousToken`` with both addresses when there are more.
    """
    wanted = Pkcs11Uri.from_text(uri) if isinstance(uri, str) else uri
    search = for_address(search or ModuleSearch(), wanted)
    listing = list_tokens(search)
    matches = _matching(listing, wanted)
    rescanned = [module.rescan() for module in listing.modules] if not matches else []
    if any(rescanned):
        listing = list_tokens(search)
        matches = _matching(listing, wanted)
    if len(matches) == 1:
        return matches[0]
    shown = wanted.token_part().to_text()
    if not matches:
        if not listing.modules:
            raise listing.failures[0] if listing.failures else errors.NoModule()
        raise errors.TokenNotFound(wanted=shown)
    raise errors.AmbiguousToken(wanted=shown, matches=", ".join(_distinct_addresses(matches)))


def _matching(listing: TokenListing, wanted: Pkcs11Uri) -> list[Token]:
    return [
        token
        for token in listing.tokens
        if wanted.matches_token(
            label=token.info.label,
            manufacturer=token.info.manufacturer,
            model=token.info.model,
            serial=token.info.serial,
        )
        and wanted.matches_slot(
            description=token.slot.description, manufacturer=token.slot.manufacturer, slot_id=token.slot_id
        )
        and _matches_module(token.module, wanted)
    ]


def _matches_module(module: Module, wanted: Pkcs11Uri) -> bool:
    if wanted.library_manufacturer is wanted.library_description is wanted.library_version is None:
        return True
    info = module.info()
    return wanted.matches_library(
        description=info.description, manufacturer=info.manufacturer, version=info.library_version
    )


def _distinct_addresses(tokens: list[Token]) -> list[str]:
    plain = [token.address for token in tokens]
    if len(set(plain)) == len(plain):
        return plain
    return [
        f"{token.address}?{Pkcs11Uri(module_path=token.module.path).to_text().partition('?')[2]}" for token in tokens
    ]


def _seen_again(module: Module, slot_id: int, label: str) -> Token:
    """The token just initialised: in the same slot, or, where the module renumbers at once, the one with its label."""
    slots = list_slots(module)
    for slot in sorted(slots, key=lambda candidate: candidate.slot_id != slot_id):
        if slot.info is not None and slot.info.initialized and slot.info.label == label:
            return Token(slot, slot.info)
    raise errors.TokenNotFound(wanted=Pkcs11Uri(token=label).to_text())


def _check_label(label: str) -> None:
    if not label.strip() or len(label.encode()) > 32 or "\0" in label:
        raise errors.Usage(problem="a token label has 1 to 32 bytes (about 10 Korean letters)")


def _reveal(pin: Secret | None) -> bytes | None:
    return None if pin is None else pin.reveal()


def _close_quietly(cryptoki: Cryptoki, session: int) -> None:
    try:
        cryptoki.close_session(session)
    except CryptokiError:
        return  # the token is gone, and the session with it
