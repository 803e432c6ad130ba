"""The password of an OATH application: proved once, and a wrong one is remembered as wrong PINs are.

Devices do not count tries; the memory spares them, and tells who guesses by accident.
"""

from typing import Final

from yubikit.core.smartcard import SW, ApduError
from yubikit.oath import OathSession

from dojang.errors import DevicePasswordIncorrect, DevicePasswordKnownWrong, PinIncorrect, PinKnownWrong
from dojang.pkcs11.guard import PinGuard
from dojang.pkcs11.pin import PinState
from dojang.secret import Secret

_WRONG: Final = frozenset(
    {SW.INCORRECT_PARAMETERS, SW.DATA_INVALID, SW.SECURITY_CONDITION_NOT_SATISFIED, SW.VERIFY_FAIL_NO_RETRY}
)


def unlock(session: OathSession, address: str, password: Secret, guard: PinGuard | None) -> None:
    """Prove it; ``DevicePasswordIncorrect``, or ``DevicePasswordKnownWrong`` without a try.

    The guard knows the device by what its application is called, which is new after a reset.
    """

    def prove() -> None:
        try:
            session.validate(session.derive_key(password.reveal().decode(errors="replace")))
        except ApduError as error:
            if error.sw not in _WRONG:
                raise
            raise PinIncorrect(token=address, role="user") from error

    try:
        if guard is None:
            prove()
        else:
            guard.attempt(
                serial=session.device_id,
                token=address,
                role="user",
                pin=password,
                flags=PinState,
                login=prove,
                last_try=False,
            )
    except PinIncorrect as error:
        raise DevicePasswordIncorrect(address=address) from error
    except PinKnownWrong as error:
        raise DevicePasswordKnownWrong(address=address, memory=error.facts["memory"]) from None
