"""The door of the PKCS#11 room: return values become errors that people and programs can act on."""

from typing import TYPE_CHECKING

from dojang import errors
from dojang.pkcs11 import constants as ck

if TYPE_CHECKING:
    from dojang.pkcs11.cryptoki import CryptokiError

_REMOVED = {ck.CKR_DEVICE_REMOVED, ck.CKR_TOKEN_NOT_PRESENT, ck.CKR_TOKEN_NOT_RECOGNIZED, ck.CKR_SLOT_ID_INVALID}
_BUSY = {ck.CKR_SESSION_COUNT, ck.CKR_FUNCTION_CANCELED, ck.CKR_SESSION_EXISTS, ck.CKR_USER_ANOTHER_ALREADY_LOGGED_IN}
_FULL = {ck.CKR_DEVICE_MEMORY, ck.CKR_TOKEN_RESOURCE_EXCEEDED, ck.CKR_HOST_MEMORY}
_REFUSED = {
    ck.CKR_ATTRIBUTE_READ_ONLY,
    ck.CKR_ATTRIBUTE_SENSITIVE,
    ck.CKR_ATTRIBUTE_TYPE_INVALID,
    ck.CKR_ATTRIBUTE_VALUE_INVALID,
    ck.CKR_ACTION_PROHIBITED,
    ck.CKR_KEY_FUNCTION_NOT_PERMITTED,
    ck.CKR_KEY_NOT_WRAPPABLE,
    ck.CKR_KEY_UNEXTRACTABLE,
    ck.CKR_TEMPLATE_INCOMPLETE,
    ck.CKR_TEMPLATE_INCONSISTENT,
    ck.CKR_SESSION_READ_ONLY,
    ck.CKR_FUNCTION_REJECTED,
    ck.CKR_DATA_INVALID,
    ck.CKR_DATA_LEN_RANGE,
    ck.CKR_ENCRYPTED_DATA_INVALID,
    ck.CKR_ENCRYPTED_DATA_LEN_RANGE,
    ck.CKR_WRAPPED_KEY_INVALID,
    ck.CKR_KEY_TYPE_INCONSISTENT,
}
_UNSUPPORTED = {
    ck.CKR_MECHANISM_INVALID,
    ck.CKR_MECHANISM_PARAM_INVALID,
    ck.CKR_FUNCTION_NOT_SUPPORTED,
    ck.CKR_DOMAIN_PARAMS_INVALID,
    ck.CKR_CURVE_NOT_SUPPORTED,
    ck.CKR_KEY_SIZE_RANGE,
    ck.CKR_ARGUMENTS_BAD,
}


def explain(error: "CryptokiError", *, token: str, role: str = "user", mechanism: str = "") -> errors.DojangError:
    """The error of ours that says what ``error`` means for the person whose token this is."""
    rv = error.rv
    said = {"token": token, "function": error.function, "result": ck.result_name(rv)}
    if rv == ck.CKR_PIN_INCORRECT:
        return errors.PinIncorrect(token=token, role=role)
    if rv == ck.CKR_PIN_LOCKED:
        return errors.PinLocked(token=token, role=role)
    if rv in (ck.CKR_USER_PIN_NOT_INITIALIZED, ck.CKR_PIN_EXPIRED):
        return errors.PinNotSet(token=token)
    if rv == ck.CKR_USER_NOT_LOGGED_IN:
        return errors.LoginRequired(token=token)
    if rv == ck.CKR_TOKEN_WRITE_PROTECTED:
        return errors.TokenWriteProtected(token=token)
    if rv in _FULL:
        return errors.TokenFull(token=token)
    if rv in _REMOVED:
        return errors.TokenRemoved(token=token)
    if rv in _BUSY:
        return errors.DeviceBusy(**said)
    if rv == ck.CKR_DATA_INVALID and error.function == "C_Sign":
        # What is signed was made here, for this mechanism: OpenSC says so of cards that fail half-way (seen, 0.23).
        return errors.DeviceFailure(**said)
    if rv in _UNSUPPORTED:
        return errors.UnsupportedMechanism(
            where=errors.Phrase("Token {token}", token=token),
            mechanism=mechanism or f"{error.function} ({said['result']})",
        )
    if rv in (ck.CKR_OBJECT_HANDLE_INVALID, ck.CKR_KEY_HANDLE_INVALID):
        return errors.ObjectVanished(what="The object", token=token)
    return errors.DeviceRefused(**said) if rv in _REFUSED else errors.DeviceFailure(**said)
