"""Slots and the tokens in them: found by label, serial or URI, initialised, and their PINs looked after."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import Cryptoki, CryptokiError
from dojang.pkcs11.failures import explain
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.mechanisms import MechanismTable
from dojang.pkcs11.module import Module
from dojang.pkcs11.pin import PinRequest, PinState
from dojang.pkcs11.pool import SessionPool
from dojang.pkcs11.quirks import quirk_of
from dojang.pkcs11.session import Session
from dojang.pkcs11.structures import UNAVAILABLE, TokenInfoStruct, text, utf8
from dojang.pkcs11.uri import Pkcs11Uri
from dojang.pkcs11.whereabouts import TokenIdentity, find_slot
from dojang.secret import Secret

T = TypeVar("T")

_UNFIT_PINS = (ck.CKR_PIN_INVALID, ck.CKR_PIN_LEN_RANGE, ck.CKR_PIN_TOO_WEAK)


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
    def write_protected(self) -> bool:
        return bool(self.flags & ck.CKF_WRITE_PROTECTED)

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

    def pin_request(self, role: str) -> PinRequest:
        """What somebody is told who is asked for the PIN of that role."""
        state = self.user_pin
        return PinRequest(
            token=self.label,
            serial=self.serial,
            role=role,
            count_low=state.count_low,
            final_try=state.final_try,
            min_length=self.min_pin_length,
            max_length=self.max_pin_length,
        )

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
        self.generation = slot.generation
        self.info = info
        self.told_apart: tuple[str, ...] = ()
        """What its address needs beyond label and serial, because another token that is present has the same."""
        self.alike = False
        """Another token of its module says the same of itself in every respect."""
        self.serial_shared = False
        """Another token that is present has the same serial."""

    @property
    def address(self) -> str:
        """A PKCS#11 URI that names this token and no other that is present."""
        address = address_of(self.info, self.slot.description)
        if not self.told_apart:
            return address
        return replace(Pkcs11Uri.from_text(address), **{name: self.told(name) for name in self.told_apart}).to_text()

    def told(self, name: str) -> Any:
        """What a URI says under ``name`` for this token."""
        return {
            "model": self.info.model,
            "manufacturer": self.info.manufacturer,
            "slot_description": self.slot.description,
            "slot_id": self.slot_id,
            "module_path": self.module.path,
        }[name]

    def refuse_doubtful_serial(self, *, label_given: bool = False) -> None:
        """``NotPermitted`` where naming the serial does not show which token is meant; before anything is destroyed.

        ``label_given``: what is to be destroyed was named with the token's label, so only tokens alike are in doubt.
        """
        shared = self.alike if label_given else self.serial_shared
        if shared or not self.info.serial:
            problem = (
                errors.Phrase("another token that is present has the same serial")
                if shared
                else errors.Phrase("the token has no serial by which it could be told from others")
            )
            remedy = errors.Phrase("Leave in only the token that is meant; one without serial needs its maker's tool.")
            raise errors.NotPermitted(problem=problem, remedy=remedy)

    @property
    def guarded_name(self) -> str:
        """Its serial for the memory of wrong PINs; with the slot where the serial does not tell it from others."""
        if self.info.serial and not self.alike:
            return self.info.serial
        return f"{self.info.serial} {self.info.manufacturer} {self.info.model} {self.slot.description}"

    @property
    def key(self) -> tuple[TokenIdentity, int | None]:
        """What tells it from every other token of its module: the slot too where its serial does not."""
        return self.info.identity, None if self.info.serial and not self.alike else self.slot_id

    def refresh(self) -> TokenInfo:
        """Ask the token again; flags change with every PIN try."""
        slot_id = self._located()
        self.info = TokenInfo.from_struct(self._call(lambda cryptoki: cryptoki.token_info(slot_id)))
        return self.info

    def _located(self) -> int:
        """The number of its slot, looked up again where the module was begun anew since it was seen."""
        generation = self.module.generation
        if self.generation != generation:
            found = self._explained(lambda: find_slot(self.module, self.info.identity, self.slot_id))
            if found is None:
                raise errors.TokenRemoved(token=self.info.label)
            self.slot_id, self.generation = found, generation
        return self.slot_id

    def mechanisms(self) -> MechanismTable:
        """What the token lists; trials correct it while it is used."""
        slot_id = self._located()
        return MechanismTable(frozenset(self._call(lambda cryptoki: cryptoki.mechanism_list(slot_id))))

    def change_pin(self, old: Secret | None, new: Secret | None, guard: PinGuard, *, last_try: bool = False) -> None:
        """Replace the user PIN (C_SetPIN); a wrong old PIN costs one guarded try.

        A token with a keypad (protected authentication path) asks for both itself: here, and wherever else a PIN is
        given to this class, it gets none.
        """
        old, new = self._typed(old), self._typed(new)
        _check_new_pin(self.info.label, self.info, new)
        old_pin, new_pin = _reveal(old), _reveal(new)
        self._guarded(
            guard,
            "user",
            old,
            lambda cryptoki, session: _exchange_pins(cryptoki, session, old_pin, new_pin),
            last_try=last_try,
        )
        self._changed("user", new, guard)

    def change_so_pin(self, old: Secret | None, new: Secret | None, guard: PinGuard, *, last_try: bool = False) -> None:
        """Replace the SO PIN; some tokens refuse everything else until the factory's own has been replaced."""
        old, new = self._typed(old), self._typed(new)
        _check_new_pin(self.info.label, self.info, new)
        old_pin, new_pin = _reveal(old), _reveal(new)
        self._guarded(
            guard,
            "so",
            old,
            lambda cryptoki, session: cryptoki.login(session, ck.CKU_SO, old_pin),
            lambda cryptoki, session: cryptoki.set_pin(session, old_pin, new_pin),
            last_try=last_try,
        )
        self._changed("so", new, guard)

    def unblock_pin(
        self, so_pin: Secret | None, new: Secret | None, guard: PinGuard, *, last_try: bool = False
    ) -> None:
        """Set the user PIN as security officer (C_InitPIN): the first one, or after it locked.

        ``UnsupportedOperation`` where the token has no such officer and another program does it.
        """
        so_pin, new = self._typed(so_pin), self._typed(new)
        _check_new_pin(self.info.label, self.info, new)
        new_pin = _reveal(new)
        try:
            self._guarded(
                guard,
                "so",
                so_pin,
                lambda cryptoki, session: cryptoki.login(session, ck.CKU_SO, _reveal(so_pin)),
                lambda cryptoki, session: cryptoki.init_pin(session, new_pin),
                last_try=last_try,
            )
        except errors.DeviceFailure as failure:
            program = quirk_of(self.module).unblocks
            if not program or failure.facts["function"] != "C_Login":
                raise
            raise errors.UnsupportedOperation(
                where=errors.Phrase("Token {token}", token=self.info.label),
                operation=errors.Phrase("have its PIN set by a security officer"),
                next_step="Use its PUK with the module's own program: {program}",
                program=program,
            ) from failure
        self._changed("user", new, guard)

    def wipe(
        self, *, serial: str, so_pin: Secret | None, guard: PinGuard, label: str | None = None, last_try: bool = False
    ) -> "Token":
        """Erase everything (C_InitToken) and keep or change the label; ``serial`` must be the token's own."""
        self.refuse_doubtful_serial()
        if serial != self.info.serial:
            raise errors.SerialMismatch(serial=self.info.serial)
        so_pin = self._typed(so_pin)
        name, slot_id = label or self.info.label, self._located()
        _check_label(name)
        erase = self._initialization(so_pin, name)
        with self.module.alone():
            guard.attempt(
                serial=self.guarded_name,
                token=self.info.label,
                role="so",
                pin=so_pin,
                flags=lambda: self.refresh().so_pin,
                login=lambda: self._call(erase, role="so"),
                last_try=last_try,
            )
        self.module.remembered.pop(self.key, None)
        for gone in {self.info.label, name}:
            guard.forget(serial=self.guarded_name, role="user", token=gone)
        return _seen_again(self.module, slot_id, name)

    def _typed(self, pin: Secret | None) -> Secret | None:
        return None if self.info.protected_authentication_path else pin

    def _initialization(self, so_pin: Secret | None, label: str) -> Callable[[Cryptoki], None]:
        """C_InitToken on this token and on no other, whatever became of the numbers of slots."""
        identity, slot_id = self.info.identity, self._located()

        def initialize(cryptoki: Cryptoki) -> None:
            if TokenInfo.from_struct(cryptoki.token_info(slot_id)).identity != identity:
                raise errors.TokenRemoved(token=identity.label)
            cryptoki.init_token(slot_id, _reveal(so_pin), label)

        return initialize

    def _changed(self, role: str, new: Secret | None, guard: PinGuard) -> None:
        """Forget what was known of the old PIN; whoever has the token open logs in again with the new one."""
        guard.forget(serial=self.guarded_name, role=role, token=self.info.label)
        if role == "user" and self.module.remembered.pop(self.key, None) is not None and new is not None:
            self.module.remembered[self.key] = new

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
        # A pool of its own: nobody restarts the module, and so gives the handle to another token, while it is in use.
        pool = SessionPool(self.module, self.info.identity, self.slot_id, limit=1, generation=self.generation)
        with self.module.alone():
            self._perform(pool, guard, role, pin, prove, then, last_try=last_try)

    def _perform(
        self,
        pool: SessionPool,
        guard: PinGuard,
        role: str,
        pin: Secret | None,
        prove: Callable[[Cryptoki, int], None],
        then: Callable[[Cryptoki, int], None] | None,
        *,
        last_try: bool,
    ) -> None:
        session = self._explained(pool.take)
        self.slot_id, self.generation = pool.slot_id, session.generation
        officer = False
        try:
            self._refuse_unfit(session, role)
            guard.attempt(
                serial=self.guarded_name,
                token=self.info.label,
                role=role,
                pin=pin,
                flags=lambda: self._flags(session, role),
                login=lambda: self._explained(lambda: prove(session.cryptoki, session.handle), role=role),
                last_try=last_try,
            )
            officer = role == "so"
            if then is not None:
                self._explained(lambda: then(session.cryptoki, session.handle), role=role)
        finally:
            if officer:  # other sessions of this process keep the login alive, and a user's PIN would go to the officer
                _log_out_quietly(session)
            pool.discard(session)

    def _refuse_unfit(self, session: Session, role: str) -> None:
        """C_SetPIN changes the PIN of whoever is logged in, so it must not be the security officer (2.40, 5.5.8)."""
        if not session.read_write:
            raise errors.TokenWriteProtected(token=self.info.label)
        state = self._explained(lambda: session.cryptoki.session_state(session.handle))
        if role == "user" and state == ck.CKS_RW_SO_FUNCTIONS:
            raise errors.DeviceBusy(
                token=self.info.label, function="C_SetPIN", result="CKR_USER_ANOTHER_ALREADY_LOGGED_IN"
            )

    def _flags(self, session: Session, role: str) -> PinState:
        struct = self._explained(lambda: session.cryptoki.token_info(self.slot_id))
        self.info = TokenInfo.from_struct(struct)
        return self.info.so_pin if role == "so" else self.info.user_pin

    def _call(self, work: Callable[[Cryptoki], T], role: str = "user") -> T:
        return self._explained(lambda: self.module.call(work), role)

    def _explained(self, work: Callable[[], T], role: str = "user") -> T:
        try:
            return work()
        except CryptokiError as error:
            if error.rv in _UNFIT_PINS:
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
    generation: int = 0
    """The module's when the slot was seen; its number means nothing in another."""
    problem: str = ""
    """What the module answered when it was asked about this slot, where that was no answer."""

    def initialize(
        self,
        *,
        label: str,
        so_pin: Secret | None,
        user_pin: Secret | None,
        guard: PinGuard,
        last_try: bool = False,
    ) -> Token:
        """C_InitToken, then the first user PIN (C_InitPIN); for tokens not initialised yet (``Token.wipe`` erases).

        Tokens that come with an SO PIN compare it, so it is guarded like every other. A crash between the two leaves an
        initialised token without user PIN, which ``Token.unblock_pin`` completes.
        """
        if self.info is None:
            raise errors.TokenRemoved(token=label)
        if self.info.initialized:
            raise errors.AlreadyExists(
                what=errors.Phrase("Token {token}", token=self.info.label),
                where=errors.Phrase("slot {slot}", slot=self.description),
            )
        _check_label(label)
        blank = Token(self, self.info)
        so_pin, user_pin = blank._typed(so_pin), blank._typed(user_pin)
        initialize = blank._initialization(so_pin, label)
        _check_new_pin(label, self.info, user_pin)
        with self.module.alone():
            guard.attempt(
                serial=blank.guarded_name,
                token=self.info.label or self.description,
                role="so",
                pin=so_pin,
                flags=lambda: blank.refresh().so_pin._replace(locked=False),  # SoftHSM says so of every blank token
                login=lambda: blank._call(initialize, role="so"),
                last_try=last_try,
            )
        token = _seen_again(self.module, blank.slot_id, label)
        guard.forget(serial=token.guarded_name, role="user", token=label)
        if user_pin is not None or token.info.protected_authentication_path:
            token.unblock_pin(so_pin, user_pin, guard)
        token.refresh()
        return token


def address_of(info: TokenInfo, slot_description: str) -> str:
    """A PKCS#11 URI by label and serial; where there is no serial, by the slot it is in."""
    if info.serial:
        return Pkcs11Uri(token=info.label, serial=info.serial).to_text()
    return Pkcs11Uri(token=info.label, slot_description=slot_description or None).to_text()


def list_slots(module: Module) -> list[Slot]:
    """The slots of one module, with the token in each; one that cannot be read says so and hides no other."""

    def read(cryptoki: Cryptoki) -> list[Slot]:
        slots = []
        for slot_id in cryptoki.slot_list(token_present=False):
            try:
                slots.append(_read_slot(module, cryptoki, slot_id))
            except CryptokiError as error:
                if error.rv == ck.CKR_CRYPTOKI_NOT_INITIALIZED:
                    raise
                slots.append(Slot(module, slot_id, "", "", False, None, module.generation, str(error)))
        return slots

    return module.call(read)


def _read_slot(module: Module, cryptoki: Cryptoki, slot_id: int) -> Slot:
    slot = cryptoki.slot_info(slot_id)
    info, problem = None, ""
    if slot.flags & ck.CKF_TOKEN_PRESENT:
        try:
            info = TokenInfo.from_struct(cryptoki.token_info(slot_id))
        except CryptokiError as error:
            if error.rv == ck.CKR_CRYPTOKI_NOT_INITIALIZED:
                raise
            problem = "" if error.rv in (ck.CKR_TOKEN_NOT_PRESENT, ck.CKR_DEVICE_REMOVED) else str(error)
    removable = bool(slot.flags & ck.CKF_REMOVABLE_DEVICE)
    description, manufacturer = text(slot.description), text(slot.manufacturer)
    return Slot(module, slot_id, description, manufacturer, removable, info, module.generation, problem)


def _seen_again(module: Module, slot_id: int, label: str) -> Token:
    """The token just initialised: in the same slot, or, where the module renumbers at once, the one with its label."""
    slots = list_slots(module)
    for slot in sorted(slots, key=lambda candidate: candidate.slot_id != slot_id):
        if slot.info is not None and slot.info.initialized and slot.info.label == label:
            return Token(slot, slot.info)
    raise errors.TokenNotFound(wanted=Pkcs11Uri(token=label).to_text())


def _check_new_pin(token: str, info: TokenInfo, new: Secret | None) -> None:
    low, high = info.min_pin_length, info.max_pin_length
    if new is not None and low <= high and high and not low <= len(new) <= high:
        raise errors.PinUnusable(token=token, problem="its length is not allowed", min_length=low, max_length=high)


def _check_label(label: str) -> None:
    if not label.strip() or len(utf8(label)) > 32 or "\0" in label:
        raise errors.Usage(problem="a token label has 1 to 32 bytes (about 10 Korean letters)")


def _reveal(pin: Secret | None) -> bytes | None:
    return None if pin is None else pin.reveal()


def _exchange_pins(cryptoki: Cryptoki, session: int, old: bytes | None, new: bytes | None) -> None:
    """C_SetPIN, which works without a login (2.40, 5.5.8); where a module wants one all the same, within a login."""
    try:
        cryptoki.set_pin(session, old, new)
    except CryptokiError as error:
        if error.rv != ck.CKR_USER_NOT_LOGGED_IN:
            raise
        cryptoki.login(session, ck.CKU_USER, old)
        try:
            cryptoki.set_pin(session, old, new)
        finally:
            cryptoki.logout(session)


def _log_out_quietly(session: Session) -> None:
    try:
        session.cryptoki.logout(session.handle)
    except CryptokiError:
        return  # the token is gone, and the login with it
