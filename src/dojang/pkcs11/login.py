"""Logging in to a token: whose PIN, when it is asked for, and how its one try is guarded."""

from collections.abc import Callable

from dojang import errors
from dojang.pkcs11 import constants as ck
from dojang.pkcs11.cryptoki import CryptokiError
from dojang.pkcs11.failures import explain
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.pin import PinProvider, check_pin_length
from dojang.pkcs11.retry import NEVER, wanted_rung
from dojang.pkcs11.session import Session
from dojang.pkcs11.token import Token, TokenInfo
from dojang.secret import Secret


class Login:
    """How one opener of a token logs in. The PIN that a token took is kept for all who have it open in this process."""

    def __init__(
        self,
        token: Token,
        pin: "PinProvider | Secret | None",
        guard: PinGuard,
        *,
        last_try: bool,
        slot_id: Callable[[], int],
        is_open: Callable[[], bool],
    ) -> None:
        """``slot_id`` tells where the token is now, ``is_open`` whether anybody still has it open."""
        self._token, self._pin, self._guard, self._last_try = token, pin, guard, last_try
        self._slot_id, self._is_open = slot_id, is_open
        self._label = token.info.label
        self._remembered, self._key = token.module.remembered, token.key
        self._missed_pin = False

    def forget(self) -> None:
        """Keep the PIN no longer."""
        self._remembered.pop(self._key, None)

    def log_in(self, session: Session) -> bool:
        """C_Login as the user, with the PIN that the token took before if it is known; false where none is wanted."""
        info = self._info(session)
        if not info.login_required:
            return False  # NSS without a password has a user PIN all the same, an empty one
        if not info.user_pin_set:
            raise errors.PinNotSet(token=self._label)
        known = self._remembered.pop(self._key, None)  # kept only while it is known to be right
        pin = known if known is not None else self._ask(info, "user")
        try:
            self._try_pin(session, "user", pin, ck.CKU_USER)
        except CryptokiError:
            if known is not None:
                self._remembered[self._key] = known  # the token failed, and said nothing about the PIN
            raise
        if pin is not None:
            self._remembered[self._key] = pin
        if not self._is_open():  # closed meanwhile, and what was forgotten then must not come back
            self._remembered.pop(self._key, None)
        return True

    def authenticate(self, session: Session) -> None:
        """Context-specific login for one operation (2.40, 5.6.8); asks for the PIN each time, as the key demands."""
        self._try_pin(session, "context", self._ask(self._info(session), "context"), ck.CKU_CONTEXT_SPECIFIC)

    def _ask(self, info: TokenInfo, role: str) -> Secret | None:
        if self._pin is None:
            raise errors.LoginRequired(token=self._label)
        if info.protected_authentication_path:
            return None  # the PIN is typed on the token's keypad and never passes through here
        request = info.pin_request(role)
        pin = self._pin if isinstance(self._pin, Secret) else self._pin(request)
        if pin is None:
            raise errors.SecretUnavailable(
                purpose="PIN", source="pinpad", problem=errors.Phrase("token {token} has no keypad", token=self._label)
            )
        check_pin_length(pin, request)
        return pin

    def _show_pin(self, session: Session, user: int, pin: Secret | None) -> None:
        """C_Login. A module that hides what is being written may miss the token's PIN: then none was checked, and it
        reads the file again only when it is started anew, which is done once.
        """
        try:
            session.cryptoki.login(session.handle, user, None if pin is None else pin.reveal())
        except CryptokiError as error:
            missed = error.rv == ck.CKR_USER_PIN_NOT_INITIALIZED and not self._missed_pin
            if not (missed and self._token.module.wait_for_writers()):
                raise
            self._missed_pin = True
            raise CryptokiError(error.function, ck.CKR_CRYPTOKI_NOT_INITIALIZED) from error
        self._missed_pin = False

    def _try_pin(self, session: Session, role: str, pin: Secret | None, user: int) -> None:
        def login() -> bool:
            try:
                self._show_pin(session, user, pin)
            except CryptokiError as error:
                if error.rv == ck.CKR_USER_ALREADY_LOGGED_IN:
                    return False  # by another part of this process, since we looked: this PIN was not checked
                if error.rv in (ck.CKR_PIN_LEN_RANGE, ck.CKR_PIN_INVALID):
                    raise errors.PinIncorrect(token=self._label, role=role) from error
                if wanted_rung(error.rv) != NEVER:
                    raise
                if error.rv == ck.CKR_PIN_LOCKED and not self._info(session).user_pin.locked:
                    advice = errors.PinLocked.device_next_step
                    raise errors.PinLocked(token=self._label, role=role, next_step=advice) from error
                raise explain(error, token=self._label, role=role) from error
            return True

        self._guard.attempt(
            serial=self._token.guarded_name,
            token=self._label,
            role=role,
            pin=pin,
            flags=lambda: self._info(session).user_pin,
            login=login,
            last_try=self._last_try,
        )

    def _info(self, session: Session) -> TokenInfo:
        return TokenInfo.from_struct(session.cryptoki.token_info(self._slot_id()))
